"""Finds problems of a batching setting, each with its cure.

The evidence is why batches were closed, how large they were and how busy the slots were. It is the
same for measured and simulated points.
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench.core.batching.parameters import next_allowed_batch_size
from workbench.experiments.sweep.point import Point

_MOSTLY = 0.9
_SMALL = 0.5
_IDLE = 0.5
_REJECTED = 0.005
THRESHOLDS = {"mostly": _MOSTLY, "rejected": _REJECTED}
"""The same for diagnoses of live batches in the browser: shares from 0 to 1."""


@dataclass(frozen=True)
class Diagnosis:
    """A problem and its cure, each in words; `kind` is the same for the same problem elsewhere."""

    kind: str
    problem: str
    cure: str

    def __str__(self) -> str:
        return f"{self.problem} Cure: {self.cure}"


def diagnose(point: Point) -> list[Diagnosis]:
    """The problems at this point, the worst first; empty for a good setting. Where requests failed,
    nothing else is concluded."""
    if point.failed:
        return [_failed(point)]
    found = [
        _queue_full(point),
        _never_full(point),
        _singles(point),
        _padding(point),
        _out_of_slots(point),
    ]
    return [diagnosis for diagnosis in found if diagnosis is not None]


def _failed(point: Point) -> Diagnosis:
    sent = point.offered * point.seconds
    return Diagnosis(
        "failing",
        f"{round(point.failed * sent)} of {round(sent)} requests failed: "
        f"{(point.first_error or ', '.join(point.failures)).rstrip('.')}.",
        "mend the requests or the model, then measure again.",
    )


def _share(point: Point, reason: str) -> float:
    return point.reasons.get(reason, 0) / max(sum(point.reasons.values()), 1)


def _milliseconds(point: Point) -> str:
    return f"{point.parameters['batch_timeout_micros'] / 1e3:g} ms"


def _queue_full(point: Point) -> Diagnosis | None:
    if point.rejected <= _REJECTED:
        return None
    limit = point.parameters["max_enqueued_batches"]
    return Diagnosis(
        "rejecting",
        f"The queue rejected {point.rejected:.0%} of the requests: it holds at most {limit} "
        f"waiting batches of {point.parameters['max_batch_size']} rows.",
        "lower the load, allow larger batches, or raise max_enqueued_batches if only bursts are "
        "rejected.",
    )


def _never_full(point: Point) -> Diagnosis | None:
    size = point.parameters["max_batch_size"]
    if point.parameters["batch_timeout_micros"] == 0 or _share(point, "timeout") < _MOSTLY:
        return None
    clients = point.clients
    if clients is not None and clients * point.rows < size:
        return Diagnosis(
            "rarely full",
            f"{clients} clients can never fill a batch of {size}: every batch waited its full "
            f"{_milliseconds(point)}.",
            f"set max_batch_size to {clients * point.rows}, so that a batch runs as soon as all "
            "clients are in it, or set batch_timeout_micros to 0.",
        )
    if point.batch_rows < _SMALL * size and point.occupancy < _IDLE:
        return Diagnosis(
            "rarely full",
            f"Batches of {size} are rarely filled: {_share(point, 'timeout'):.0%} of them waited "
            f"the full {_milliseconds(point)} and ran with {point.batch_rows:.1f} rows, while the "
            f"executors were idle {1 - point.occupancy:.0%} of the time.",
            "lower batch_timeout_micros; the delay adds latency without making batches larger.",
        )
    return None


def _singles(point: Point) -> Diagnosis | None:
    timeout, size = point.parameters["batch_timeout_micros"], point.parameters["max_batch_size"]
    single = point.batch_rows < 2 * point.rows and size > point.rows
    if timeout != 0 or not single or _share(point, "executor_idle") < _MOSTLY or point.slots < 2:
        return None
    if point.clients is None and point.occupancy < _IDLE:
        # The executors keep up, so nobody lacks throughput.
        return None
    return Diagnosis(
        "single",
        f"With batch_timeout_micros 0 and {point.slots} threads, requests run almost alone "
        f"({point.batch_rows:.1f} rows in a batch, {size} possible).",
        "for more throughput, lower num_batch_threads, or set batch_timeout_micros to about the "
        f"run time of a batch ({max(point.run * 1e6, 100):.0f}).",
    )


def _padding(point: Point) -> Diagnosis | None:
    allowed = point.parameters["allowed_batch_sizes"]
    batches = sum(point.sizes.values())
    if not allowed or not batches:
        return None
    run = sum(next_allowed_batch_size(size, allowed) * n for size, n in point.sizes.items())
    rows = sum(size * n for size, n in point.sizes.items())
    if run < 1.5 * rows:
        return None
    common = max(point.sizes, key=lambda size: point.sizes[size])
    return Diagnosis(
        "padding",
        f"{1 - rows / run:.0%} of the rows that run are padding.",
        f"add smaller allowed_batch_sizes; most batches have {common} rows.",
    )


def _out_of_slots(point: Point) -> Diagnosis | None:
    if point.occupancy < _MOSTLY or _share(point, "full") > _SMALL or point.batch_rows < 2:
        return None
    if point.queue < 2 * point.run:
        return None
    return Diagnosis(
        "busy",
        f"The executors are busy {point.occupancy:.0%} of the time, and requests wait "
        f"{point.queue / max(point.run, 1e-9):.1f} times as long as they run.",
        "this is close to the model's capacity on this machine; lower the load or add servers.",
    )
