"""How often the machine itself delays processes, and for how long.

A virtual machine waits for its host, an interrupt takes a CPU, or another program runs: for some
milliseconds a processor does nothing for the processes that are ready on it. No setting of a server
changes that, but it often dominates a 99th percentile, so a prediction must include it. It is
measured as in Gil Tene's jHiccup: a thread sleeps for a moment, again and again, and notes how late
it wakes up. Here that thread is the server's own event loop (`calibrate`). Batches show hiccups
too: all that are in flight on a processor take longer at the same time.
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
_LONGEST_OVERLOOKED = 3000.0
"""Batches that take so long that they would hide longer hiccups say nothing about them."""
_DRAWN_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Hiccups:
    """The machine's hiccups.

    Attributes:
        per_second: how often a processor is delayed.
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

    @classmethod
    def from_late(cls, late_micros: ArrayLike, seconds: float) -> Hiccups:
        """Hiccups from how late a thread woke up each time within `seconds`; delays up to
        `SHORTEST_MICROS` are not hiccups."""
        late = np.asarray(late_micros, float)
        late = late[late > SHORTEST_MICROS]
        count = len(late)
        if count > _DURATIONS_KEPT:
            late = _quantiles(late, _DURATIONS_KEPT)
        return cls(count / seconds, late)

    def refined(self, new: Hiccups, weight: float) -> Hiccups:
        """The mean of both; the new ones count `weight`, from 0 to 1. Of the delays, each has as
        many as it had hiccups."""
        per_second = self.per_second + (new.per_second - self.per_second) * weight
        share = weight * new.per_second / per_second if per_second else 0.0
        count = round(_DURATIONS_KEPT * share)
        kept = [_quantiles(self.micros, _DURATIONS_KEPT - count), _quantiles(new.micros, count)]
        return Hiccups(per_second, np.concatenate(kept))

    @classmethod
    def pooled(cls, met: Iterable[Met]) -> Hiccups:
        """Hiccups from several measurements, at least one of which took some time."""
        known = list(met)
        return cls.from_late(
            np.concatenate([each.late_micros for each in known]),
            sum(each.processor_seconds for each in known),
        )


@dataclass(frozen=True, eq=False)
class Met:
    """Hiccups met in a measurement.

    Attributes:
        late_micros: shape (h,), each once.
        processor_seconds: how long it took, times the processors whose hiccups it sees.
    """

    late_micros: NDArray[np.float64]
    processor_seconds: float

    @classmethod
    def by_batches(
        cls,
        taken_at: NDArray[np.int64],
        slot_micros: NDArray[np.int64],
        seconds: float,
        processors: int,
    ) -> Met:
        """Hiccups met by batches of one kind, by when each got its slot and how long it held it
        (microseconds). Batches that overlap met the same one."""
        if not len(slot_micros) or _longest(slot_micros) > _LONGEST_OVERLOOKED:
            return cls(np.zeros(0), 0.0)
        longer = np.flatnonzero(slot_micros > _longest(slot_micros))
        longer = longer[np.argsort(taken_at[longer])]
        usual, late, until = float(np.median(slot_micros)), [], -np.inf
        for begun, held in zip(taken_at[longer], slot_micros[longer], strict=True):
            if begun >= until:
                late.append(0.0)
            late[-1] = max(late[-1], held - usual)
            until = max(until, begun + held)
        return cls(np.array(late), seconds * processors)


class Timeline:
    """The times at which one processor is delayed, drawn at random as far ahead as needed.

    Attributes:
        calm_until: work that ends before this time meets no hiccup, if no query begins before an
            earlier one. Until then `end_of` need not be called.
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
        self.calm_until = self._starts[at]
        while self._starts[at] <= end:
            end += self._ends[at] - max(self._starts[at], start)
            at += 1
            if at == len(self._starts):
                self._draw()
        return end

    def _draw(self) -> None:
        gaps = self._random.exponential(1e6 / self._hiccups.per_second, _DRAWN_AT_ONCE)
        lengths = self._random.choice(self._hiccups.micros, _DRAWN_AT_ONCE)
        at = self._ends[-1] if self._ends else 0
        for gap, length in zip(gaps.tolist(), lengths.tolist(), strict=True):
            self._starts.append(at + round(gap))
            at = self._starts[-1] + max(1, round(length))
            self._ends.append(at)


def uninterrupted(micros: ArrayLike) -> NDArray[np.float64]:
    """The times of the runs without a hiccup.

    Runs of one kind take similar times, so a run was interrupted if it took longer than twice the
    median plus a hiccup.
    """
    times = np.asarray(micros, float)
    kept: NDArray[np.float64] = times[times <= _longest(times)]
    return kept


def _longest(times: NDArray[Any]) -> float:
    return float(2 * np.median(times) + SHORTEST_MICROS)


def _quantiles(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """So many values that are distributed like these; none if there are none."""
    if not len(values):
        return values
    found: NDArray[np.float64] = np.quantile(values, (np.arange(count) + 0.5) / max(count, 1))
    return found
