"""How long a sweep of 20 points takes, and how exactly an open loop sends.

python benchmarks/sweep.py
"""

from __future__ import annotations

import os
import tempfile
import time

import numpy as np

import workbench as wb
from workbench.core.batching_parameters import BatchingParameters
from workbench.experiments.digits import train_digits
from workbench.experiments.engine import make_payload, run_engine
from workbench.load.arrivals import Schedule

RATES = (5000, 7000, 10_000, 14_000, 20_000)
DELAYS_MICROS = (0, 1000, 2000, 5000)
SECONDS = 3.0


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JUPYTER_DATA_DIR"] = folder
        with wb.serve(train_digits(), name="sweep-benchmark") as server:
            server.batching = BatchingParameters(max_batch_size=64, max_enqueued_batches=100)
            payload = make_payload(server)
            most = run_engine(server, payload, 256, SECONDS)
            capacity = float((most.done >= 0).sum()) / SECONDS
            rate = capacity / 2
            sent = run_engine(server, payload, Schedule("poisson", rate, SECONDS), SECONDS)
            delay = np.percentile(sent.sent - sent.intended, [50, 99])
            scheduled = len(Schedule("poisson", rate, SECONDS).arrivals())
            print(
                f"open loop at {rate:.0f} requests/s, half of capacity: {len(sent.sent)} sent of "
                f"{scheduled} scheduled ({len(sent.sent) / scheduled:.2%}); intended to actual "
                f"{delay[0]:.0f} us in the middle, {delay[1]:.0f} us at the 99th percentile"
            )
            started = time.monotonic()
            result = server.sweep(
                batch_timeout_micros=DELAYS_MICROS, rate=RATES, keep=False, progress=False
            )
            took = time.monotonic() - started
            verdicts = [point.verdict for point in result.points]
            counts = ", ".join(f"{verdicts.count(v)} {v}" for v in sorted(set(verdicts)))
            print(
                f"{len(result.points)} points at {RATES[0]} requests/s and more: {took:.1f} s "
                f"(said: {result.predicted_seconds:.0f} s at most; wanted: under 60); {counts}"
            )


if __name__ == "__main__":
    main()
