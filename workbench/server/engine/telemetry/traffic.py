"""Live traffic of a model: how many requests, how slow, answered by which version, each second.

Views of a running server are drawn from it. A request costs two additions and one binary search;
everything else is done when a view asks. Latency counts from when the server accepted a request,
and includes a wait for a version. How long the caller waited before that, only a load generator
can know.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from workbench.core.status import Code
from workbench.server.engine.telemetry.meters import exponential

BOUNDS_MICROS = exponential(50, 1.1, 150)
"""Upper bounds of the histogram: a percentile is at most 10 % above the true one."""

SECONDS_KEPT = 900
_DOTS_KEPT = 4000
_DOTS_A_SLOT = 40
_SLOT_MICROS = 100_000


_NONE_YET = bytes(4 * (len(BOUNDS_MICROS) + 1))


@dataclass(slots=True)
class Slice:
    """The requests that one version (None: no version was found) finished in one second."""

    second: int
    version: int | None
    answered: int = 0
    failed: int = 0
    counts: array[int] = field(default_factory=lambda: array("I", _NONE_YET))

    def percentile_micros(self, share: float) -> float | None:
        """An upper bound of the latency that `share` (of 1) of the answered requests kept."""
        wanted = share * self.answered
        below = 0
        for bound, count in zip(BOUNDS_MICROS, self.counts, strict=False):
            below += count
            if count and below >= wanted:
                return bound
        return None

    def answered_within(self, micros: float) -> int:
        """How many requests were answered within `micros`; some that took up to 10 % less are
        not counted."""
        within = bisect_right(BOUNDS_MICROS, micros)
        return sum(self.counts[:within])

    def to_json(self, target_micros: float = 0) -> list[Any]:
        """Second, version, answered, failed, p50 and p99 in microseconds; with a target, the
        number that was answered within it."""
        row = [
            self.second,
            self.version,
            self.answered,
            self.failed,
            self.percentile_micros(0.5),
            self.percentile_micros(0.99),
        ]
        return [*row, self.answered_within(target_micros)] if target_micros else row


class Traffic:
    """The traffic of one model; times are those of the monotonic clock, in microseconds.

    Single requests are kept as *dots*: of the answered ones as many as a picture can show, each
    with the number of requests that it stands for; of the failed ones as many as there is room for.
    """

    def __init__(self) -> None:
        self._slices: deque[Slice] = deque(maxlen=SECONDS_KEPT)
        self._now: dict[int | None, Slice] = {}
        self._second = -1
        self._dots = _Dots()
        self._slot = -1
        self._in_slot = 0
        self._stride = 1

    def add(self, now: int, version: int | None, code: Code, micros: int) -> None:
        """Count a request that was finished at `now` and took `micros`."""
        second = now // 1_000_000
        if second != self._second:
            self._second = second
            self._now = {}
        slice_ = self._now.get(version)
        if slice_ is None:
            slice_ = self._now[version] = Slice(second, version)
            self._slices.append(slice_)
        slot = now // _SLOT_MICROS
        if slot != self._slot:
            # As many dots as in the slot before, had it been drawn as densely as can be.
            self._stride = max(1, self._in_slot // _DOTS_A_SLOT) if slot == self._slot + 1 else 1
            self._slot = slot
            self._in_slot = 0
        self._in_slot += 1
        if code is Code.OK:
            slice_.answered += 1
            slice_.counts[bisect_left(BOUNDS_MICROS, micros)] += 1
            if self._in_slot % self._stride == 0:
                self._dots.add(now, micros, version, 0, self._stride)
        else:
            slice_.failed += 1
            self._dots.add(now, micros, version, int(code), 1)

    def seconds(self, since: float, target_micros: float = 0) -> list[list[Any]]:
        """What happened in each second that ended after `since` (monotonic seconds), as
        `Slice.to_json` has it; the current one so far."""
        newest = takewhile(lambda s: s.second + 1 > since, reversed(self._slices))
        return [s.to_json(target_micros) for s in newest][::-1]

    def dots(self, since: float) -> list[list[Any]]:
        """Single requests finished after `since`: when (seconds), how long (microseconds), by
        which version, its code (0: answered), and how many it stands for."""
        return self._dots.since(round(since * 1e6))


class _Dots:
    """The last single requests, in a ring of plain numbers whose size never changes."""

    def __init__(self) -> None:
        self._ring = array("q", bytes(8 * 5 * _DOTS_KEPT))
        self._count = 0

    def add(self, now: int, micros: int, version: int | None, code: int, weight: int) -> None:
        at = 5 * (self._count % _DOTS_KEPT)
        known = -1 if version is None else version
        self._ring[at : at + 5] = array("q", (now, micros, known, code, weight))
        self._count += 1

    def since(self, now: int) -> list[list[Any]]:
        found: list[list[Any]] = []
        for i in range(self._count - 1, max(-1, self._count - 1 - _DOTS_KEPT), -1):
            at = 5 * (i % _DOTS_KEPT)
            when, micros, version, code, weight = self._ring[at : at + 5]
            if when <= now:
                break
            found.append([when / 1e6, micros, None if version < 0 else version, code, weight])
        return found[::-1]
