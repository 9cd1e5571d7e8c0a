"""The control plane's routes for models.

GET    /models                       all models with their versions
PUT    /models/NAME                  add a model, or replace its settings
PATCH  /models/NAME                  change some settings
GET    /models/NAME                  one model
DELETE /models/NAME                  unload all its versions, forget it
POST   /models/NAME/poll             look at its folder now; {"complete": [versions]}
GET    /models/NAME/wait?...         wait until a version is available or has failed
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from workbench.core.model_settings import ModelConfig, read_changes
from workbench.core.status import invalid_argument
from workbench.core.versions.version_policy import is_version
from workbench.server.control.handling import Handler

MAX_WAIT_SECONDS = 600.0


class _Models(Handler):
    def get(self) -> None:
        self.answer({"models": [m.to_json() for m in self.manager.models.values()]})


class _Model(Handler):
    def get(self, name: str) -> None:
        self.answer(self.manager.get(name, removed=True).to_json())

    def put(self, name: str) -> None:
        data = self.body()
        if data.setdefault("name", name) != name:
            raise invalid_argument(f"The body names model {data['name']!r}, the URL {name!r}")
        self.manager.set_model(ModelConfig.from_json(data))
        self.plane.on_change()
        self.get(name)

    def patch(self, name: str) -> None:
        self.manager.update(name, **read_changes(self.body()))
        self.plane.on_change()
        self.get(name)

    def delete(self, name: str) -> None:
        self.manager.remove_model(name)
        self.plane.on_change()
        self.answer({})


class _Poll(Handler):
    def post(self, name: str) -> None:
        complete = self.body().get("complete", [])
        if not isinstance(complete, list) or not all(map(is_version, complete)):
            raise invalid_argument(f"'complete' must be a list of versions; was {complete!r}")
        self.manager.poll_soon(name, complete)
        self.answer({})


class _Wait(Handler):
    """Wait until something is true of a model, or `wait_seconds` have passed.

    `version=N`: that version is available or has failed. `gone=N`: it is unloaded. Neither:
    any version is available, or all that are aspired have failed.
    """

    async def get(self, name: str) -> None:
        version = self.whole("version", -1)
        gone = self.whole("gone", -1)
        timeout = min(self.number("wait_seconds", 60.0), MAX_WAIT_SECONDS)
        end = time.monotonic() + timeout
        while True:
            changed = self.manager.changed
            model = self.manager.get(name, removed=True)
            if gone >= 0:
                done = gone not in model.versions
            elif version >= 0:
                served = model.versions.get(version)
                if served is None and version in model.failing:
                    # It has failed, and another has been chosen in its place.
                    served = model.ended.get(version)
                done = served is not None and served.harness.state.is_settled
            else:
                wanted = [s for s in model.versions.values() if s.harness.aspired]
                done = model.ready is not None or (
                    bool(wanted) and all(s.harness.state.is_settled for s in wanted)
                )
            left = end - time.monotonic()
            if done or left <= 0:
                self.answer({**model.to_json(), "done": done})
                return
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(changed.wait(), min(left, 1.0))


ROUTES = (
    (r"/models", _Models),
    (r"/models/([^/]+)", _Model),
    (r"/models/([^/]+)/poll", _Poll),
    (r"/models/([^/]+)/wait", _Wait),
)
