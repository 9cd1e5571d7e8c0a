"""The second test of row independence with live requests, for inputs that cannot be made up.

Until it is decided whether a signature's requests are merged, they run alone. The first few of
them, with their answers, are kept and then run once more as one batch. If that gives the same
answers, requests are merged from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from workbench.core.batching.merging import Merging
from workbench.server.engine.trial.recent import copied, size_bytes
from workbench.server.engine.trial.same_answers import Agreement, agreement

_WANTED = 3
_MOST_BYTES = 4 * 1024 * 1024
_MOST_ROWS = 16
_MOST_TRIES = 3


class Heard(NamedTuple):
    """A request that ran alone, its answer, and how many rows both have."""

    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    rows: int


class Witness:
    """The live requests of one signature that is not decided yet.

    Attributes:
        asking: whether a batch of them is being run.
    """

    def __init__(self) -> None:
        self._heard: list[Heard] = []
        self._tries = 0
        self.asking = False

    def hear(
        self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray] | None:
        """Take up a request that ran alone, with its answer.

        Returns:
            The inputs of a batch to be run alone, once there are enough; `judge` its answer.
        """
        if self.asking:
            return None
        rows = {
            array.shape[0] if array.ndim else 0 for array in (*inputs.values(), *outputs.values())
        }
        small = size_bytes(inputs) + size_bytes(outputs) <= _MOST_BYTES
        if len(rows) != 1 or not small or not 0 < max(rows) <= _MOST_ROWS:
            return None
        heard = Heard(copied(inputs), copied(outputs), max(rows))
        if self._heard and not _fit(self._heard[0], heard):
            self._heard.clear()
        self._heard.append(heard)
        if len(self._heard) < _WANTED:
            return None
        self.asking = True
        return {
            name: np.concatenate([each.inputs[name] for each in self._heard]) for name in inputs
        }

    def judge(self, outputs: Mapping[str, np.ndarray] | None, before: Merging) -> Merging:
        """What the answer to the batch says; None: it was refused."""
        heard, self._heard, self.asking = self._heard, [], False
        self._tries += 1
        if outputs is None:
            if self._tries < _MOST_TRIES:
                return before
            return Merging(False, "requests", reason="its requests are refused as a batch")
        row = 0
        for each in heard:
            mine = {name: array[row : row + each.rows] for name, array in outputs.items()}
            row += each.rows
            found = agreement(each.outputs, mine)
            if found is Agreement.SUSPICIOUS and self._tries < _MOST_TRIES:
                return before
            if found is not Agreement.SAME:
                reason = "live requests were answered differently together than alone"
                return Merging(False, "requests", reason=reason)
        return Merging(True, "requests", batch_sizes=before.batch_sizes)


def _fit(one: Heard, other: Heard) -> bool:
    return one.inputs.keys() == other.inputs.keys() and all(
        (array.shape[1:], array.dtype) == (other.inputs[name].shape[1:], other.inputs[name].dtype)
        for name, array in one.inputs.items()
    )
