"""A prediction with intervals: how wrong the simulator may be.

Three things make a prediction wrong: the machine is quicker or slower than when it was calibrated,
it is held up more or less often, and the model simplifies. So the setting is simulated several
times, a little quicker and slower, with and without hiccups, and with other random numbers. The
interval reaches from the lowest to the highest result, and a little further for the
simplifications. It is meant to contain a measurement in nine of ten cases
(`docs/batching-accuracy.md` shows how often it did).
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
REQUESTS, _TURNS = 5000, 20
_SEEDS = 2
"""The estimate is the geometric mean of so many simulations with the hiccups that were met and as
many without: some spells of a second meet one, and others none."""


@dataclass(frozen=True, repr=False)
class Prediction:
    """What is expected of a setting under a load; each interval is meant to contain the measured
    value with 90 % probability.

    Attributes:
        achieved: answered requests a second.
        latency: by name (``p50``, ``p90``, ``p99``), in seconds.
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

    def run(speed: ServiceTime, number: int) -> dict[str, float]:
        result: SimulationResult
        drawn = seed + _SEEDS + number
        if isinstance(load, int):
            result = simulate_closed(
                parameters,
                load,
                speed,
                slots,
                requests=max(REQUESTS, _TURNS * load),
                rows=rows,
                seed=drawn,
            )
        else:
            result = simulate(parameters, load, speed, slots, rows=rows, seed=drawn)
        summary = result.summary()
        latency = {f"p{lv:g}": summary["latency_s"].get(lv, np.nan) for lv in LEVELS}
        if isinstance(load, int):
            return {"achieved": steady_rate(result.done, load), **latency}
        return {"achieved": summary["achieved_per_s"], **latency}

    step = min(max(drift, _LEAST_DRIFT), _MOST_DRIFT)
    calm = held_up(service, "none")
    usual = [run(each, -number) for number in range(_SEEDS) for each in (service, calm)]
    found = usual + [
        run(held_up(service.scaled(1 + step * slower), hiccups), number)
        for number, (slower, hiccups) in enumerate(_VARIANTS, 1)
    ]

    def interval(name: str) -> Interval:
        values = [each[name] for each in found]
        more = 1 + _SIMPLIFIED["achieved" if name == "achieved" else "latency"]
        logarithms = np.log(np.maximum([each[name] for each in usual], 1e-9))
        expected = float(np.exp(logarithms.mean()))
        return Interval(min(values) / more, expected, max(values) * more, CONFIDENCE)

    return Prediction(interval("achieved"), {f"p{lv:g}": interval(f"p{lv:g}") for lv in LEVELS})


def held_up(service: ServiceTime, hiccups: _HeldUp) -> ServiceTime:
    """The same on a machine that is never held up, held up as often as in the calibration, or more
    often."""
    if hiccups == "none":
        return replace(service, hiccups=Hiccups(), interruptions=Hiccups(), crowded=Hiccups())
    if hiccups == "as met":
        return service
    met = service.hiccups.micros
    # About a quarter of them each.
    longer = np.repeat(np.array(_LONG_MICROS), max(len(met) // 2, 1))
    per_second = _TIMES_MORE * service.hiccups.per_second + _MORE_PER_SECOND
    return replace(
        service,
        hiccups=Hiccups(per_second, np.concatenate([met, longer])),
        interruptions=service.interruptions.times(_TIMES_MORE),
        crowded=service.crowded.times(_TIMES_MORE),
    )
