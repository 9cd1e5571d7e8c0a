"""Asks a served model as many callers at a time do, and compares what they are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.servers import Server
from tests.zoo.specimens import Specimen
from workbench.core.signature import DEFAULT_SIGNATURE
from workbench.ipc.frames import Tensors
from workbench.server.engine.batching.batch_records import BatchRecord
from workbench.server.engine.versions.model import Served

CALLERS = 32
# For each caller, one after the other.
REQUESTS_EACH = 8
_ALONE_AT_A_TIME = 4
_TOLERANCE_NEAR_ZERO = 1e-5


async def serve(server: Server, specimen: Specimen, base: Path) -> tuple[Served, list[Any]]:
    """Serve a model with default settings as "m", and for comparison as "alone", where no requests
    are merged.

    Returns:
        The version of "m", and the requests of all callers.
    """
    server.put(base, 1, specimen.name)
    server.set_model("m", base)
    server.set_model("alone", base, automatic_batching=False)
    served = await server.available("m", 1)
    await server.available("alone", 1)
    (alias, *others) = sorted(served.signatures[DEFAULT_SIGNATURE].inputs)
    requests = specimen.requests(CALLERS * REQUESTS_EACH)
    if not others:
        # Keras makes up a name for a single input.
        requests = [{alias: array} for request in requests for array in request.values()]
    return served, requests


async def answers_alone(server: Server, requests: Sequence[Any]) -> list[Tensors]:
    """The answer to each request alone."""
    answers: list[Tensors] = []
    for start in range(0, len(requests), _ALONE_AT_A_TIME):
        some = requests[start : start + _ALONE_AT_A_TIME]
        answers += await asyncio.gather(*(server.predict("alone", request) for request in some))
    return answers


async def answers_of_callers(server: Server, requests: Sequence[Any]) -> list[Tensors]:
    """The answer to each request when `CALLERS` ask at a time, each one request after the other."""
    answers: list[Any] = [None] * len(requests)

    async def call(first: int) -> None:
        for i in range(first, len(requests), CALLERS):
            answers[i] = await server.predict("m", requests[i])

    await asyncio.gather(*(call(first) for first in range(CALLERS)))
    return answers


def is_same(answer: Tensors, expected: Tensors, tolerance: float) -> bool:
    """Whether two answers differ by no more than rounding."""
    return answer.keys() == expected.keys() and all(
        _is_same_array(array, expected[name], tolerance) for name, array in answer.items()
    )


def _is_same_array(array: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    if (array.shape, array.dtype) != (expected.shape, expected.dtype):
        return False
    if array.dtype.kind in "OSbiu":
        return bool(np.array_equal(array, expected))
    return bool(
        np.allclose(
            array.astype(np.float64),
            expected.astype(np.float64),
            rtol=tolerance,
            atol=max(_TOLERANCE_NEAR_ZERO, tolerance / 10),
            equal_nan=True,
        )
    )


def most_merged(served: Served) -> int:
    """How many requests the largest batch of a version had."""
    assert served.queues is not None
    records = map(BatchRecord._make, served.queues.statistics.last_rows)
    return max((record.tasks for record in records), default=0)


def merging(served: Served) -> dict[str, Any]:
    """What the version says of merging requests to its default signature."""
    told: dict[str, Any] = served.to_json()["merging"][DEFAULT_SIGNATURE]
    return told
