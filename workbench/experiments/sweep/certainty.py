"""How certain a measured point is, and how much longer an answer takes.

A point has an answer when the interval of its 99th percentile is narrow enough, or lies on one side
of the wanted latency. Until then, the same measurement is extrapolated: an interval of k times as
many values like these shows how many seconds are lacking.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.experiments.load.measure import Window
from workbench.load.intervals import Interval, group_size, quantile_interval

CONFIDENCE = 0.95
LEVELS = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
MOST_TIMES_LONGER = 64.0
"""An answer that takes longer than this many times the load so far is not predicted."""
_USUAL = 0.95


@dataclass(frozen=True)
class Goal:
    """When a point has its answer.

    Attributes:
        precision: the widest interval of the 99th percentile, as a share of it; for a point without
            a wanted latency.
        p99_ms: the wanted latency, on one side of which the interval must lie; None: there is none.
    """

    precision: float = 0.2
    p99_ms: float | None = None

    def is_reached(self, p99: Interval) -> bool:
        """Whether this interval (seconds) is the answer."""
        if self.p99_ms is None:
            return p99.relative_width <= self.precision
        return p99.high <= self.p99_ms / 1e3 or p99.low > self.p99_ms / 1e3

    def is_answer(self, p99: Interval) -> bool:
        """Whether it says something: it may be wider than wanted where there is no latency to
        meet."""
        return p99.bounded if self.p99_ms is None else self.is_reached(p99)


def seconds_lacking(windows: Sequence[Window], goal: Goal) -> float:
    """The seconds of load after which the 99th percentile is probably an answer, besides those
    measured; 0 if it is one, and infinite if it would take more than `MOST_TIMES_LONGER` times as
    long."""
    seconds = sum(window.seconds for window in windows)
    if not any(len(window.latency) for window in windows):
        return math.inf
    if goal.is_answer(_p99(windows)):
        return 0.0
    low, high = 1.0, MOST_TIMES_LONGER
    if not goal.is_answer(_p99(windows, high)):
        return math.inf
    while high / low > 1.1:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if goal.is_answer(_p99(windows, middle)) else (middle, high)
    return (high - 1) * seconds


def _p99(windows: Sequence[Window], repeated: float = 1.0) -> Interval:
    return latency_intervals(windows, "p99", repeated=repeated)["p99"]


def latency_intervals(
    windows: Sequence[Window], *names: str, repeated: float = 1.0
) -> dict[str, Interval]:
    """The intervals of percentiles in seconds, by names of `LEVELS`; empty where nothing was
    answered. `repeated`: as if everything had been measured this many times."""
    latency = np.concatenate([window.latency for window in windows])
    if not len(latency):
        return {}
    members, largest = clusters(windows)
    return {
        name: quantile_interval(
            latency,
            LEVELS[name],
            confidence=CONFIDENCE,
            batches=members,
            max_batch=largest,
            repeated=repeated,
        )
        for name in names
    }


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
