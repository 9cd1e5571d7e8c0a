"""How long a batch occupies its executor: the model that a calibration fills in.

A batch of 64 rows takes little longer than one row (which is why batching pays), two batches at
once slow each other down where they share cores, and after a pause caches are cold and threads
asleep. So a whole distribution is kept for each measured number of rows and of batches in flight,
and interpolated in between. The event loop's time (`loop_costs`) is kept separately, because the
loop handles requests one after another whatever the executors do. Delays by the machine itself are
kept apart (`hiccups`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.experiments.simulator.hiccups import Hiccups, uninterrupted

LEVELS = 100
"""Quantiles that are kept of each measured distribution."""
_LOOP = (
    "arrival_micros",
    "answer_micros",
    "start_micros",
    "start_request_micros",
    "end_micros",
    "wake_cost_micros",
)
_AT_ONCE = 0.5
"""A change that all sizes have in common is the machine's; so much of it is taken over at once."""
FOLLOWING = -1
"""In place of the batches in flight: alone, beginning while the last answers are sent."""


@dataclass(frozen=True, eq=False)
class ServiceTime:
    """The time for which a batch holds its slot, in microseconds.

    Attributes:
        rows: shape (s,), the measured numbers of rows, increasing from 1.
        micros: shape (c, s, q), the quantiles at levels (i + 1/2) / q of the time, for each
            number of rows and for 1 ... c batches in flight (itself included).
        rested_micros: shape (s, q), the same for a batch alone after a pause; None: as without
            one.
        following_micros: shape (s, q), the same for a batch alone that begins while the answers of
            the last one are sent; None: as in `micros`.
        arrival_micros, answer_micros: the event loop's time to accept a request, and to answer it.
        start_micros, start_request_micros: its time to start a batch, and more of it for each
            request. This time is a part of `micros`.
        end_micros: its time for a batch that has come back, besides its answers.
        wake_micros: shape (w,), quantiles of how late a sleeping event loop begins with a request.
        wake_cost_micros: the event loop's time for each time that an arrival or a timeout wakes it,
            besides that for the request.
        loop_slowing: shape (c, s), for each number of batches in flight and of rows, what the
            loop's times are multiplied by, because executors want its processor, and large batches
            its caches; None: by 1.
        loop_spread: the standard deviation of the logarithm of the loop's times, which vary because
            other threads of its process want to run too.
        hiccups: delays of each processor.
        processors: of the machine: one for the event loop, the others for the executors; 0: enough
            for all.
    """

    rows: NDArray[np.int64]
    micros: NDArray[np.float64]
    arrival_micros: float = 0.0
    answer_micros: float = 0.0
    wake_micros: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    hiccups: Hiccups = field(default_factory=Hiccups)
    rested_micros: NDArray[np.float64] | None = None
    start_micros: float = 0.0
    start_request_micros: float = 0.0
    end_micros: float = 0.0
    wake_cost_micros: float = 0.0
    following_micros: NDArray[np.float64] | None = None
    processors: int = 0
    loop_slowing: NDArray[np.float64] | None = None
    loop_spread: float = 0.0
    _tables: dict[int, list[list[list[int]]]] = field(init=False, default_factory=dict, repr=False)
    _slowing: dict[int, list[list[float]]] = field(init=False, default_factory=dict, repr=False)
    _factors: dict[int, list[list[float]]] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.micros.ndim != 3 or self.micros.shape[1] != len(self.rows):
            raise ValueError(
                f"micros must have shape (in flight, {len(self.rows)}, quantiles); has "
                f"{self.micros.shape}"
            )
        if len(self.rows) == 0 or self.rows[0] < 1 or (np.diff(self.rows) <= 0).any():
            raise ValueError(f"rows must increase from 1; were {self.rows.tolist()}")

    @classmethod
    def linear(cls, base_micros: float, row_micros: float = 0.0) -> ServiceTime:
        """Always `base + row * rows`: the model of queueing theory for batch service."""
        rows = np.array([1, 2])
        return cls(rows, (base_micros + row_micros * rows)[None, :, None])

    @classmethod
    def exponential(cls, mean_micros: float, levels: int = 2000) -> ServiceTime:
        """Exponential with this mean, whatever the rows: the M in M/M/1."""
        at = (np.arange(levels) + 0.5) / levels
        quantiles = -np.log1p(-at)
        return cls(np.array([1]), (mean_micros * quantiles / quantiles.mean())[None, None, :])

    @classmethod
    def from_samples(
        cls,
        samples: Mapping[tuple[int, int], ArrayLike],
        *,
        arrival_micros: float = 0.0,
        answer_micros: float = 0.0,
        wake_micros: ArrayLike = (0.0,),
        hiccups: Hiccups | None = None,
    ) -> ServiceTime:
        """From measured times by (batches in flight, rows), in microseconds; 0 in flight means
        alone after a pause.

        Each number in flight must have been measured for the same numbers of rows; one without
        measurements is interpolated between its neighbours. With `hiccups`, interrupted runs
        are left out, because hiccups are added separately.

        Raises:
            ValueError: nothing was measured, or not for all pairs.
        """
        flights = sorted({flight for flight, _ in samples})
        rows = sorted({rows for _, rows in samples})
        if not rows or len(samples) != len(flights) * len(rows):
            raise ValueError("Measure every number of rows for every number of batches in flight")
        at = (np.arange(LEVELS) + 0.5) / LEVELS
        own = (lambda times: np.asarray(times, float)) if hiccups is None else uninterrupted
        measured = np.array([[np.quantile(own(samples[f, r]), at) for r in rows] for f in flights])
        rested = None
        if flights[0] == 0 and len(flights) > 1:
            rested, measured, flights = measured[0], measured[1:], flights[1:]
        every = np.arange(1, max(flights[-1], 1) + 1)
        right = np.clip(np.searchsorted(flights, every), 0, len(flights) - 1)
        left = np.maximum(right - 1, 0)
        known = np.array(flights, float)
        gap = np.maximum(known[right] - known[left], 1.0)
        share = np.clip((every - known[left]) / gap, 0.0, 1.0)[:, None, None]
        between = measured[left] + (measured[right] - measured[left]) * share
        wake = np.quantile(np.asarray(wake_micros, float), at)
        return cls(
            np.array(rows),
            between,
            arrival_micros,
            answer_micros,
            wake,
            hiccups or Hiccups(),
            rested,
        )

    @property
    def in_flight(self) -> int:
        """The most batches in flight that the model distinguishes."""
        return len(self.micros)

    def quantiles(self, rows: ArrayLike, in_flight: int = 1) -> NDArray[np.float64]:
        """Shape (n, q): the distribution for each of n numbers of rows, extrapolated linearly
        beyond the largest measured one. 0 in flight means alone after a pause, and `FOLLOWING`
        alone while the last answers are sent."""
        wanted = np.atleast_1d(np.asarray(rows, float))
        known = self.micros[max(min(in_flight, self.in_flight), 1) - 1]
        if in_flight == 0 and self.rested_micros is not None:
            known = self.rested_micros
        if in_flight == FOLLOWING and self.following_micros is not None:
            known = self.following_micros
        if len(self.rows) == 1:
            return np.repeat(known, len(wanted), axis=0)
        right = np.clip(np.searchsorted(self.rows, wanted), 1, len(self.rows) - 1)
        share = (wanted - self.rows[right - 1]) / (self.rows[right] - self.rows[right - 1])
        found: NDArray[np.float64] = (
            known[right - 1] + (known[right] - known[right - 1]) * share[:, None]
        )
        return found

    def median(self, rows: int, in_flight: int = 1) -> float:
        """Microseconds."""
        return float(np.median(self.quantiles(rows, in_flight)))

    def mean(self, rows: int, in_flight: int = 1) -> float:
        """Microseconds."""
        return float(self.quantiles(rows, in_flight).mean())

    def capacity(self, rows: int, slots: int, requests: int | None = None) -> float:
        """Rows a second of `slots` executors that always run batches of `rows` rows, each made of
        `requests` requests (by default one a row); the event loop is a limit too."""
        flight = FOLLOWING if slots == 1 else slots
        executors = slots * rows / self.mean(rows, flight) * 1e6
        slowing = self.loop_factors(rows)[min(slots, self.in_flight)][rows]
        loop = self.loop_micros(requests or rows) * slowing
        return min(executors, rows * 1e6 / loop) if loop else executors

    def loop_micros(self, requests: int) -> float:
        """The event loop's time for a batch of so many requests, in microseconds."""
        each = self.arrival_micros + self.start_request_micros + self.answer_micros
        return self.start_micros + self.end_micros + each * requests

    def scaled(self, factor: float) -> ServiceTime:
        """The same with the run times and the loop's times multiplied by `factor`."""
        rested, following = self.rested_micros, self.following_micros
        return replace(
            self,
            micros=self.micros * factor,
            rested_micros=None if rested is None else rested * factor,
            following_micros=None if following is None else following * factor,
            **{name: getattr(self, name) * factor for name in _LOOP},
        )

    def refined(self, new: ServiceTime, weight: float) -> ServiceTime:
        """The mean of both, measured for the same numbers of rows and in flight; the new one counts
        `weight`, from 0 to 1. A machine is slower by a factor, so run times have a geometric mean;
        the loop's costs, which may be 0, have an arithmetic one. How much slower the machine has
        become in between does not wait for several calibrations to show it."""
        lately = np.exp(_AT_ONCE * (1 - weight) * self._slower_in(new))

        def mean(old: Any, now: Any) -> Any:
            logarithms = [np.log(np.maximum(each, 1e-3)) for each in (old, now)]
            return np.exp(logarithms[0] + (logarithms[1] - logarithms[0]) * weight)

        def known(old: Any, now: Any) -> Any:
            return now if old is None else old if now is None else mean(old, now)

        def times(old: Any, now: Any) -> Any:
            found = known(old, now)
            return None if found is None else found * lately[:, None]

        def sum_of(name: str) -> Any:
            old, now = getattr(self, name), getattr(new, name)
            return old + (now - old) * weight

        loop: dict[str, Any] = {name: sum_of(name) for name in _LOOP}
        return replace(
            new,
            micros=times(self.micros, new.micros),
            rested_micros=times(self.rested_micros, new.rested_micros),
            following_micros=times(self.following_micros, new.following_micros),
            wake_micros=sum_of("wake_micros"),
            hiccups=self.hiccups.refined(new.hiccups, weight),
            loop_slowing=known(self.loop_slowing, new.loop_slowing),
            **loop,
        )

    def _slower_in(self, new: ServiceTime) -> NDArray[np.float64]:
        """Shape (s,), the logarithm of how much longer batches take in `new`, as far as it grows or
        shrinks evenly with the logarithm of the rows. What single sizes add to that is chance."""
        before, now = (np.maximum(each.micros.mean(axis=2), 1e-3) for each in (self, new))
        longer = np.log(now / before).mean(axis=0)
        sizes = np.log(self.rows)
        sizes -= sizes.mean()
        slope = float(longer @ sizes) / max(float(sizes @ sizes), 1e-9)
        even: NDArray[np.float64] = longer.mean() + slope * sizes
        return even

    def table(self, limit: int) -> list[list[list[int]]]:
        """Whole microseconds by [in flight][rows][level], for 0 to `limit` rows; the last entry is
        that of `FOLLOWING`."""
        if limit not in self._tables:
            rows = np.maximum(np.arange(limit + 1), 1)
            self._tables[limit] = [
                np.rint(self.quantiles(rows, flight)).astype(int).tolist()
                for flight in (*range(self.in_flight + 1), FOLLOWING)
            ]
        return self._tables[limit]

    def slowing(self, limit: int) -> list[list[float]]:
        """By [in flight][rows], for 0 to `limit` rows: how much longer a batch takes than with one
        batch less in flight (1 without any other)."""
        if limit not in self._slowing:
            rows = np.maximum(np.arange(limit + 1), 1)
            means = [self.quantiles(rows, f).mean(axis=1) for f in range(1, self.in_flight + 1)]
            ones = np.ones(limit + 1)
            ratios = [now / np.maximum(less, 1e-9) for less, now in pairwise(means)]
            self._slowing[limit] = [each.tolist() for each in (ones, ones, *ratios)]
        return self._slowing[limit]

    def loop_factors(self, limit: int) -> list[list[float]]:
        """By [in flight][rows], for 0 to `limit` rows: what the loop's times are multiplied by."""
        if limit not in self._factors:
            rows = np.arange(limit + 1)
            known = self.loop_slowing
            if known is None:
                known = np.ones((self.in_flight, len(self.rows)))
            found = [np.interp(rows, self.rows, line).tolist() for line in known]
            self._factors[limit] = [found[0], *found]
        return self._factors[limit]

    def to_json(self) -> dict[str, Any]:
        """Plain data; times to a tenth of a microsecond."""
        return {
            "rows": self.rows.tolist(),
            "micros": np.round(self.micros, 1).tolist(),
            "arrival_micros": self.arrival_micros,
            "answer_micros": self.answer_micros,
            "wake_micros": np.round(self.wake_micros, 1).tolist(),
            "hiccups": self.hiccups.to_json(),
            "rested_micros": None
            if self.rested_micros is None
            else np.round(self.rested_micros, 1).tolist(),
            "start_micros": self.start_micros,
            "start_request_micros": self.start_request_micros,
            "end_micros": self.end_micros,
            "wake_cost_micros": self.wake_cost_micros,
            "following_micros": None
            if self.following_micros is None
            else np.round(self.following_micros, 1).tolist(),
            "processors": self.processors,
            "loop_slowing": None
            if self.loop_slowing is None
            else np.round(self.loop_slowing, 3).tolist(),
            "loop_spread": self.loop_spread,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ServiceTime:
        """The service time that `to_json` wrote, also in earlier versions."""
        values = dict(data)
        rows, micros = values.pop("rows"), values.pop("micros")
        # Earlier versions kept how requests came in, and hiccups of executors.
        for name in ("where", "interruptions", "crowded"):
            values.pop(name, None)
        values["wake_micros"] = np.array(values["wake_micros"], float)
        # The first versions measured neither hiccups nor pauses.
        values["hiccups"] = Hiccups.from_json(values.get("hiccups", {}))
        for name in ("rested_micros", "following_micros", "loop_slowing"):
            known = values.get(name)
            values[name] = None if known is None else np.array(known, float)
        return cls(np.array(rows), np.array(micros, float), **values)


def sizes_up_to(limit: int) -> Sequence[int]:
    """1, 2, 4 ... and `limit` itself: the batch sizes that tuning and the explorer try."""
    powers = [1 << power for power in range(limit.bit_length()) if 1 << power < limit]
    return [*powers, limit]
