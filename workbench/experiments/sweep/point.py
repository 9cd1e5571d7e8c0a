"""One measured point of a sweep: figures with intervals, and a verdict."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.load.measure import Window, add_counters
from workbench.experiments.store.packed_arrays import without_infinity
from workbench.load.histogram import LatencyHistogram
from workbench.load.intervals import Interval, group_size, quantile_interval

CONFIDENCE = 0.95
LEVELS = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
STABLE, SATURATED = "stable", "saturated"
TOO_FEW, LIMITED = "too few samples", "limited by the load generator"
_KEPT_UP = 0.95
_REJECTED = 0.01
_USUAL = 0.95


@dataclass(frozen=True)
class Point:
    """One setting, measured. Rates are per second, times in seconds.

    Attributes:
        parameters: as from `BatchingParameters.to_json`, with the slots.
        load: ``{"rate": ...}`` of an open loop or ``{"clients": ...}`` of a closed one.
        rows: rows of each request.
        offered: requests sent a second; in a closed loop, the resulting rate.
        achieved: requests answered a second, with an interval.
        latency: the intervals of ``p50``, ``p90`` and ``p99``; a bound is infinite where there are
            too few samples for it. ``p99.9`` is included only with both bounds.
        samples: the answers that the percentiles are computed from.
        seconds: of sending.
        sizes: batches by rows; `reasons`: batches by close reason.
        queue, run, overhead: the parts of a request's mean latency: waiting for its batch to start,
            running in it, and everything else.
        rejected: share of the requests that found the queue full; `failures`, by reason.
        occupancy: share of the slots' time in which they held a batch.
        memory_bytes: private memory of the model's worker after the load; None if unknown.
        histogram: the latencies as HdrHistogram's text (see `distribution`); empty in points kept
            by earlier versions.
        verdict: ``stable``, ``saturated``, ``too few samples`` or ``limited by the load
            generator``.
    """

    parameters: Mapping[str, Any]
    load: Mapping[str, float]
    rows: int
    offered: float
    achieved: Interval
    latency: Mapping[str, Interval]
    samples: int
    seconds: float
    sizes: Mapping[int, int] = field(repr=False)
    reasons: Mapping[str, int] = field(repr=False)
    queue: float
    run: float
    overhead: float
    rejected: float
    failures: Mapping[str, int]
    occupancy: float
    send_delay_p99: float
    memory_bytes: int | None
    verdict: str
    histogram: str = field(default="", repr=False)

    @property
    def distribution(self) -> LatencyHistogram:
        """All latencies, in microseconds. Unlike percentiles, the histograms of several points can
        be merged."""
        return LatencyHistogram.from_text(self.histogram) if self.histogram else LatencyHistogram()

    @property
    def batching(self) -> BatchingParameters:
        """The parameters as an object."""
        return BatchingParameters.from_json(self.parameters)

    @property
    def slots(self) -> int:
        """Executor slots (`num_batch_threads`)."""
        return int(self.parameters["num_batch_threads"] or 1)

    @property
    def clients(self) -> int | None:
        """Clients of a closed loop; None in an open one."""
        return int(self.load["clients"]) if "clients" in self.load else None

    @property
    def batch_rows(self) -> float:
        """The mean number of rows in a batch."""
        batches = sum(self.sizes.values())
        return sum(size * n for size, n in self.sizes.items()) / batches if batches else 0.0

    def percentile(self, name: str) -> float:
        """Seconds; NaN where there are too few samples."""
        return self.latency[name].estimate if name in self.latency else math.nan

    def line(self) -> dict[str, Any]:
        """The point as a row of a table, with the units in the names."""
        row: dict[str, Any] = {
            "batch_timeout_micros": self.parameters["batch_timeout_micros"],
            "max_batch_size": self.parameters["max_batch_size"],
            "num_batch_threads": self.slots,
            **self.load,
            "offered_per_s": self.offered,
            "achieved_per_s": self.achieved.estimate,
            "achieved_low": self.achieved.low,
            "achieved_high": self.achieved.high,
        }
        unknown = Interval(math.nan, math.nan, math.nan, CONFIDENCE)
        for name in LEVELS:
            found = self.latency.get(name, unknown)
            row[f"{name}_ms"] = found.estimate * 1e3
            row[f"{name}_low"] = found.low * 1e3
            row[f"{name}_high"] = found.high * 1e3
        batches = max(sum(self.reasons.values()), 1)
        return {
            **row,
            "batch_rows": self.batch_rows,
            **{
                f"closed_{reason}": self.reasons.get(reason, 0) / batches
                for reason in ("full", "timeout", "executor_idle")
            },
            "queue_ms": self.queue * 1e3,
            "run_ms": self.run * 1e3,
            "overhead_ms": self.overhead * 1e3,
            "occupancy": self.occupancy,
            "rejected": self.rejected,
            "memory_mb": math.nan if self.memory_bytes is None else self.memory_bytes / 2**20,
            "samples": self.samples,
            "seconds": self.seconds,
            "verdict": self.verdict,
        }

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data; infinite bounds as null."""
        data: dict[str, Any] = without_infinity(asdict(self))
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Point:
        """The point that `to_json` wrote."""
        return cls(
            **{
                **data,
                "achieved": _interval(data["achieved"]),
                "latency": {name: _interval(each) for name, each in data["latency"].items()},
                "sizes": {int(size): n for size, n in data["sizes"].items()},
            }
        )


def _interval(data: Mapping[str, Any]) -> Interval:
    known = {name: value for name, value in data.items() if value is not None}
    return Interval(**{"low": -math.inf, "high": math.inf, **known})


def summarize(
    parameters: BatchingParameters,
    load: Mapping[str, float],
    rows: int,
    windows: Sequence[Window],
    memory_bytes: int | None,
) -> Point:
    """Computes the point from its windows."""
    counters = add_counters(windows)
    latency = np.concatenate([window.latency for window in windows])
    seconds = sum(window.seconds for window in windows)
    sent = sum(window.sent for window in windows)
    failures = sum((Counter(window.failures) for window in windows), Counter[str]())
    found = latency_intervals(windows, *LEVELS)
    if "p99.9" in found and not found["p99.9"].bounded:
        del found["p99.9"]
    requests = max(counters.get("requests", 0), 1)
    queue = counters.get("queued_micros", 0) / requests / 1e6
    run = counters.get("request_run_micros", 0) / requests / 1e6
    rejected = failures.get("rejected", 0) / max(sent, 1)
    offered, achieved = sent / seconds, _achieved(windows)
    if "rate" in load and not keeps_up(offered, achieved.estimate, rejected):
        # A server that cannot keep up also delays the sender.
        late = not rejected and all(window.limited for window in windows)
        verdict = LIMITED if late else SATURATED
    elif any(window.limited for window in windows):
        verdict = LIMITED
    else:
        verdict = STABLE if "p99" in found and found["p99"].bounded else TOO_FEW
    histogram = LatencyHistogram()
    histogram.record_seconds(latency)
    return Point(
        parameters=parameters.to_json(),
        load=dict(load),
        rows=rows,
        offered=offered,
        achieved=achieved,
        latency=found,
        samples=len(latency),
        seconds=seconds,
        sizes={int(size): n for size, n in counters.get("sizes", {}).items()},
        reasons=dict(counters.get("reasons", {})),
        queue=queue,
        run=run,
        overhead=max(float(latency.mean()) - queue - run, 0.0) if len(latency) else 0.0,
        rejected=rejected,
        failures=dict(failures),
        occupancy=min(
            counters.get("slot_micros", 0) / 1e6 / (parameters.num_batch_threads or 1) / seconds,
            1.0,
        ),
        send_delay_p99=max(window.send_delay_p99 for window in windows),
        memory_bytes=memory_bytes,
        verdict=verdict,
        histogram=histogram.to_text(),
    )


def latency_intervals(windows: Sequence[Window], *names: str) -> dict[str, Interval]:
    """The intervals of percentiles, by names of `LEVELS`; empty where nothing was answered."""
    latency = np.concatenate([window.latency for window in windows])
    if not len(latency):
        return {}
    members, largest = clusters(windows)
    return {
        name: quantile_interval(
            latency, LEVELS[name], confidence=CONFIDENCE, batches=members, max_batch=largest
        )
        for name in names
    }


def keeps_up(offered: float, achieved: float, rejected: float) -> bool:
    """Whether a server answers what an open loop offers: rates a second, and the rejected share."""
    return rejected <= _REJECTED and achieved >= _KEPT_UP * offered


def clusters(windows: Sequence[Window]) -> tuple[NDArray[np.int64], int]:
    """The cluster of each latency, numbered over all windows, and the most in one cluster.

    Requests of one batch have dependent latencies. Where batches are unknown, neighbours in the
    order of answers are grouped. Where requests queue, successive batches are dependent too, so
    enough of them form one cluster that clusters are nearly independent (`group_size`). That number
    and the largest cluster come from the first window only, so they do not depend on later looks:
    nearly all requests were in batches of at most that size. The few larger batches count as
    several.
    """
    usual = _usual_largest(windows[0])
    batches = [_batches(window, usual) for window in windows]
    together = group_size(windows[0].latency, batches[0])
    largest = usual * together
    members, base = [], 0
    for each in batches:
        batch = each // together
        order = np.argsort(batch, kind="stable")
        ordered = batch[order]
        first = np.searchsorted(ordered, ordered, side="left")
        piece = np.empty(len(batch), np.int64)
        piece[order] = (np.arange(len(batch)) - first) // largest
        number = np.unique(batch * (piece.max(initial=0) + 1) + piece, return_inverse=True)[1]
        members.append(number + base)
        base += int(number.max(initial=-1)) + 1
    return np.concatenate(members), largest


def _batches(window: Window, usual: int) -> NDArray[np.int64]:
    """The batch of each latency, numbered from 0 in the order of time."""
    if len(window.batch) and window.batch[0] >= 0:
        numbers: NDArray[np.int64] = np.unique(window.batch, return_inverse=True)[1]
        return numbers
    place = np.empty(len(window.ended), np.int64)
    place[np.argsort(window.ended, kind="stable")] = np.arange(len(window.ended))
    return place // usual


def _usual_largest(window: Window) -> int:
    """The largest batch, in requests, after the largest 5 % of requests were left out."""
    counts = window.batches
    sizes = sorted((int(size), n) for size, n in counts.get("sizes", {}).items())
    if not sizes:
        return 1
    per_request = max(counts["rows"] / max(counts["requests"], 1), 1.0)
    wanted, seen, usual = _USUAL * counts["rows"], 0, 1
    for size, n in sizes:
        usual, seen = size, seen + size * n
        if seen >= wanted:
            break
    return max(1, math.ceil(usual / float(per_request)))


_BLOCKS = 16


def _achieved(windows: Sequence[Window]) -> Interval:
    """Answers a second, with an interval from blocks of time, valid for one look. Answers come in
    batches, so single ones are not independent."""
    rate = sum(w.answered for w in windows) / sum(w.seconds for w in windows)
    counts: list[float] = []
    for window in windows:
        edges = np.linspace(window.seconds * 0.1, window.seconds, _BLOCKS + 1)
        counts += (np.histogram(window.ended, edges)[0] / np.diff(edges)).tolist()
    half = 2.0 * float(np.std(counts, ddof=1)) / math.sqrt(len(counts))
    return Interval(max(rate - half, 0.0), rate, rate + half, CONFIDENCE)
