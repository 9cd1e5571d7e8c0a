"""Predicts one setting of batching and load, and its neighbours, for the sweep explorer.

A setting has four numbers, one for each slider. A curve varies one of them, and each of its points
has the figures of a measured point.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import invalid_argument
from workbench.experiments.simulator.calibrate import LARGEST
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.simulator.service_time import sizes_up_to
from workbench.experiments.simulator.simulate import CURVE_REQUESTS
from workbench.experiments.store.packed_arrays import without_infinity
from workbench.experiments.sweep.diagnosis import diagnose
from workbench.experiments.sweep.point import SATURATED, STABLE, Point, keeps_up
from workbench.experiments.tuning.candidates import resized
from workbench.load.arrivals import poisson
from workbench.load.intervals import Interval
from workbench.processes.limits import schedulable_cpus

AXES = ("batch_timeout_micros", "max_batch_size", "num_batch_threads", "rate")
CURVE_POINTS = 15
"""About how many values of a scale a curve simulates; fifteen take 100 ms."""
_LONGEST_MICROS, _HIGHEST_RATE, _STEPS_A_DECADE = 100_000, 50_000, 10
_FEWEST_THREADS = 4
"""A scale of threads goes at least this far, and to twice the processors."""


@dataclass(frozen=True)
class Setting:
    """The values of the four sliders.

    Attributes:
        batch_timeout_micros, max_batch_size, num_batch_threads: as in `BatchingParameters`.
        rate: offered requests a second, Poisson arrivals.

    Raises:
        ServingError: INVALID_ARGUMENT, a value is not allowed.
    """

    batch_timeout_micros: int
    max_batch_size: int
    num_batch_threads: int
    rate: float

    def __post_init__(self) -> None:
        for name in AXES:
            value = getattr(self, name)
            least = 0 if name == "batch_timeout_micros" else 1
            if isinstance(value, bool) or not isinstance(value, int | float) or value < least:
                raise invalid_argument(f"{name} must be a number of at least {least}; was {value}")
            if not math.isfinite(value) or (name != "rate" and value != int(value)):
                raise invalid_argument(f"{name} must be a whole number; was {value}")

    @classmethod
    def of(cls, parameters: BatchingParameters, rate: float) -> Setting:
        """The setting of these parameters; one thread where they name none."""
        return cls(
            parameters.batch_timeout_micros,
            parameters.batch_limit,
            parameters.num_batch_threads or 1,
            rate,
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Setting:
        """The setting that a page sends.

        Raises:
            ServingError: INVALID_ARGUMENT, it does not have exactly the four numbers.
        """
        if set(data) != set(AXES):
            raise invalid_argument(f"A setting has {', '.join(AXES)}; had {', '.join(data)}")
        return cls(**data)

    def to_json(self) -> dict[str, Any]:
        """The four numbers by name."""
        return asdict(self)

    def parameters(self, base: BatchingParameters) -> BatchingParameters:
        """`base` with this setting's delay, size and threads."""
        return replace(
            resized(base, int(self.max_batch_size)),
            batch_timeout_micros=int(self.batch_timeout_micros),
            num_batch_threads=int(self.num_batch_threads),
        )

    def __str__(self) -> str:
        return (
            f"delay {self.batch_timeout_micros / 1e3:g} ms, batches of up to "
            f"{self.max_batch_size}, {self.num_batch_threads} threads"
        )


def scales(now: Setting, rows: int = 1) -> dict[str, list[float]]:
    """The values of each slider: equal ratios, and the value in force."""
    delays = [0, *_ratios(100, _LONGEST_MICROS)]
    sizes = [size * rows for size in sizes_up_to(max(1, LARGEST // rows))]
    threads = range(1, max(_FEWEST_THREADS, 2 * schedulable_cpus()) + 1)
    rates = _ratios(10, _HIGHEST_RATE)
    found = zip(AXES, (delays, sizes, threads, rates), strict=True)
    return {name: sorted({*values, getattr(now, name)}) for name, values in found}


def _ratios(least: int, most: int) -> list[int]:
    """From `least` to `most` in steps of equal ratios, each with two digits."""
    steps = round(_STEPS_A_DECADE * math.log10(most / least))
    exact = (least * 10 ** (step / _STEPS_A_DECADE) for step in range(steps + 1))
    return [round(float(f"{value:.1e}")) for value in exact]


def curve_values(scale: Sequence[float], here: float) -> list[float]:
    """About `CURVE_POINTS` values of a scale, including its ends and the chosen one."""
    count = min(CURVE_POINTS, len(scale))
    places = np.linspace(0, len(scale) - 1, count).round().astype(int).tolist()
    return sorted({scale[place] for place in places} | {here})


def predicted_curve(
    calibration: Calibration,
    base: BatchingParameters,
    setting: Setting,
    axis: str,
    values: Sequence[float],
    *,
    requests: int = CURVE_REQUESTS,
) -> list[Point]:
    """A point for each value of `axis`, with everything else as in `setting`.

    All points share their random numbers, so they differ only by the setting.

    Raises:
        ServingError: INVALID_ARGUMENT, there is no such axis, or the requests of the calibration
            are larger than the batches.
    """
    if axis not in AXES:
        raise invalid_argument(f"A curve is drawn against {', '.join(AXES)}; not against {axis!r}")
    changes: list[dict[str, Any]] = [{axis: value} for value in values]
    return [
        predicted_point(calibration, base, replace(setting, **change), requests=requests)
        for change in changes
    ]


def predicted_point(
    calibration: Calibration,
    base: BatchingParameters,
    setting: Setting,
    *,
    requests: int = CURVE_REQUESTS,
) -> Point:
    """The simulator's prediction in the figures of a measured point. Both bounds of its intervals
    are the estimate, with confidence 0."""
    parameters = setting.parameters(base)
    result = calibration.simulate(parameters, poisson(setting.rate, seed=0, count=requests))
    summary = result.summary()
    offered, achieved = summary["offered_per_s"], summary["achieved_per_s"]
    rejected = summary["rejected_share"]
    held = result.batch[result.answered]
    return Point(
        parameters=parameters.to_json(),
        load={"rate": setting.rate},
        rows=calibration.rows,
        offered=offered,
        achieved=_exactly(achieved),
        latency={f"p{level:g}": _exactly(v) for level, v in summary["latency_s"].items()},
        samples=len(held),
        seconds=result.seconds,
        sizes=dict(sorted(Counter(result.sizes.tolist()).items())),
        reasons=summary["reasons"],
        queue=summary["queued_mean_s"] if len(held) else 0.0,
        run=float((result.ended - result.started)[held].mean()) if len(held) else 0.0,
        overhead=0.0,
        rejected=rejected,
        failures={},
        occupancy=summary["occupancy"],
        send_delay_p99=0.0,
        memory_bytes=None,
        verdict=STABLE if keeps_up(offered, achieved, rejected) else SATURATED,
    )


def _exactly(value: float) -> Interval:
    return Interval(value, value, value, 0.0)


def point_figures(point: Point) -> dict[str, Any]:
    """A point, measured or predicted, as plain data for a page: rates a second, latencies in
    microseconds, shares from 0 to 1; unknown bounds are null."""

    def interval(found: Interval | None, unit: float) -> list[float] | None:
        return (
            None if found is None else [v * unit for v in (found.low, found.estimate, found.high)]
        )

    plain: dict[str, Any] = without_infinity(
        {
            "setting": Setting.of(point.batching, point.load["rate"]).to_json(),
            "offered": point.offered,
            "achieved": interval(point.achieved, 1),
            **{name: interval(point.latency.get(name), 1e6) for name in ("p50", "p90", "p99")},
            "sizes": sorted(point.sizes.items()),
            "reasons": dict(point.reasons),
            "batchRows": point.batch_rows,
            "rejected": point.rejected,
            "occupancy": point.occupancy,
            "verdict": point.verdict,
            "verdictText": point.verdict_text(),
            "diagnoses": [str(diagnosis) for diagnosis in diagnose(point)],
        }
    )
    return plain
