"""The control plane's routes for recording traffic (`server.engine.telemetry.traffic_recorder`).

POST   /models/NAME/traffic          record; {"seconds": S}; answers with its progress
GET    /models/NAME/traffic/NUMBER   the progress of the recording; asking keeps it
DELETE /models/NAME/traffic/NUMBER   end the recording; answers with its requests, as packed columns
"""

from __future__ import annotations

from workbench.core.status import invalid_argument
from workbench.server.control.handling import Handler


class _Start(Handler):
    def post(self, name: str) -> None:
        seconds = self.body().get("seconds")
        if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
            raise invalid_argument(f"'seconds' must be a number; was {seconds!r}")
        self.manager.get(name)
        self.answer(self.manager.recorder.start(name, float(seconds)).progress())


class _Recording(Handler):
    def get(self, name: str, number: str) -> None:
        self.answer(self.manager.recorder.get(name, int(number)).progress())

    async def delete(self, name: str, number: str) -> None:
        await self.answer_from_thread(self.manager.recorder.take(name, int(number)).to_json)


ROUTES = (
    (r"/models/([^/]+)/traffic", _Start),
    (r"/models/([^/]+)/traffic/([0-9]{1,18})", _Recording),
)
