"""The control plane's route for load from inside the server (`server.engine.engine_load`).

    POST   /models/NAME/engine-load

The body describes the load: `inputs`, a list of requests as base64 of `ipc.frames.encode_message`;
`seconds`; `callers`, or a `schedule` (`load.arrivals.Schedule`); and optionally `signature` and
`timeout_seconds`. The answer holds an array for each column, compressed and in base64. The load
ends when its caller disconnects.
"""

from __future__ import annotations

import asyncio
import base64
from array import array
from collections.abc import Mapping
from typing import Any

import orjson

from workbench.core.signature import DEFAULT_SIGNATURE
from workbench.core.status import invalid_argument
from workbench.ipc.frames import decode_message
from workbench.load.arrivals import Schedule
from workbench.load.packed_numbers import QUICK, pack_numbers
from workbench.server.control.handling import Handler
from workbench.server.engine.batching.batch_records import BatchRecord
from workbench.server.engine.engine_load import EngineLoad, EngineRun, run_engine_load


class _EngineLoad(Handler):
    """One load; see the module."""

    _load: asyncio.Task[EngineRun] | None = None

    async def post(self, name: str) -> None:
        load = read_load(self.request.body)
        self._load = asyncio.ensure_future(
            run_engine_load(self.manager, self.core.scheduler, name, load)
        )
        try:
            run = await self._load
        except asyncio.CancelledError:
            return  # the caller is gone
        finally:
            # A handler is garbage in a cycle. To collect the records of a whole load with it would
            # stop the loop for some 30 ms.
            self._load = None
        self.answer_encoded(await asyncio.to_thread(encode_run, run))

    def on_connection_close(self) -> None:
        if self._load is not None:
            self._load.cancel()


def read_load(body: bytes) -> EngineLoad:
    """The load that a request's body describes.

    Raises:
        ServingError: INVALID_ARGUMENT, it describes none.
    """
    try:
        data: Mapping[str, Any] = orjson.loads(body)
        inputs = [decode_message(base64.b64decode(text))[1] for text in data["inputs"]]
        load = Schedule.from_json(data["schedule"]) if "schedule" in data else int(data["callers"])
        return EngineLoad(
            inputs,
            load,
            float(data["seconds"]),
            str(data.get("signature", DEFAULT_SIGNATURE)),
            float(data.get("timeout_seconds", 30.0)),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise invalid_argument(f"The body is not a valid engine load: {error!r}") from error


def encode_run(run: EngineRun) -> bytes:
    """The answer's JSON; slow for many requests, so not for an event loop."""
    names = ("intended", "sent", "done", "batch")
    columns = {name: pack_numbers(getattr(run, name), QUICK) for name in names}
    batches: dict[str, Any] = {}
    for i, field in enumerate(BatchRecord._fields):
        values: list[Any] = [record[i] for record in run.batches]
        batches[field] = values if field == "reason" else pack_numbers(array("q", values), QUICK)
    return orjson.dumps(
        {
            "requests": columns,
            "batches": batches,
            "failures": run.failures,
            "seconds": run.seconds,
            "busy_share": run.busy_share,
            "version": run.version,
            "first_error": run.first_error,
        }
    )


ROUTES = ((r"/models/([^/]+)/engine-load", _EngineLoad),)
