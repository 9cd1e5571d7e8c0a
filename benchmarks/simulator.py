"""How quick the simulator is: a curve of 15 points, which must keep up with a slider.

The run times are as a calibration has them: distributions for each number of rows and of batches
in flight, what the loop spends, late wakings, and hiccups of the machine. Exits with 1 where the
median of the rounds is above the target.

    python -m benchmarks.simulator
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import numpy as np

from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.simulator.hiccups import Hiccups
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.experiments.simulator.simulate import CURVE_REQUESTS, curve

TARGET_MS = 150.0
ROUNDS = 7
DELAYS = (0, 1000, 5000)
RATES = (1000.0, 2000.0, 5000.0, 10_000.0, 20_000.0)


def calibrated() -> ServiceTime:
    """Made up, with everything that a calibration of two slots measures."""
    random = np.random.default_rng(0)
    rows = (1, 2, 4, 8, 16, 32, 64)
    base = {0: 120.0, 1: 60.0, 2: 90.0}
    samples = {
        (flight, r): (micros + 3.0 * r) * random.lognormal(0, 0.15, 500)
        for flight, micros in base.items()
        for r in rows
    }
    delays = Hiccups.from_late(random.uniform(1000, 5000, 40), 2.0)
    service = ServiceTime.from_samples(
        samples,
        arrival_micros=2.5,
        answer_micros=2.0,
        wake_micros=random.gamma(4, 6, 1000),
        hiccups=delays,
    )
    return replace(
        service,
        start_micros=32.0,
        start_request_micros=1.0,
        end_micros=8.0,
        wake_cost_micros=30.0,
        processors=2,
        loop_spread=0.5,
    )


def main() -> int:
    settings = [
        (BatchingParameters(max_batch_size=64, batch_timeout_micros=delay), rate)
        for delay in DELAYS
        for rate in RATES
    ]
    model = calibrated()
    curve(settings, model, 2)
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        curve(settings, model, 2)
        times.append((time.perf_counter() - started) * 1e3)
    requests = len(settings) * CURVE_REQUESTS
    median = sorted(times)[ROUNDS // 2]
    print(
        f"{len(settings)} points of {CURVE_REQUESTS} requests: median {median:.0f} ms (wanted: "
        f"under {TARGET_MS:.0f}), best {min(times):.0f} ms; {median * 1e3 / requests:.2f} us a "
        "request"
    )
    return int(median >= TARGET_MS)


if __name__ == "__main__":
    sys.exit(main())
