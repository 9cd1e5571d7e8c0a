"""When requests are sent: arrival schedules, drawn before the run and the same for a seed.

In an *open loop* the times at which requests arrive do not depend on how fast they are answered, as
with real users. So a schedule is a plain array of times, and latency counts from these intended
times even if sending is late. How irregular arrivals are matters as much as how many there are. The
kinds differ in that, at the same mean rate:

* **constant**: one every `1 / rate` seconds, the mildest load;
* **poisson**: independent users, with exponential gaps (MLPerf's *Server* scenario);
* **bursty**: a Poisson process that is switched on and off at random (an interrupted Poisson
  process; Kuczura 1973): the same requests come in a fraction of the time;
* **ramp**: a Poisson process whose rate grows linearly, to find where a server gives in;
* **replay**: the pattern of recorded requests, at their own rate, faster or slower.

Except under a ramp, a longer run begins with the arrivals of a shorter one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from workbench.load.packed_numbers import pack_numbers, unpack_numbers

Seconds = NDArray[np.float64]
"""Times in seconds from the start of the run, in increasing order."""

Kind = Literal["constant", "poisson", "bursty", "ramp", "replay"]

CHUNK = 4096
"""Random numbers are drawn in chunks of this size, which makes a run a prefix of a longer one."""


def constant(rate: float, *, duration: float | None = None, count: int | None = None) -> Seconds:
    """Arrivals at 0, 1/rate, 2/rate, ...: all before `duration` seconds, or `count` of them.

    Raises:
        ValueError: the rate is not positive, or not exactly one of the two limits is given.
    """
    _check(rate, duration, count)
    if duration is not None:
        # Rounding must not add a last arrival at the very end, nor lose one before it.
        count = int(np.ceil(round(rate * duration, 6)))
    assert count is not None
    return np.arange(count, dtype=np.float64) / rate


def poisson(
    rate: float, *, seed: int, duration: float | None = None, count: int | None = None
) -> Seconds:
    """Arrivals with independent exponential gaps of mean `1 / rate` seconds.

    Raises:
        ValueError: as `constant`.
    """
    _check(rate, duration, count)
    random = np.random.default_rng(seed)
    return _cut(lambda: random.standard_exponential(CHUNK) / rate, duration, count)


def bursty(
    rate: float,
    *,
    seed: int,
    burst: float = 4.0,
    cycle: float = 1.0,
    duration: float | None = None,
    count: int | None = None,
) -> Seconds:
    """A Poisson process of `burst` times the mean `rate` that is on for `1 / burst` of the time.

    On and off periods are exponential; one of each lasts `cycle` seconds on average. The
    process starts in its stationary state, so the mean rate is `rate` from the beginning. A
    run should be many cycles long, or its number of arrivals varies widely between seeds.

    Raises:
        ValueError: as `constant`, and where `burst` is not above 1 or `cycle` not above 0.
    """
    _check(rate, duration, count)
    if not burst > 1 or not cycle > 0:
        raise ValueError(f"burst must be above 1 and cycle above 0; were {burst} and {cycle}")
    mean_on, mean_off = cycle / burst, cycle * (1 - 1 / burst)
    # Separate streams: how many arrivals are drawn must not change when the bursts are.
    arrivals_random, periods_random = (
        np.random.default_rng(each) for each in np.random.SeedSequence(seed).spawn(2)
    )
    starts_on = periods_random.random() < 1 / burst
    first_off = 0.0 if starts_on else periods_random.exponential(mean_off)
    # Time during which the process is on passes as for any Poisson process; the off periods
    # are then put in between. `switch_offs` is on that clock, `pauses` is what lies between.
    on_times = _cut(
        lambda: arrivals_random.standard_exponential(CHUNK) / (rate * burst), duration, count
    )
    longest = float(on_times[-1]) if len(on_times) else 0.0
    periods = np.empty((0, 2))
    while not len(periods) or periods[:, 0].sum() <= longest:
        drawn = periods_random.standard_exponential((CHUNK, 2)) * (mean_on, mean_off)
        periods = np.concatenate([periods, drawn])
    switch_offs, pauses = np.cumsum(periods, axis=0).T
    paused = first_off + np.concatenate([[0.0], pauses])
    times: Seconds = on_times + paused[np.searchsorted(switch_offs, on_times, side="right")]
    return times if duration is None else times[times < duration]


def ramp(rate: float, *, seed: int, duration: float, start_rate: float = 0.0) -> Seconds:
    """A Poisson process whose rate goes from `start_rate` to `rate` within `duration` seconds.

    Raises:
        ValueError: as `constant`, and for a negative `start_rate`.
    """
    _check(rate, duration, None)
    if start_rate < 0:
        raise ValueError(f"start_rate must not be negative; was {start_rate}")
    # With as many arrivals expected by t as L(t) = a t + b t^2, the arrivals are L^-1 of those
    # of a Poisson process of rate 1 (time-rescaling).
    a, b = start_rate, (rate - start_rate) / (2 * duration)
    unit = poisson(1.0, seed=seed, duration=duration * (rate + start_rate) / 2)
    times: Seconds = 2 * unit / (a + np.sqrt(np.maximum(a * a + 4 * b * unit, 0.0)))
    return times[times < duration]


def replay(times: Seconds, period: float, *, rate: float, duration: float | None = None) -> Seconds:
    """The pattern of `times`, recorded within `period` seconds, stretched or compressed to a mean
    of `rate` arrivals a second. A run longer than the pattern begins it again.

    Args:
        duration: by default one pass through the pattern.

    Raises:
        ValueError: as `constant`, and where there are no times, or they are not in order and within
            the period.
    """
    cycle = len(times) / rate if rate > 0 else 0.0
    duration = cycle if duration is None else duration
    _check(rate, duration, None)
    # Schedules keep times to the microsecond.
    if not len(times) or times[0] < 0 or times[-1] > period + 1e-6 or np.any(np.diff(times) < 0):
        raise ValueError("a replay needs recorded times in increasing order, within their period")
    # Rounding must not lose the last arrival of a whole pass, nor add the first of the next.
    passes = round(duration / cycle, 9)
    whole, scaled = int(passes), times * (cycle / period)
    chunks = [scaled + number * cycle for number in range(whole)]
    if passes > whole:
        chunks.append(scaled[scaled < duration - whole * cycle] + whole * cycle)
    return np.concatenate(chunks) if chunks else np.empty(0)


def _check(rate: float, duration: float | None, count: int | None) -> None:
    if not rate > 0 or not np.isfinite(rate):
        raise ValueError(f"rate must be positive; was {rate}")
    if (duration is None) == (count is None):
        raise ValueError("give either a duration or a count")
    if (duration is not None and not 0 <= duration < np.inf) or (count is not None and count < 0):
        raise ValueError(f"a run cannot last {duration if count is None else count}")


def _cut(
    draw_gaps: Callable[[], NDArray[np.float64]], duration: float | None, count: int | None
) -> Seconds:
    """Arrivals with the gaps that are drawn, up to the duration or the count."""
    chunks: list[Seconds] = []
    end, drawn = 0.0, 0
    while end < duration if duration is not None else drawn < (count or 0):
        chunk = end + np.cumsum(draw_gaps())
        chunks.append(chunk)
        end, drawn = float(chunk[-1]), drawn + len(chunk)
    times = np.concatenate(chunks) if chunks else np.empty(0)
    return times[times < duration] if duration is not None else times[:count]


@dataclass(frozen=True, slots=True)
class Schedule:
    """An arrival schedule as data, which a result keeps for repeating the run.

    Attributes:
        kind: see the module.
        rate: mean arrivals a second; for a ramp, at its end.
        duration_s: length of the run in seconds.
        seed: the same seed gives the same arrivals; a constant schedule needs none.
        burst, cycle_s: see `bursty`.
        start_rate: see `ramp`.
        recorded: the gaps between the arrivals of a replay, packed; see `Schedule.replay`.
        period_s: the seconds in which they were recorded.
        order: which of the load's requests each of them sends, packed; empty: all in turn.

    Raises:
        ValueError: an unknown kind, a rate or duration that is not allowed, or a replay without
            recorded times.
    """

    kind: Kind
    rate: float
    duration_s: float
    seed: int = 0
    burst: float = 4.0
    cycle_s: float = 1.0
    start_rate: float = 0.0
    recorded: str = field(default="", repr=False)
    period_s: float = 0.0
    order: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            kinds = ", ".join(get_args(Kind))
            raise ValueError(f"unknown kind of schedule '{self.kind}'; the kinds are {kinds}")
        _check(self.rate, self.duration_s, None)
        if self.kind == "replay" and not (self.recorded and self.period_s > 0):
            raise ValueError(
                "a replay needs the times of recorded requests: pass Traffic instead of 'replay'"
            )

    @classmethod
    def replay(
        cls,
        times: Seconds,
        period_s: float,
        *,
        speed: float = 1.0,
        order: Sequence[int] | NDArray[np.integer[Any]] | None = None,
    ) -> Schedule:
        """One pass through recorded times at `speed` times their rate. Another `rate` or
        `duration_s` can be set with `dataclasses.replace`.

        Args:
            times: of recorded requests, in seconds within `period_s`, in increasing order; they are
                kept to the microsecond.
            order: for each of them, which of the load's requests it sends; by default all in turn.

        Raises:
            ValueError: as `replay`, or a speed that is not positive.
        """
        if not speed > 0 or not np.isfinite(speed):
            raise ValueError(f"speed must be positive; was {speed}")
        micros = np.rint(np.asarray(times, np.float64) * 1e6).astype(np.int64)
        replay(np.asarray(times), period_s, rate=1.0)
        return cls(
            "replay",
            len(micros) / period_s * speed,
            period_s / speed,
            recorded=pack_numbers(np.diff(micros, prepend=0)),
            period_s=period_s,
            order="" if order is None else pack_numbers(np.asarray(order, np.int32)),
        )

    def choices(self, prepared: int) -> Sequence[int]:
        """Which of `prepared` requests, by number, the arrivals send in turn.

        Raises:
            ValueError: a replay names others.
        """
        if not self.order:
            return range(prepared)
        order = unpack_numbers(self.order, np.int32)
        if order.min() < 0 or order.max() >= prepared:
            raise ValueError(
                f"the replay sends request {order.max()}, and there are only {prepared}: make its "
                "payload for the same traffic"
            )
        chosen: list[int] = order.tolist()
        return chosen

    def arrivals(self) -> Seconds:
        """The times of arrival, in seconds from the start."""
        if self.kind == "constant":
            return constant(self.rate, duration=self.duration_s)
        rate, seed, duration = self.rate, self.seed, self.duration_s
        if self.kind == "poisson":
            return poisson(rate, seed=seed, duration=duration)
        if self.kind == "ramp":
            return ramp(rate, seed=seed, duration=duration, start_rate=self.start_rate)
        if self.kind == "replay":
            times = np.cumsum(unpack_numbers(self.recorded, np.int64)) / 1e6
            return replay(times, self.period_s, rate=rate, duration=duration)
        return bursty(rate, seed=seed, burst=self.burst, cycle=self.cycle_s, duration=duration)

    def to_json(self) -> dict[str, Any]:
        """All fields as plain data, for `from_json`; those of a replay only for one."""
        data = asdict(self)
        if self.kind != "replay":
            for name in ("recorded", "period_s", "order"):
                del data[name]
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Schedule:
        """The schedule in `data`; what it leaves out has its default."""
        return cls(**data)
