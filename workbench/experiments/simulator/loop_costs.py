"""The event loop's time for a batch and for each of its requests, from measured batches.

The loop starts a batch, takes its result and answers its requests, one after another; so it is a
limit of its own, whatever the executors do. Most of a small batch's cost is the batch's own, and
most of a large one's is that of its requests: a line through the costs of several sizes separates
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

_OF_A_BATCH = {"start_micros": 0.8, "end_micros": 0.2}
_OF_A_REQUEST = {"arrival_micros": 0.45, "start_request_micros": 0.2, "answer_micros": 0.35}
"""How a batch's and a request's cost are divided among the loop's steps; it is alike for all
models, because these steps do not look at the tensors."""


@dataclass(frozen=True)
class LoopCosts:
    """Microseconds of the event loop.

    Attributes:
        batch_micros: for a batch, however many requests it has.
        request_micros: for each request.
    """

    batch_micros: float
    request_micros: float

    @classmethod
    def fitted(cls, measured: Mapping[int, float]) -> LoopCosts:
        """The costs that fit `measured` best: the microseconds of a batch, by its requests.

        Relative errors count, so that the small batches determine the cost of a batch. No cost is
        negative.

        Raises:
            ValueError: nothing was measured.
        """
        if not measured:
            raise ValueError("The loop's costs need at least one measured size")
        requests = np.array(list(measured), float)
        micros = np.maximum(np.array(list(measured.values()), float), 1e-3)
        batch, request = 0.0, float(np.mean(micros / requests))
        if len(measured) > 1:
            weighed = np.stack([1 / micros, requests / micros], axis=1)
            batch, request = np.linalg.lstsq(weighed, np.ones(len(micros)), rcond=None)[0].tolist()
            if batch < 0:
                batch, request = 0.0, float(np.mean(micros / requests))
            elif request < 0:
                batch, request = float(np.mean(micros)), 0.0
        return cls(batch, request)

    def steps(self) -> dict[str, float]:
        """The costs as `ServiceTime` keeps them, by name."""
        return {
            **{name: share * self.batch_micros for name, share in _OF_A_BATCH.items()},
            **{name: share * self.request_micros for name, share in _OF_A_REQUEST.items()},
        }
