"""The simulator against measurement, on the digits model: writes docs/batching-accuracy.md.

The model is calibrated, then every combination of batching delay and load is measured in the
engine and simulated with the very same arrivals. Points above 80 % of capacity are shown and
do not count, for there small errors of the capacity are large errors of the waiting time.

    python benchmarks/batching_accuracy.py [FILE]
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from pathlib import Path

import numpy as np

import workbench as wb
from workbench.core.batching_parameters import BatchingParameters
from workbench.experiments.calibrate import Calibration, calibrate
from workbench.experiments.digits import train_digits
from workbench.experiments.engine import make_payload
from workbench.experiments.measure import measure
from workbench.experiments.point import SATURATED, Point, summarize
from workbench.experiments.settings import apply, kept_settings
from workbench.load.arrivals import Schedule

DELAYS_MICROS = (0, 1000, 2000, 5000)
SHARES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.9)
COUNTED = 0.8
SIZE = 64
SECONDS = 3.0
SEED = 1
TARGETS = {"throughput": 0.05, "p99": 0.20}


def capacity(server: wb.Server) -> float:
    """Requests a second that the engine answers when there are always enough."""
    payload = make_payload(server)
    apply(server, BatchingParameters(max_batch_size=SIZE))
    window = measure(server, payload, 4 * SIZE, 2.0, "engine")
    return window.answered / window.seconds


def both(
    server: wb.Server, calibration: Calibration, delay: int, rate: float
) -> tuple[Point, dict[str, float]]:
    """A point as measured, and as simulated."""
    parameters = BatchingParameters(
        max_batch_size=SIZE,
        batch_timeout_micros=delay,
        max_enqueued_batches=100,
        num_batch_threads=calibration.slots,
    )
    schedule = Schedule("poisson", rate, SECONDS, seed=SEED)
    apply(server, parameters)
    window = measure(server, make_payload(server), schedule, SECONDS, "engine")
    point = summarize(parameters, {"rate": rate}, 1, [window], None)
    predicted = calibration.simulate(parameters, schedule.arrivals(), SEED).summary()
    return point, {
        "throughput": predicted["achieved_per_s"],
        "p50": predicted["latency_s"][50.0],
        "p99": predicted["latency_s"][99.0],
        "rows": predicted["batch_rows_mean"],
    }


def main() -> None:
    default = Path(__file__).parents[1] / "docs" / "batching-accuracy.md"
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    lines, errors = [], {"throughput": [], "p99": []}  # type: ignore[var-annotated]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JUPYTER_DATA_DIR"] = folder
        with wb.serve(train_digits(), name="accuracy") as server, kept_settings(server):
            most = capacity(server)
            for delay in DELAYS_MICROS:
                # Machines drift: each delay has a calibration of its own, just before it.
                calibration = calibrate(server, max_batch_size=SIZE)
                for share in SHARES:
                    point, predicted = both(server, calibration, delay, round(share * most, -1))
                    if point.verdict == SATURATED:
                        continue
                    measured = point.latency["p99"]
                    wrong = {
                        "throughput": predicted["throughput"] / point.achieved.estimate - 1,
                        "p99": predicted["p99"] / measured.estimate - 1,
                    }
                    if share <= COUNTED:
                        for name, error in wrong.items():
                            errors[name].append(abs(error))
                    lines.append(_line(delay, share, point, predicted, wrong))
                    print(lines[-1], flush=True)
    medians = {name: float(np.median(found)) for name, found in errors.items()}
    target.write_text(_page(lines, medians, most))
    print({name: f"{error:.1%}" for name, error in medians.items()}, "->", target)


def _line(
    delay: int, share: float, point: Point, predicted: dict[str, float], wrong: dict[str, float]
) -> str:
    p99 = point.latency["p99"]
    high = "?" if np.isinf(p99.high) else f"{p99.high * 1e3:.2f}"
    cells = (
        f"{delay / 1e3:g}",
        f"{share:.0%}",
        f"{point.achieved.estimate:.0f}",
        f"{predicted['throughput']:.0f}",
        f"{wrong['throughput']:+.1%}",
        f"{point.percentile('p50') * 1e3:.2f}",
        f"{predicted['p50'] * 1e3:.2f}",
        f"{p99.estimate * 1e3:.2f} [{max(p99.low, 0) * 1e3:.2f}, {high}]",
        f"{predicted['p99'] * 1e3:.2f}",
        f"{wrong['p99']:+.0%}",
        f"{point.batch_rows:.1f}",
        f"{predicted['rows']:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def _page(lines: list[str], medians: dict[str, float], most: float) -> str:
    head = (
        "delay (ms)", "load", "measured/s", "predicted/s", "error", "p50 (ms)", "predicted",
        "p99 (ms) [95 %]", "predicted", "error", "rows", "predicted",
    )  # fmt: skip
    verdicts = "\n".join(
        f"* {name}: median absolute error **{medians[name]:.1%}** (wanted: under {wanted:.0%})"
        for name, wanted in TARGETS.items()
    )
    return f"""# How well the simulator predicts

Written by `benchmarks/batching_accuracy.py`: the digits model on {os.cpu_count()} cores
({platform.machine()}), batches of at most {SIZE}, Poisson arrivals from inside the server
(`engine`), {SECONDS:g} s a point; measured and simulated with the same arrivals. Load is given as
a share of the {most:.0f} requests/s that a closed loop reaches; settings that were saturated are
left out. Over the points up to {COUNTED:.0%} load:

{verdicts}

A measured 99th percentile holds what else happened on the machine; a simulated one does not, but
for what the calibration just before has met. Where the interval is wide, the error is too.

| {" | ".join(head)} |
|{"---:|" * len(head)}
{chr(10).join(lines)}
"""


if __name__ == "__main__":
    main()
