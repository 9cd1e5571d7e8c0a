"""How often the machine itself delays processes, and for how long.

A virtual machine waits for its host, an interrupt takes a CPU, or another program runs: for some
milliseconds a process that is ready does not run. No setting of a server changes that, but it often
dominates a 99th percentile, so a prediction must include it. It is measured as in Gil Tene's
jHiccup: a thread sleeps for a moment, again and again, and notes how late it wakes up. Here that
thread is the server's own event loop (`calibrate`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

SHORTEST_MICROS = 1000.0
"""Shorter delays are ordinary for threads and timers, and part of every run time."""
NEVER = 1 << 62
_DURATIONS_KEPT = 100
_DRAWN_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Hiccups:
    """The machine's hiccups.

    Attributes:
        per_second: how often a process that is ready is delayed.
        micros: shape (h,), the delays in microseconds.
    """

    per_second: float = 0.0
    micros: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0), repr=False)

    def to_json(self) -> dict[str, Any]:
        """Plain data; delays to a tenth of a microsecond."""
        return {"per_second": self.per_second, "micros": np.round(self.micros, 1).tolist()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Hiccups:
        """The hiccups that `to_json` wrote; none for an empty dictionary."""
        return cls(data.get("per_second", 0.0), np.array(data.get("micros", []), float))

    def times(self, factor: float) -> Hiccups:
        """As long, and `factor` times as often."""
        return Hiccups(self.per_second * factor, self.micros)

    @property
    def share(self) -> float:
        """The time that they take, for each second without."""
        return self.per_second * float(self.micros.mean()) / 1e6 if len(self.micros) else 0.0

    @classmethod
    def from_runs(cls, runs: Iterable[ArrayLike]) -> Hiccups:
        """Hiccups of executors at work, from how long batches held their slots in several runs,
        each of batches of one kind (microseconds); `per_second` is of that time without them."""
        delays, seconds = [np.zeros(0)], 0.0
        for run in runs:
            times = np.asarray(run, float)
            delays.append(delays_of(times))
            seconds += float(times.sum() - delays[-1].sum()) / 1e6
        found = np.concatenate(delays)
        return cls.from_late(found, seconds) if seconds else cls()

    @classmethod
    def from_late(cls, late_micros: ArrayLike, seconds: float) -> Hiccups:
        """Hiccups from how late a thread woke up each time within `seconds`; delays up to
        `SHORTEST_MICROS` are not hiccups."""
        late = np.asarray(late_micros, float)
        late = late[late > SHORTEST_MICROS]
        count = len(late)
        if count > _DURATIONS_KEPT:
            late = np.quantile(late, (np.arange(_DURATIONS_KEPT) + 0.5) / _DURATIONS_KEPT)
        return cls(count / seconds, late)


class Timeline:
    """The times at which one process is delayed, drawn at random as far ahead as needed.

    Attributes:
        calm_until: no hiccup begins before this time, if queries never go back in time. Until then
            `end_of` need not be called.
    """

    def __init__(self, hiccups: Hiccups, random: np.random.Generator) -> None:
        self._hiccups = hiccups
        self._random = random
        self._starts: list[int] = []
        self._ends: list[int] = []
        any_at_all = hiccups.per_second > 0 and len(hiccups.micros)
        self.calm_until = 0 if any_at_all else NEVER

    def end_of(self, start: int, work: int) -> int:
        """When `work` microseconds that begin at `start` are done; with no work, when the
        process could begin."""
        if self.calm_until == NEVER:
            return start + work
        while not self._ends or self._ends[-1] <= start + work:
            self._draw()
        at = bisect_right(self._ends, start)
        end = start + work
        while self._starts[at] <= end:
            end += self._ends[at] - max(self._starts[at], start)
            at += 1
            if at == len(self._starts):
                self._draw()
        self.calm_until = self._starts[at]
        return end

    def _draw(self) -> None:
        gaps = self._random.exponential(1e6 / self._hiccups.per_second, _DRAWN_AT_ONCE)
        lengths = self._random.choice(self._hiccups.micros, _DRAWN_AT_ONCE)
        at = self._ends[-1] if self._ends else 0
        for gap, length in zip(gaps.tolist(), lengths.tolist(), strict=True):
            self._starts.append(at + round(gap))
            at = self._starts[-1] + max(1, round(length))
            self._ends.append(at)


class Interruptions:
    """Delays of work, drawn at random: they come after so much work, and not after so much time."""

    def __init__(self, hiccups: Hiccups, random: np.random.Generator) -> None:
        self._hiccups = hiccups
        self._random = random
        any_at_all = hiccups.per_second > 0 and len(hiccups.micros)
        self._left = self._gap() if any_at_all else float(NEVER)

    def during(self, work: int) -> int:
        """The delays that fall into the next `work` microseconds."""
        self._left -= work
        late = 0
        while self._left < 0:
            late += round(float(self._random.choice(self._hiccups.micros)))
            self._left += self._gap()
        return late

    def _gap(self) -> float:
        return float(self._random.exponential(1e6 / self._hiccups.per_second))


def uninterrupted(micros: ArrayLike) -> NDArray[np.float64]:
    """The times of the runs without a hiccup.

    Runs of one kind take similar times, so a run was interrupted if it took longer than twice the
    median plus a hiccup.
    """
    times = np.asarray(micros, float)
    kept: NDArray[np.float64] = times[times <= _longest(times)]
    return kept


def delays_of(micros: ArrayLike) -> NDArray[np.float64]:
    """By how much the runs with a hiccup were longer than the median."""
    times = np.asarray(micros, float)
    late: NDArray[np.float64] = times[times > _longest(times)] - np.median(times)
    return late


def _longest(times: NDArray[np.float64]) -> float:
    return float(2 * np.median(times) + SHORTEST_MICROS)
