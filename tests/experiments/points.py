"""A measured point for tests, of which only what matters needs to be said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.sweep.point import Point
from workbench.load.intervals import Interval


def interval(estimate: float, spread: float = 0.1) -> Interval:
    return Interval(estimate * (1 - spread), estimate, estimate * (1 + spread), 0.95)


def point(
    *,
    timeout: int = 0,
    size: int = 32,
    slots: int = 2,
    load: Mapping[str, float] | None = None,
    achieved: float = 1000.0,
    p99: float = 0.01,
    verdict: str = "stable",
    sizes: Mapping[int, int] | None = None,
    reasons: Mapping[str, int] | None = None,
    allowed: tuple[int, ...] = (),
    **changes: Any,
) -> Point:
    parameters = BatchingParameters(
        max_batch_size=size,
        batch_timeout_micros=timeout,
        num_batch_threads=slots,
        allowed_batch_sizes=allowed,
    )
    values: dict[str, Any] = {
        "parameters": parameters.to_json(),
        "load": load or {"rate": 1000.0},
        "rows": 1,
        "offered": achieved,
        "achieved": interval(achieved, 0.01),
        "latency": {"p50": interval(p99 / 2), "p90": interval(p99 * 0.8), "p99": interval(p99)},
        "samples": 10_000,
        "seconds": 2.0,
        "sizes": sizes or {20: 100},
        "reasons": reasons or {"full": 100},
        "queue": 0.001,
        "run": 0.002,
        "overhead": 0.0005,
        "rejected": 0.0,
        "failures": {},
        "occupancy": 0.5,
        "send_delay_p99": 0.0001,
        "memory_bytes": 50 * 2**20,
        "verdict": verdict,
    }
    return Point(**{**values, **changes})
