"""A prediction with intervals: how wrong the simulator may be.

Three things make a prediction wrong: the machine is quicker or slower than when it was calibrated,
it is held up more or less often, and the model simplifies. So the setting is simulated several
times, a little quicker and slower, with and without hiccups, and with other random numbers. The
interval reaches from the lowest to the highest result, and a little further for the
simplifications. It is meant to contain a measurement in nine of ten cases
(`docs/batching-accuracy.md` shows how often it did). The estimate is that of a typical spell: a
few hiccups a second decide the 99th percentile of a whole run, and their number varies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.simulator.hiccups import Hiccups
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.experiments.simulator.simulate import (
    SimulationResult,
    simulate,
    simulate_closed,
    steady_rate,
)
from workbench.load.arrivals import Seconds
from workbench.load.intervals import Interval

CONFIDENCE = 0.9
LEVELS = (50.0, 90.0, 99.0)
_LEAST_DRIFT, _MOST_DRIFT = 0.12, 0.3
_HeldUp = Literal["none", "as met", "more"]
_VARIANTS: tuple[tuple[float, _HeldUp], ...] = (
    (-1.0, "none"),
    (-1.0, "as met"),
    (0.0, "none"),
    (0.0, "as met"),
    (0.0, "more"),
    (1.0, "as met"),
    (1.0, "more"),
)
"""How much slower, in drifts, and with which hiccups."""
_TIMES_MORE, _MORE_PER_SECOND, _LONG_MICROS = 2.0, 2.0, (5000.0, 20_000.0)
"""With more hiccups, there are twice as many and two a second more, and some are as long as this: a
calibration of a few seconds may have met none by chance, and meets long ones rarely."""
_SIMPLIFIED = {"achieved": 0.05, "latency": 0.25}
"""The relative error of the model itself."""
_TURNS = 20
_SEEDS = 2
"""The estimate is the mean of so many simulations with the hiccups that were met."""
_SPELL_SECONDS, _SPELL_REQUESTS = 0.05, 500
_SPELLS, _MOST_REQUESTS = 10, 40_000


@dataclass(frozen=True, repr=False)
class Prediction:
    """What is expected of a setting under a load; each interval is meant to contain the measured
    value with 90 % probability.

    Attributes:
        achieved: answered requests a second.
        latency: by name (``p50``, ``p90``, ``p99``), in seconds; the estimate is `typical`.
    """

    achieved: Interval
    latency: Mapping[str, Interval]

    def __repr__(self) -> str:
        """One sentence, with each interval in brackets."""
        rate = self.achieved
        figures = [f"{rate.estimate:.0f} requests/s ({rate.low:.0f} to {rate.high:.0f})"]
        for name, found in self.latency.items():
            low, middle, high = (1e3 * v for v in (found.low, found.estimate, found.high))
            figures.append(f"{name} {middle:.3g} ms ({low:.3g} to {high:.3g})")
        return f"Predicted: {', '.join(figures)}; in brackets, where 9 of 10 measurements lie."


def predict(
    service: ServiceTime,
    slots: int,
    parameters: BatchingParameters,
    load: Seconds | int,
    *,
    rows: int = 1,
    drift: float = 0.0,
    seed: int = 0,
) -> Prediction:
    """The prediction for a load: arrivals at these times (seconds), or so many callers.

    Args:
        rows: of each request.
        drift: the share by which the machine's speed may differ from the calibration's; at least
            12 % and at most 30 % are assumed.

    Raises:
        ServingError: as `simulate`.
    """

    def run(speed: ServiceTime, drawn: int, requests: int) -> SimulationResult:
        if isinstance(load, int):
            requests = max(requests, _TURNS * load)
            return simulate_closed(
                parameters, load, speed, slots, requests=requests, rows=rows, seed=drawn
            )
        return simulate(parameters, load, speed, slots, rows=rows, seed=drawn)

    def rate(result: SimulationResult) -> float:
        if isinstance(load, int):
            return steady_rate(result.done, load)
        return float(result.summary()["achieved_per_s"])

    step = min(max(drift, _LEAST_DRIFT), _MOST_DRIFT)
    # How many answers a second a closed loop gets is known only when it has run.
    enough = spells(rate(run(service, seed, _SPELL_REQUESTS))) if isinstance(load, int) else 0
    usual = [run(service, seed + number, enough) for number in range(_SEEDS)]
    other = usual + [
        run(held_up(service.scaled(1 + step * slower), hiccups), seed + _SEEDS + number, enough)
        for number, (slower, hiccups) in enumerate(_VARIANTS)
    ]

    def interval(estimates: list[float], values: list[float], simplified: float) -> Interval:
        expected = float(np.mean(estimates))
        low, high = min(values) / (1 + simplified), max(values) * (1 + simplified)
        return Interval(min(low, expected), expected, max(high, expected), CONFIDENCE)

    latency = {}
    for level in LEVELS:
        estimates = [typical(each.arrived[each.answered], each.latency, level) for each in usual]
        values = [_percentile(each.latency, level) for each in other]
        latency[f"p{level:g}"] = interval(estimates, values, _SIMPLIFIED["latency"])
    achieved = interval(
        [rate(each) for each in usual], [rate(each) for each in other], _SIMPLIFIED["achieved"]
    )
    return Prediction(achieved, latency)


def typical(sent: Seconds, latency: Seconds, level: float = 99.0) -> float:
    """The percentile of the requests' latency (seconds) in a typical spell: the median over spells
    of 0.05 s, or of 500 requests where these take longer.

    Args:
        sent, latency: shape (n,), increasing times, and the latency of each; NaN without any.
        level: of the percentile.
    """
    if not len(sent):
        return _percentile(latency, level)
    span = float(sent[-1] - sent[0])
    count = max(1, min(round(span / _SPELL_SECONDS), len(sent) // _SPELL_REQUESTS))
    edges = np.searchsorted(sent, sent[0] + span * np.arange(1, count) / count)
    parts = [each for each in np.split(latency, edges) if len(each)]
    return float(np.median([_percentile(each, level) for each in parts]))


def _percentile(latency: Seconds, level: float) -> float:
    return float(np.quantile(latency, level / 100)) if len(latency) else float("nan")


def spells(rate: float) -> int:
    """The number of requests to simulate at `rate` a second, enough for several spells."""
    return round(
        _SPELLS * min(max(rate * _SPELL_SECONDS, _SPELL_REQUESTS), _MOST_REQUESTS / _SPELLS)
    )


def held_up(service: ServiceTime, hiccups: _HeldUp) -> ServiceTime:
    """The same on a machine that is never held up, held up as often as in the calibration, or more
    often."""
    if hiccups == "none":
        return replace(service, hiccups=Hiccups())
    if hiccups == "as met":
        return service
    met = service.hiccups.micros
    # About a quarter of them each.
    longer = np.repeat(np.array(_LONG_MICROS), max(len(met) // 2, 1))
    per_second = _TIMES_MORE * service.hiccups.per_second + _MORE_PER_SECOND
    return replace(service, hiccups=Hiccups(per_second, np.concatenate([met, longer])))
