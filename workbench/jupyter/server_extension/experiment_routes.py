"""The routes over experiments: what was measured, what is being measured, and how to end that.

    GET    workbench/api/experiments                      what was measured, and what is under way
    GET    workbench/api/experiments/NUMBER               what one found, with its figure
    POST   workbench/api/experiments/running/NUMBER/cancel

They read the store alone; an experiment runs in a notebook's kernel or in a terminal, and is asked
through the store to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

import orjson
from jupyter_server.auth.decorator import authorized
from tornado import web

from workbench.core.status import Code, ServingError, invalid_argument
from workbench.experiments.store.store import Store
from workbench.jupyter.server_extension.base_handler import Handler, check_model

_AT_MOST = 1000
_LARGEST = 2**63 - 1
_FACE_SECONDS = 60.0
_CANCELLED = "It ends when what it measures just now is measured; the server is put back as it was."


class ExperimentsHandler(Handler):
    @web.authenticated
    @authorized
    async def get(self) -> None:
        """What was measured (of `model`), latest first: ``{"experiments": [...]}``, each with
        `number`, `kind`, `model`, `saved_at` (seconds since the epoch) and `summary`; and what is
        under way, `running`: each with `number` (another than it will have when it is kept),
        `kind`, `model`, `server`, `started_at`, `told_at`, `text`, `share` (from 0 to 1, or None)
        and `cancelled`."""
        model = self.get_query_argument("model", None)
        if model is not None:
            check_model(model)
        limit = min(self.number("limit", 100), _AT_MOST)
        self.finish(await self.ask(_experiments, model, limit))


def _experiments(model: str | None, limit: int) -> dict[str, Any]:
    with Store() as store:
        running = [each for each in store.running() if model in (None, each["model"])]
        return {"experiments": store.list(model, limit), "running": running}


class ExperimentHandler(Handler):
    @web.authenticated
    @authorized
    async def get(self, number: str) -> None:
        """What an experiment found, see `experiments.face`; 404 where there is none."""
        known = _number(number)
        # Before a process is started for it.
        await self.ask(_about, known)
        self.finish(await _face(known))


class CancelHandler(Handler):
    @web.authenticated
    @authorized
    async def post(self, number: str) -> None:
        """Have an experiment end at the next place where it can; 404 where it is over."""
        self.body()
        await self.ask(_cancel, _number(number))
        self.finish({"message": _CANCELLED})


def _number(text: str) -> int:
    number = int(text)
    if number > _LARGEST:
        raise invalid_argument(f"{text[:40]} is no experiment's number")
    return number


def _about(number: int) -> None:
    with Store() as store:
        store.about(number)


def _cancel(number: int) -> None:
    with Store() as store:
        store.cancel(number)


async def _face(number: int) -> dict[str, Any]:
    # In a process of its own: matplotlib is large, slow to import and at home in one thread.
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
        # Its own words are in the Jupyter Server's log.
        raise web.HTTPError(500)
    answer: dict[str, Any] = orjson.loads(out)
    if process.returncode:
        raise ServingError(Code[answer["code"]], answer["message"])
    return answer


EXPERIMENT_HANDLERS = [
    (r"/workbench/api/experiments", ExperimentsHandler),
    (r"/workbench/api/experiments/([0-9]{1,19})", ExperimentHandler),
    (r"/workbench/api/experiments/running/([0-9]{1,19})/cancel", CancelHandler),
]
