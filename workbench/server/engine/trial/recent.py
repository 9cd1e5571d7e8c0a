"""The last requests that were answered well, for each signature: what the next version is tried on.

They are in memory only, few and small, and go with the model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from workbench.ipc.frames import Tensors

_KEPT = 4
_MOST_BYTES = 256 * 1024
_PAUSE_MICROS = 100_000
_MOST_SIGNATURES = 32


class Asked(NamedTuple):
    """A request and its answer, both copied. `version` gave it, in a batch of `batch_rows`."""

    version: int
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    batch_rows: int = 1


class Recent:
    """The last few requests of a model, at most ten a second of each signature."""

    def __init__(self) -> None:
        self._kept: dict[str, deque[Asked]] = {}
        self._next_at: dict[str, int] = {}

    def is_due(self, now: int, signature: str) -> bool:
        """Whether to keep the next request; `now` is in monotonic microseconds."""
        return now >= self._next_at.get(signature, 0)

    def keep(
        self,
        now: int,
        version: int,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Tensors,
        batch_rows: int = 1,
    ) -> None:
        """Keep copies of a request and its answer, unless they are large."""
        self._next_at[signature] = now + _PAUSE_MICROS
        if signature not in self._kept and len(self._kept) >= _MOST_SIGNATURES:
            return
        if size_bytes(inputs) + size_bytes(outputs) > _MOST_BYTES:
            return
        kept = self._kept.setdefault(signature, deque(maxlen=_KEPT))
        kept.append(Asked(version, copied(inputs), copied(outputs), batch_rows))

    def of(self, signature: str) -> list[Asked]:
        """What is kept of a signature, newest first."""
        return list(reversed(self._kept.get(signature, ())))


def size_bytes(tensors: Mapping[str, np.ndarray]) -> int:
    """Bytes of tensors; of strings, those of their text."""
    return sum(
        sum(map(len, array.reshape(-1).tolist())) if array.dtype == object else array.nbytes
        for array in tensors.values()
    )


def copied(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Copies that outlive the shared memory that `tensors` are views of."""
    return {name: array.copy() for name, array in tensors.items()}
