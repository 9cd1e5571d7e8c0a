"""Records of answered batches, for sweeps, diagnoses and calibration."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, NamedTuple

from workbench.core.batching.queue import Batch

_RECORDS_KEPT = 1000


class BatchRecord(NamedTuple):
    """One batch that was answered; times are in microseconds.

    Attributes:
        opened_at, taken_at: monotonic, when its first task arrived, and when it got its slot.
        slot_micros: for how long it held the slot.
        run_micros: for how long the model ran, as the worker measured it.
        in_flight: batches that held slots when it was taken, itself included.
    """

    number: int
    rows: int
    tasks: int
    padding: int
    reason: str
    opened_at: int
    taken_at: int
    slot_micros: int
    run_micros: int
    in_flight: int


Row = tuple[int, int, int, int, str, int, int, int, int, int]
"""The values of a `BatchRecord`."""


class BatchStatistics:
    """The answered batches of one version: the last ones singly, and all of them summed up.

    Attributes:
        batches: how many there were; while the requests of a batch are answered, its number.
        queued_micros, request_run_micros: time in the queue and in the model, summed over
            requests; `run_micros` and `slot_micros` are summed over batches.
        rejected: requests that found the queue full.
        last_rows: the last batches, as plain tuples. The garbage collector leaves these alone, but
            visits named ones; thousands of them would hold up the event loop for milliseconds.
    """

    def __init__(self) -> None:
        self.batches = 0
        self.rows = 0
        self.requests = 0
        self.padding = 0
        self.queued_micros = 0
        self.run_micros = 0
        self.request_run_micros = 0
        self.slot_micros = 0
        self.rejected = 0
        self.reasons: Counter[str] = Counter()
        self.sizes: Counter[int] = Counter()
        self.last_rows: deque[Row] = deque(maxlen=_RECORDS_KEPT)

    def add(
        self,
        batch: Batch[Any],
        padding: int,
        run_micros: int,
        taken_at: int,
        ended_at: int,
        in_flight: int,
    ) -> None:
        """Count a batch that was answered just now; see `BatchRecord`."""
        slot_micros = ended_at - taken_at
        tasks = len(batch.parts)
        self.batches += 1
        self.rows += batch.size
        self.requests += tasks
        self.padding += padding
        self.run_micros += run_micros
        self.request_run_micros += run_micros * tasks
        self.slot_micros += slot_micros
        reason = batch.reason.value if batch.reason else "open"
        self.reasons[reason] += 1
        self.sizes[batch.size] += 1
        self.last_rows.append(
            (
                self.batches,
                batch.size,
                tasks,
                padding,
                reason,
                batch.opened_at,
                taken_at,
                slot_micros,
                run_micros,
                in_flight,
            )
        )

    def to_json(self) -> dict[str, Any]:
        """The sums, without the single records; sizes as strings, ascending."""
        return {
            **{name: value for name, value in vars(self).items() if name != "last_rows"},
            "reasons": dict(self.reasons),
            "sizes": {str(size): count for size, count in sorted(self.sizes.items())},
        }
