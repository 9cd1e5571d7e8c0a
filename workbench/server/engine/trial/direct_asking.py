"""Sends requests directly to a worker, past all queues, for versions that are not available yet."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np

from workbench.core.status import Code, ServingError
from workbench.ipc.frames import Tensors
from workbench.server.engine.trial.recent import copied
from workbench.server.engine.workers.worker_handle import WORKER_LOST, Lane, Worker


class CannotAnswer(Exception):
    """The worker died of a request, or did not answer in time; `how` says which, in words."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


async def ask(
    worker: Worker,
    lane: Lane,
    signature: str,
    parts: Mapping[str, Sequence[np.ndarray]],
    *,
    seconds: float,
    quiet: bool,
) -> Tensors:
    """The worker's answer to one batch.

    Args:
        parts: for each input the arrays to be joined.
        seconds: how long it may take; a worker that takes longer is ended.
        quiet: run at low priority, because another version serves.

    Raises:
        ServingError: the model refused it.
        CannotAnswer: the worker is gone.
    """
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[Tensors] = loop.create_future()

    def answer(result: Tensors | ServingError, _micros: int) -> None:
        if answered.done():
            return
        if isinstance(result, ServingError):
            answered.set_exception(result)
        else:
            answered.set_result(copied(result))

    if not lane.open_for_use:
        raise CannotAnswer(await _end_of(worker))
    try:
        lane.run(signature, parts, (), answer, quiet)
        return await asyncio.wait_for(answered, seconds)
    except asyncio.TimeoutError:
        how = f"it did not answer within {seconds:.0f} s"
        worker.kill(how)
        raise CannotAnswer(how) from None
    except ServingError as error:
        if error is WORKER_LOST:
            raise CannotAnswer(await _end_of(worker)) from None
        raise


async def _end_of(worker: Worker) -> str:
    return f"its worker process died: {await asyncio.shield(worker.ended)}"


NEVER = frozenset(
    {
        Code.FAILED_PRECONDITION,
        Code.NOT_FOUND,
        Code.UNIMPLEMENTED,
        Code.RESOURCE_EXHAUSTED,
        Code.DATA_LOSS,
    }
)
"""Codes that mean a model lacks something, whatever the input."""
# TensorFlow's own texts: it gives these failures codes that other failures have too.
_NEVER_TEXTS = ("No OpKernel was registered", "Op type not registered", "fed more than once")


def can_never(error: ServingError) -> bool:
    """Whether a model that refuses a made-up input would refuse every other input too."""
    return error.code in NEVER or any(text in error.message for text in _NEVER_TEXTS)
