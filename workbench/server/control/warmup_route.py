"""The control plane's route for recording warm-up requests.

POST   /models/NAME/warmup           record; {"requests": N, "version": V or absent}
GET    /models/NAME/warmup           the progress of the recording
DELETE /models/NAME/warmup           end the recording, and write what it has
"""

from __future__ import annotations

from workbench.core.status import invalid_argument, not_found
from workbench.core.versions.version_policy import is_version
from workbench.server.control.handling import Handler
from workbench.server.engine.telemetry.warmup_recorder import WarmupRecording


class _Warmup(Handler):
    """The recordings of one model's versions; a route means the one started last."""

    def post(self, name: str) -> None:
        data = self.body()
        requests, version = data.get("requests"), data.get("version")
        if type(requests) is not int:
            raise invalid_argument(f"'requests' must be a number; was {requests!r}")
        if version is not None and not is_version(version):
            raise invalid_argument(f"'version' must be a number; was {version!r}")
        self.answer(self.manager.find(name, version).record_warmup(requests).to_json())

    def get(self, name: str) -> None:
        self.answer(self._recording(name).to_json())

    async def delete(self, name: str) -> None:
        recording = self._recording(name)
        await recording.finish()
        self.answer(recording.to_json())

    def _recording(self, name: str) -> WarmupRecording:
        model = self.manager.models.get(name)
        for served in model.listed() if model is not None else ():
            if served.recording is not None:
                return served.recording
        raise not_found(f"No warm-up requests of {name} are being recorded")


ROUTES = ((r"/models/([^/]+)/warmup", _Warmup),)
