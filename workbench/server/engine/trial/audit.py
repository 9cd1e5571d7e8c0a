"""The audit: from time to time one request of a merged batch is run again alone.

Two checks have found that its rows do not affect each other. If both were wrong, callers would get
wrong numbers without ever knowing, so a third check runs while the version serves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from workbench.server.engine.trial.recent import copied, size_bytes
from workbench.server.engine.trial.same_answers import Agreement, agreement

_MOST_BYTES = 1024 * 1024
_OFTEN = 10
_FIRST_MICROS = 100_000
_SOON_MICROS = 500_000
_LATER_MICROS = 10_000_000
_SUSPICIONS = 3


class Sample(NamedTuple):
    """A request that shared a batch, and its answer there."""

    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


class Audit:
    """The audit of one signature. Times are in monotonic microseconds.

    Attributes:
        checked: how many requests it has run again.
    """

    def __init__(self) -> None:
        self.checked = 0
        self._due: int | None = None
        self._asking = False
        self._suspicions = 0

    def is_due(self, now: int) -> bool:
        """Whether a request should be checked now; the first one soon after the first batch, since
        the first answers of a version have no time to share."""
        if self._due is None:
            self._due = now + _FIRST_MICROS
        return now >= self._due and not self._asking

    def take(
        self, now: int, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]
    ) -> Sample | None:
        """Copy a request of a merged batch and its answer; None if they are too large."""
        self._due = now + (_SOON_MICROS if self.checked < _OFTEN else _LATER_MICROS)
        if size_bytes(inputs) + size_bytes(outputs) > _MOST_BYTES:
            return None
        self._asking = True
        return Sample(copied(inputs), copied(outputs))

    def judge(self, sample: Sample, alone: Mapping[str, np.ndarray] | None) -> bool:
        """Whether the answer to the request alone equals that in the batch; `alone` is None if
        there is no answer."""
        self._asking = False
        if alone is None:
            return True
        self.checked += 1
        found = agreement(sample.outputs, alone)
        self._suspicions = 0 if found is Agreement.SAME else self._suspicions + 1
        return found is not Agreement.DIFFERENT and self._suspicions < _SUSPICIONS
