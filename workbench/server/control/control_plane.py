"""The control plane: JSON over a unix socket that only its user can open.

It is how a notebook, the command line and JupyterLab look at a server and steer it. Nothing of
it is on the network, and no token is needed: the socket's folder is the user's own.

    GET    /server                       state, address, processes
    GET    /models                       all models with their versions
    PUT    /models/NAME                  add a model, or replace its settings
    PATCH  /models/NAME                  change some settings
    GET    /models/NAME                  one model
    DELETE /models/NAME                  unload all its versions, forget it
    POST   /models/NAME/poll             look at its folder now; {"complete": [versions]}
    GET    /models/NAME/wait?...         wait until a version is available or has failed
    GET    /models/NAME/pulse?...        what is new of it, for live views (`pulse_route`)
    .../models/NAME/warmup               recording warm-up requests: `server.control.warmup_route`
    POST   /models/NAME/engine-load      load from inside the server (see `control_engine`)
    GET    /events?since=N               the event log
    GET    /events/stream?since=N        the same, as a WebSocket
    GET    /memory...                    the memory ledger: `server.control.memory_routes`
    POST   /models/NAME/fit              would that fit as its next version?
    PATCH  /server                       {"num_batch_threads": N, "budget": {...}}
    POST   /shutdown                     drain and end
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

import orjson
import tornado.httpserver
import tornado.netutil
import tornado.web
import tornado.websocket

from workbench.core.events import log_line
from workbench.core.model_settings import ModelConfig, read_changes
from workbench.core.status import invalid_argument, not_found
from workbench.core.versions.version_policy import is_version
from workbench.server.control.engine_route import EngineLoadHandler
from workbench.server.control.handling import Handler
from workbench.server.control.memory_routes import FitHandler, LedgerHandler, MemoryHandler
from workbench.server.control.pulse_route import PulseRoute
from workbench.server.control.warmup_route import WarmupRoute
from workbench.server.engine.engine import ServerCore
from workbench.server.engine.memory.reservations import MemorySettings

MAX_WAIT_SECONDS = 600.0
_STREAM_SECONDS = 0.1
_STREAM_BACKLOG = 10_000
_SEQ_DIGITS = 18


class ControlPlane:
    """The control plane of one server.

    Args:
        describe: what the process knows of itself (name, address ...), without secrets.
        on_change: called after any change of what is wanted, to keep it on disk.
        shutdown: begins the end of the process; gets a reason in words.
    """

    def __init__(
        self,
        core: ServerCore,
        describe: Callable[[], dict[str, Any]],
        on_change: Callable[[], None],
        shutdown: Callable[[str], None],
    ) -> None:
        self.core = core
        self.describe = describe
        self.on_change = on_change
        self.shutdown = shutdown
        self._server: tornado.httpserver.HTTPServer | None = None

    def start(self, path: str) -> None:
        """Listen on a socket file at `path`, readable and writable by its user alone."""
        # A killed server leaves its socket file behind; tornado removes it before it binds.
        before = os.umask(0o177)
        try:
            sock = tornado.netutil.bind_unix_socket(path, mode=0o600)
        finally:
            os.umask(before)
        kept = {"plane": self}
        application = tornado.web.Application(
            [
                (r"/server", _Server, kept),
                (r"/models", _Models, kept),
                (r"/models/([^/]+)", _Model, kept),
                (r"/models/([^/]+)/poll", _Poll, kept),
                (r"/models/([^/]+)/wait", _Wait, kept),
                (r"/models/([^/]+)/engine-load", EngineLoadHandler, {"core": self.core}),
                (r"/models/([^/]+)/fit", FitHandler, kept),
                (r"/models/([^/]+)/pulse", PulseRoute, kept),
                (r"/models/([^/]+)/warmup", WarmupRoute, kept),
                (r"/events", _Events, kept),
                (r"/events/stream", _Stream, kept),
                (r"/memory", MemoryHandler, kept),
                (r"/memory/ledger", LedgerHandler, kept),
                (r"/shutdown", _Shutdown, kept),
            ],
            default_handler_class=_Unknown,
            default_handler_args=kept,
            log_function=lambda handler: None,
        )
        self._server = tornado.httpserver.HTTPServer(application)
        self._server.add_socket(sock)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            await self._server.close_all_connections()


class _Unknown(Handler):
    def prepare(self) -> None:
        raise not_found(f"The control plane has no {self.request.path}")


class _Server(Handler):
    def get(self) -> None:
        core = self.core
        self.answer(
            {
                **self.plane.describe(),
                "started": core.started,
                "zygote_pid": core.zygote.pid,
                "num_batch_threads": core.scheduler.slots,
                "outstanding": core.scheduler.outstanding,
                "last_seq": core.events.last_seq,
                "budget": core.reservations.budget.to_json(),
                "models": sorted(core.manager.models),
            }
        )

    def patch(self) -> None:
        body = self.body()
        budget = body.get("budget")
        slots = body.get("num_batch_threads")
        if (budget is None or slots is not None) and (type(slots) is not int or slots < 1):
            raise invalid_argument(f"num_batch_threads must be positive; was {slots}")
        settings = None if budget is None else MemorySettings.from_json(budget)
        if slots is not None:
            self.manager.set_slots(slots)
        if settings is not None:
            self.core.reservations.set_limits(settings)
        self.plane.on_change()
        self.get()


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
            try:
                await asyncio.wait_for(changed.wait(), min(left, 1.0))
            except asyncio.TimeoutError:
                pass


class _Events(Handler):
    async def get(self) -> None:
        since = int(self.number("since", 0))
        events = self.core.events
        first, last, found = events.first_seq, events.last_seq, list(events.since(since))
        # They may be 20 000: the loop has better things to do than to write them down.
        await self.answer_from_thread(
            lambda: {
                "first_seq": first,
                "last_seq": last,
                "events": [_event_json(e) for e in found],
            }
        )


class _Stream(tornado.websocket.WebSocketHandler):
    """Events as they happen, gathered ten times a second; a slow reader misses some and is
    told the sequence number from which it can catch up."""

    def initialize(self, plane: ControlPlane) -> None:
        self.core = plane.core
        self._sender: asyncio.Task[None] | None = None

    def open(self, *args: str, **kwargs: str) -> None:
        since = self.get_query_argument("since", str(self.core.events.last_seq))
        if not since.isdecimal():
            self.close(1008, "since must be a number")
            return
        seq = int(since[:_SEQ_DIGITS])
        if seq > self.core.events.last_seq:
            # It is from before a restart of the server: the log has begun anew.
            seq = 0
        self._sender = asyncio.get_running_loop().create_task(self._send(seq))

    def on_message(self, message: str | bytes) -> None:
        """Nothing is expected from the reader."""

    def on_close(self) -> None:
        if self._sender is not None:
            self._sender.cancel()

    async def _send(self, seq: int) -> None:
        events = self.core.events
        try:
            while True:
                if events.last_seq > seq:
                    batch = [_event_json(e) for e in events.since(seq)][-_STREAM_BACKLOG:]
                    missed = batch[0]["seq"] - seq - 1 if batch else 0
                    await self.write_message(
                        orjson.dumps({"missed": missed, "events": batch}).decode()
                    )
                    seq = batch[-1]["seq"] if batch else events.last_seq
                await asyncio.sleep(_STREAM_SECONDS)
        except tornado.websocket.WebSocketClosedError:
            pass


class _Shutdown(Handler):
    def post(self) -> None:
        self.answer({})
        self.plane.shutdown("asked to stop")


def _event_json(event: Any) -> dict[str, Any]:
    data: dict[str, Any] = event.to_json()
    line = log_line(event)
    if line is not None:
        data["line"] = line
    return data
