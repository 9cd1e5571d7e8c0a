"""The memory ledger on the control plane.

GET /memory                      every process now, exactly: {"now", "samples": [...]}
GET /memory?since=T&points=N     samples later than T (monotonic seconds), about N a process;
                                 &columns=1: {"now", "columns": {name: [...]}} instead
GET /memory/ledger               the holders of each device's memory, with budget and notes
POST /models/NAME/fit            {"path": P}: would that SavedModel fit as the next version, under
                                 each transition policy?
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from workbench.core.status import Code, ServingError, failed_precondition, invalid_argument
from workbench.formats.saved_model.damage import DAMAGED
from workbench.formats.saved_model.saved_model_file import GRAPH_FILES
from workbench.server.control.handling import Handler
from workbench.server.engine.versions.version_folder import lack

_COLUMNS = ("monotonic", "wall", "pid", "role", "model", "version", "pss", "uss", "measured")


class _Memory(Handler):
    async def get(self) -> None:
        since = self.number("since", -1.0)
        points = self.number("points", 0)
        if points < 0 or points != int(points):
            raise invalid_argument(f"Query argument 'points' must be a whole number; was {points}")
        columns = self.get_query_argument("columns", "") == "1"
        ledger = self.core.ledger

        def data() -> dict[str, Any]:
            found = ledger.history(since, int(points) or None) if since >= 0 else ledger.measure()
            now = time.monotonic()
            samples = [sample.to_json() for sample in found]
            if columns:
                return {"now": now, "columns": {n: [s[n] for s in samples] for n in _COLUMNS}}
            return {"now": now, "samples": samples}

        await self.answer_from_thread(data)


class _Ledger(Handler):
    async def get(self) -> None:
        ledger = self.core.ledger
        budget = self.core.reservations.budget.to_json()
        await self.answer_from_thread(
            lambda: {
                "now": time.monotonic(),
                "wall": time.time(),
                "budget": budget,
                **ledger.account().to_json(),
            }
        )


class _Fit(Handler):
    async def post(self, name: str) -> None:
        model = self.manager.get(name)
        path = self.body().get("path")
        if not isinstance(path, str) or not os.path.isabs(path):
            raise invalid_argument(
                f"'path' must be the absolute path of a SavedModel; was {path!r}"
            )
        await asyncio.to_thread(_check_saved_model, path)
        self.answer(await self.core.reservations.will_it_fit(model, path))


def _check_saved_model(path: str) -> None:
    """Refuse a path without a complete SavedModel, which could not be loaded however much memory
    there is. Blocks.

    Raises:
        ServingError: INVALID_ARGUMENT, there is none; DATA_LOSS, it is damaged; with the cure.
    """
    if not os.path.exists(path):
        raise invalid_argument(f"There is no {path}: give the path of a SavedModel")
    if not any(os.path.exists(os.path.join(path, name)) for name in GRAPH_FILES):
        raise invalid_argument(
            f"There is no SavedModel in {path}: it has no saved_model.pb; give the folder that has "
            "one"
        )
    try:
        what = lack(path)
    except OSError as error:
        raise failed_precondition(
            f"{error.filename or path} cannot be read ({error.strerror}): let the server's user "
            "read it"
        ) from error
    if what is not None:
        raise ServingError(Code.DATA_LOSS, f"{path} is not complete: {what}; {DAMAGED}")


ROUTES = (
    (r"/memory", _Memory),
    (r"/memory/ledger", _Ledger),
    (r"/models/([^/]+)/fit", _Fit),
)
