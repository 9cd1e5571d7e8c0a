"""How quick the simulator is: a curve of 15 points, which must keep up with a slider.

python benchmarks/simulator.py
"""

from __future__ import annotations

import time

from workbench.core.batching_parameters import BatchingParameters
from workbench.experiments.service_time import ServiceTime
from workbench.experiments.simulate import CURVE_REQUESTS, curve

TARGET_MS = 150.0
ROUNDS = 7
DELAYS = (0, 1000, 5000)
RATES = (1000.0, 2000.0, 5000.0, 10_000.0, 20_000.0)


def main() -> None:
    settings = [
        (BatchingParameters(max_batch_size=64, batch_timeout_micros=delay), rate)
        for delay in DELAYS
        for rate in RATES
    ]
    model = ServiceTime.linear(500, 10)
    curve(settings, model, 2)
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        curve(settings, model, 2)
        times.append((time.perf_counter() - started) * 1e3)
    requests = len(settings) * CURVE_REQUESTS
    print(
        f"{len(settings)} points of {CURVE_REQUESTS} requests: best {min(times):.0f} ms, median "
        f"{sorted(times)[ROUNDS // 2]:.0f} ms (wanted: under {TARGET_MS:.0f}); "
        f"{min(times) * 1e3 / requests:.2f} us a request"
    )


if __name__ == "__main__":
    main()
