"""One measured point of a sweep: figures with intervals, and a verdict."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.load.generator import LIMITED, UNSURE
from workbench.experiments.load.measure import Window, add_counters
from workbench.experiments.store.packed_arrays import without_infinity
from workbench.experiments.sweep.certainty import (
    CONFIDENCE,
    LEVELS,
    Goal,
    latency_intervals,
    seconds_lacking,
)
from workbench.load.histogram import LatencyHistogram
from workbench.load.intervals import Interval

STABLE, SATURATED, FAILING = "stable", "saturated", "failing"
VERDICTS = {"too few samples": UNSURE}
"""Earlier names of verdicts, in results that were kept."""
_KEPT_UP = 0.95
_REJECTED = 0.01
_FAILED = 0.01
LOST = 0.001
"""A setting that rejects or fails a larger share of the requests does not meet any latency."""


@dataclass(frozen=True)
class Answer:
    """Whether a point meets a latency.

    Attributes:
        meets: yes, no, or None: not sure yet.
        why: the reason in words, as the rest of a sentence.
    """

    meets: bool | None
    why: str = ""

    def __str__(self) -> str:
        word = {True: "meets", False: "does not meet", None: UNSURE}[self.meets]
        return f"{word}: {self.why}" if self.why else word


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
        rejected: share of the requests that found the queue full.
        failed: share of the requests that failed otherwise; `failures`: all by reason.
        first_error: the message of the first failure that was no full queue.
        others: requests a second that somebody else sent meanwhile, and that were answered.
        occupancy: share of the slots' time in which they held a batch.
        memory_bytes: private memory of the model's worker after the load; None if unknown.
        histogram: the latencies as HdrHistogram's text (see `distribution`); empty in points kept
            by earlier versions.
        verdict: ``stable``, ``saturated``, ``failing``, ``not sure yet`` or ``limited by the load
            generator``.
        lacks: about how many seconds of load an answer lacks; None if the point has one, infinite
            if that cannot be predicted.
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
    failed: float = 0.0
    first_error: str = ""
    others: float = 0.0
    lacks: float | None = None

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

    @property
    def lost(self) -> float:
        """The share of the requests that were rejected or failed."""
        return self.rejected + self.failed

    def goodput(self, target_ms: float) -> float:
        """The share of all requests that were answered within `target_ms`; NaN if nothing is known
        of their latencies."""
        if not self.histogram:
            return math.nan
        return self.distribution.share_within(round(target_ms * 1e3)) * (1 - self.lost)

    def answer(self, p99_ms: float) -> Answer:
        """Whether the 99th percentile is within `p99_ms`, and nothing is lost."""
        if self.verdict == FAILING or self.failed > LOST:
            return Answer(False, f"{self.failed:.1%} of the requests failed")
        if self.verdict == SATURATED or self.rejected > LOST:
            state = [SATURATED] if self.verdict == SATURATED else []
            lost = [f"{self.rejected:.1%} of the requests rejected"] if self.rejected else []
            return Answer(False, ", ".join([*state, *lost]))
        if self.verdict == LIMITED:
            return Answer(None, LIMITED)
        found = self.latency.get("p99")
        if found is not None and found.high <= p99_ms / 1e3:
            return Answer(True)
        if found is not None and found.low > p99_ms / 1e3:
            return Answer(False)
        return Answer(None, lacking_text(self.lacks))

    def verdict_text(self, p99_ms: float | None = None) -> str:
        """The answer for a wanted latency, or the verdict; with the seconds that it lacks."""
        if p99_ms is not None:
            return str(self.answer(p99_ms))
        if self.verdict == UNSURE:
            return f"{UNSURE}: {lacking_text(self.lacks)}"
        return self.verdict

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
            "failed": self.failed,
            "memory_mb": math.nan if self.memory_bytes is None else self.memory_bytes / 2**20,
            "samples": self.samples,
            "seconds": self.seconds,
            "verdict": self.verdict,
            "lacks_s": math.nan if self.lacks is None else self.lacks,
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
                "verdict": VERDICTS.get(data["verdict"], data["verdict"]),
                "lacks": _seconds(data),
            }
        )


def _seconds(data: Mapping[str, Any]) -> float | None:
    """The seconds that an answer lacks; JSON has no infinity."""
    lacks: float | None = data.get("lacks")
    return math.inf if lacks is None and data["verdict"] in (UNSURE, *VERDICTS) else lacks


def lacking_text(seconds: float | None) -> str:
    """The time that an answer lacks, in words; None: it was measured for another question."""
    if seconds is None or math.isinf(seconds):
        return "more load is needed" if seconds is None else "much more load is needed"
    return f"about {max(1, math.ceil(seconds))} s of load more"


def share_text(share: float) -> str:
    """A share as a percentage, and a dash for NaN."""
    return "–" if math.isnan(share) else f"{share:.2%}"


def _interval(data: Mapping[str, Any]) -> Interval:
    known = {name: value for name, value in data.items() if value is not None}
    return Interval(**{"low": -math.inf, "high": math.inf, **known})


def summarize(
    parameters: BatchingParameters,
    load: Mapping[str, float],
    rows: int,
    windows: Sequence[Window],
    memory_bytes: int | None,
    goal: Goal | None = None,
) -> Point:
    """Computes the point from its windows. Without a `goal` any interval with two bounds is an
    answer."""
    goal = goal or Goal(math.inf)
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
    failed = failures.total() / max(sent, 1) - rejected
    verdict = condition(load, windows)
    if verdict == FAILING:
        # These times are of requests that failed, or of the few that did not.
        queue = run = 0.0
        found = {}
    elif verdict == STABLE and not ("p99" in found and found["p99"].bounded):
        verdict = UNSURE
    lacks = seconds_lacking(windows, goal) if verdict in (STABLE, UNSURE) else 0.0
    histogram = LatencyHistogram()
    histogram.record_seconds(latency)
    return Point(
        parameters=parameters.to_json(),
        load=dict(load),
        rows=rows,
        offered=sent / seconds,
        achieved=_achieved(windows),
        latency=found,
        samples=len(latency) if found else 0,
        seconds=seconds,
        sizes={int(size): n for size, n in counters.get("sizes", {}).items()},
        reasons=dict(counters.get("reasons", {})),
        queue=queue,
        run=run,
        overhead=max(float(latency.mean()) - queue - run, 0.0) if found else 0.0,
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
        failed=failed,
        first_error=next((window.first_error for window in windows if window.first_error), ""),
        others=sum(window.others for window in windows) / seconds,
        lacks=lacks or None,
    )


def condition(load: Mapping[str, float], windows: Sequence[Window]) -> str:
    """``failing``, ``saturated``, ``limited by the load generator``, or else ``stable``."""
    sent = sum(window.sent for window in windows)
    rejected = sum(window.failures.get("rejected", 0) for window in windows)
    failed = sum(sum(window.failures.values()) for window in windows) - rejected
    seconds = sum(window.seconds for window in windows)
    answered = sum(window.answered for window in windows)
    if failed > _FAILED * sent:
        return FAILING
    if "rate" in load and not keeps_up(sent / seconds, answered / seconds, rejected / max(sent, 1)):
        # A server that cannot keep up also delays the sender.
        late = not rejected and all(window.limited for window in windows)
        return LIMITED if late else SATURATED
    return LIMITED if any(window.limited for window in windows) else STABLE


def keeps_up(offered: float, achieved: float, rejected: float) -> bool:
    """Whether a server answers what an open loop offers: rates a second, and the rejected share."""
    return rejected <= _REJECTED and achieved >= _KEPT_UP * offered


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
