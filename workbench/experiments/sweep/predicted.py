"""A sweep's points as the simulator predicts them, and how far it was off."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.core.status import invalid_argument
from workbench.experiments.simulator.simulate import simulate_closed
from workbench.experiments.sweep.point import STABLE, Point
from workbench.load.arrivals import Schedule

if TYPE_CHECKING:
    from workbench.experiments.simulator.calibration import Calibration

REQUESTS = 5000
"""Simulated for each point: enough for a 99th percentile."""


def predict(
    points: Sequence[Point], calibration: Calibration, arrivals: str, seed: int
) -> list[dict[str, float]]:
    """The prediction for each point: `achieved` (requests a second), and `p50`, `p90` and `p99` in
    seconds (NaN where nothing is answered).

    Args:
        arrivals, seed: those of the sweep.

    Raises:
        ServingError: INVALID_ARGUMENT, the calibration is of requests of another size, or the
            arrivals are recorded ones.
    """
    if arrivals == "replay":
        raise invalid_argument(
            "A sweep with recorded traffic does not keep its times: predict it with "
            "calibration.simulate(parameters, traffic.times_s, rows=traffic.rows)"
        )
    return [_predicted(point, calibration, arrivals, seed) for point in points]


def _predicted(
    point: Point, calibration: Calibration, arrivals: str, seed: int
) -> dict[str, float]:
    if point.rows != calibration.rows:
        raise invalid_argument(
            f"The sweep's requests have {point.rows} rows and the calibration's have "
            f"{calibration.rows}: calibrate with rows={point.rows}"
        )
    if point.clients is not None:
        result = simulate_closed(
            point.batching,
            point.clients,
            calibration.service,
            point.slots,
            requests=max(REQUESTS, 20 * point.clients),
            rows=point.rows,
            seed=seed,
        )
    else:
        rate = point.load["rate"]
        kind: Any = arrivals
        # A ramp must last as long as the point; other arrivals only as long as needed.
        duration = point.seconds if kind == "ramp" else max(REQUESTS / rate, 0.1)
        times = Schedule(kind, rate, duration, seed).arrivals()
        result = calibration.simulate(point.batching, times, seed)
    summary = result.summary()
    latency = summary["latency_s"]
    levels = {f"p{level:g}": latency.get(level, math.nan) for level in (50.0, 90.0, 99.0)}
    return {"achieved": summary["achieved_per_s"], **levels}


def disagreement(
    points: Sequence[Point], predicted: Sequence[dict[str, float]]
) -> dict[str, float]:
    """The median absolute relative error of the prediction over the stable points; NaN without
    any."""
    stable = [(p, q) for p, q in zip(points, predicted, strict=True) if p.verdict == STABLE]
    found: dict[str, float] = {}
    for name in ("achieved", "p50", "p90", "p99"):
        errors = [
            abs(q[name] / measured - 1)
            for p, q in stable
            if (measured := p.achieved.estimate if name == "achieved" else p.percentile(name)) > 0
        ]
        found[name] = statistics.median(errors) if errors else math.nan
    return found
