"""The routes of experiments.

    GET    workbench/api/experiments                      the saved and the running experiments
    GET    workbench/api/experiments/NUMBER               a saved experiment, with its figure
    POST   workbench/api/experiments/running/NUMBER/cancel

They only use the store. An experiment runs in a notebook's kernel or in a terminal; the request to
cancel it goes through the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import orjson
from tornado import web

from workbench.core.status import Code, ServingError, invalid_argument
from workbench.experiments.store.store import Store
from workbench.jupyter.server_extension.base_handler import Handler, check_model, guarded
from workbench.jupyter.server_extension.route_answers import Done, Experiments

if TYPE_CHECKING:
    from workbench.experiments.face import Found

_AT_MOST = 1000
_LARGEST = 2**63 - 1
_FACE_SECONDS = 60.0
_CANCELLED = (
    "The experiment ends after its current measurement, and restores the server's settings."
)


class _ExperimentsHandler(Handler):
    @guarded
    async def get(self) -> None:
        """The `Experiments` (with `model`)."""
        model = self.get_query_argument("model", None)
        if model is not None:
            check_model(model)
        limit = min(self.number("limit", 100), _AT_MOST)
        self.finish(await self.pools.ask(_experiments, model, limit))


def _experiments(model: str | None, limit: int) -> Experiments:
    with Store() as store:
        running = [each for each in store.running() if model in (None, each["model"])]
        return {"experiments": store.list(model, limit), "running": running}


class _ExperimentHandler(Handler):
    @guarded
    async def get(self, number: str) -> None:
        """The result of an experiment, see `face.Found`; 404 if there is none."""
        known = _number(number)
        # Refuse an unknown one before a process is started for it.
        await self.pools.ask(_in_store, Store.about, known)
        self.finish(await _face(known))


class _CancelHandler(Handler):
    @guarded
    async def post(self, number: str) -> None:
        """Ask an experiment to end after its current measurement; 404 if it has ended."""
        self.body()
        await self.pools.ask(_in_store, Store.cancel, _number(number))
        self.finish(Done(message=_CANCELLED))


def _number(text: str) -> int:
    number = int(text)
    if number > _LARGEST:
        raise invalid_argument(f"{text[:40]} is not the number of an experiment")
    return number


def _in_store(do: Callable[[Store, int], object], number: int) -> None:
    with Store() as store:
        do(store, number)


async def _face(number: int) -> Found:
    # In a process of its own: matplotlib is large, slow to import, and not thread-safe.
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "workbench.experiments.face",
        str(number),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), _FACE_SECONDS)
    except asyncio.TimeoutError:
        raise ServingError(
            Code.DEADLINE_EXCEEDED,
            f"Experiment {number} could not be drawn in {_FACE_SECONDS:.0f} s",
        ) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode not in (0, 1) or not out:
        # Its error text is in the Jupyter Server's log.
        raise web.HTTPError(500)
    answer: Any = orjson.loads(out)
    if process.returncode:
        raise ServingError(Code[answer["code"]], answer["message"])
    return cast("Found", answer)


EXPERIMENT_HANDLERS = [
    (r"/workbench/api/experiments", _ExperimentsHandler),
    (r"/workbench/api/experiments/([0-9]{1,19})", _ExperimentHandler),
    (r"/workbench/api/experiments/running/([0-9]{1,19})/cancel", _CancelHandler),
]
