"""Live traffic as callers see it: how much, how slow, answered by which version, second by second.

It is what views of a running server are drawn from. A request costs it two additions and one
binary search; everything else is done when somebody looks. Latency counts from when the server
accepted a request, a wait for a version included: what a caller waited before that, only a load
generator can know.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from workbench.core.status import Code
from workbench.serving.meters import exponential

BOUNDS_MICROS = exponential(50, 1.1, 150)
"""Upper bounds of what is told apart: a percentile is up to 10 % above the true one."""

SECONDS_KEPT = 900
_DOTS_KEPT = 6000
_DOTS_A_SLOT = 40
_SLOT_MICROS = 100_000


@dataclass(slots=True)
class Slice:
    """The requests that one version (None: no version was found) finished in one second."""

    second: int
    version: int | None
    answered: int = 0
    failed: int = 0
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MICROS) + 1))

    def percentile_micros(self, share: float) -> float | None:
        """An upper bound of the latency that `share` (of 1) of the answered requests kept."""
        wanted = share * self.answered
        below = 0
        for bound, count in zip(BOUNDS_MICROS, self.counts, strict=False):
            below += count
            if count and below >= wanted:
                return bound
        return None

    def to_json(self) -> list[Any]:
        """Second, version, answered, failed, p50 and p99 in microseconds."""
        return [
            self.second,
            self.version,
            self.answered,
            self.failed,
            self.percentile_micros(0.5),
            self.percentile_micros(0.99),
        ]


class Traffic:
    """The traffic of one model; times are those of the monotonic clock, in microseconds.

    Of answered requests as many are kept one by one as a picture can show (a *dot*, with the
    number of requests that it stands for), of failed ones as many as there is room for.
    """

    def __init__(self) -> None:
        self._slices: deque[Slice] = deque(maxlen=SECONDS_KEPT)
        self._now: dict[int | None, Slice] = {}
        self._second = -1
        self._dots: deque[tuple[int, int, int | None, int, int]] = deque(maxlen=_DOTS_KEPT)
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
                self._dots.append((now, micros, version, 0, self._stride))
        else:
            slice_.failed += 1
            self._dots.append((now, micros, version, int(code), 1))

    def seconds(self, since: float) -> list[list[Any]]:
        """What happened in each second that ended after `since` (monotonic seconds); the present
        one as far as it has come."""
        return [s.to_json() for s in _newest(self._slices, lambda s: s.second + 1 > since)]

    def dots(self, since: float) -> list[list[Any]]:
        """Single requests finished after `since`: when (seconds), how long (microseconds), by
        which version, its code (0: answered), and how many it stands for."""
        micros = since * 1e6
        return [[d[0] / 1e6, *d[1:]] for d in _newest(self._dots, lambda d: d[0] > micros)]


def _newest(items: deque[Any], wanted: Any) -> list[Any]:
    """The last items that are `wanted`, oldest first; looks at no more than these and one."""

    def back() -> Iterator[Any]:
        for item in reversed(items):
            if not wanted(item):
                return
            yield item

    return list(back())[::-1]
