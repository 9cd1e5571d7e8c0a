"""How long a sweep of 20 points takes, and how exactly an open loop sends.

Both ways of sending are looked at, each at half of what a closed loop reaches by it: from inside
the server (`engine`), and over REST from the load generator's own process. Exits with 1 where a
target is missed.

    python -m benchmarks.sweep
"""

from __future__ import annotations

import os
import sys
import tempfile
import time

import numpy as np

import workbench as wb
from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.load.generator import run_load
from workbench.experiments.load.measure import load_job, measure
from workbench.experiments.load.server_load import Payload, make_payload, run_engine
from workbench.load.arrivals import Schedule
from workbench.samples.digits import train_digits

RATES = (5000, 7000, 10_000, 14_000, 20_000)
DELAYS_MICROS = (0, 1000, 2000, 5000)
SECONDS = 3.0
MOST_OFF, MOST_SECONDS = 0.01, 60.0


def sent_as_scheduled(where: str, capacity: float, delays: np.ndarray, schedule: Schedule) -> bool:
    """Print how many requests were sent within the time of the schedule, and how late; whether
    they are within the target. `delays` are in microseconds, NaN for what was never sent."""
    arrivals = schedule.arrivals()
    in_time = arrivals[: len(delays)] + delays / 1e6 <= schedule.duration_s
    off = 1 - np.count_nonzero(in_time) / len(arrivals)
    late = np.nanquantile(delays, [0.5, 0.99])
    print(
        f"{where}: {capacity:.0f} requests/s in a closed loop; open loop at {schedule.rate:.0f}: "
        f"{np.count_nonzero(in_time)} sent in time of {len(arrivals)} scheduled, {off:.2%} off "
        f"(wanted: within {MOST_OFF:.0%}); intended to actual {late[0]:.0f} us in the middle, "
        f"{late[1]:.0f} us at the 99th percentile",
        flush=True,
    )
    return bool(off <= MOST_OFF)


def engine(server: wb.Server, payload: Payload) -> bool:
    most = measure(server, payload, 256, SECONDS, "engine")
    capacity = most.answered / SECONDS
    schedule = Schedule("poisson", capacity / 2, SECONDS)
    sent = run_engine(server, payload, schedule, SECONDS)
    return sent_as_scheduled("engine", capacity, sent.sent - sent.intended, schedule)


def rest(server: wb.Server, payload: Payload) -> bool:
    most = measure(server, payload, 32, SECONDS, "rest")
    capacity = most.answered / SECONDS
    schedule = Schedule("poisson", capacity / 2, SECONDS)
    sent = run_load(load_job(server, payload, schedule, SECONDS, "rest"))
    return sent_as_scheduled("rest", capacity, (sent.sent - sent.intended) * 1e6, schedule)


def twenty_points(server: wb.Server) -> bool:
    started = time.monotonic()
    result = server.sweep(
        batch_timeout_micros=DELAYS_MICROS, rate=RATES, keep=False, progress=False
    )
    took = time.monotonic() - started
    verdicts = [point.verdict for point in result.points]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in sorted(set(verdicts)))
    print(
        f"{len(result.points)} points at {RATES[0]} requests/s and more: {took:.1f} s "
        f"(said: {result.predicted_seconds:.0f} s at most; wanted: under {MOST_SECONDS:.0f}); "
        f"{counts}"
    )
    return took < MOST_SECONDS


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JUPYTER_DATA_DIR"] = folder
        with wb.serve(train_digits(), name="sweep-benchmark") as server:
            server.batching = BatchingParameters(max_batch_size=64, max_enqueued_batches=100)
            payload = make_payload(server)
            met = [engine(server, payload), rest(server, payload), twenty_points(server)]
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())
