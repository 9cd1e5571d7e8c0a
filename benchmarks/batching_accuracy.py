"""The simulator against measurement, on the digits model: writes docs/batching-accuracy.md.

The model is calibrated, as `server.calibrate()` does it, again before every few points, and every
load is measured in the engine and simulated: an *open loop* with the very same arrivals, in
which throughput is what was offered as long as the server keeps up, so that latency is the test;
and a *closed loop* with so many callers, in which throughput is the server's doing as well.
Points above 80 % of capacity are shown and do not count, for there small errors of the capacity
are large errors of the waiting time; every other point counts, whatever came of it. Exits with 1
where a target is missed.

    python -m benchmarks.batching_accuracy [FILE]
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import workbench as wb
from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.load.borrowed_settings import kept_settings
from workbench.experiments.load.measure import measure
from workbench.experiments.load.server_load import make_payload
from workbench.experiments.simulator.calibrate import calibrate
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.simulator.simulate import SimulationResult, simulate_closed
from workbench.experiments.sweep.point import Point, summarize
from workbench.load.arrivals import Schedule
from workbench.samples.digits import train_digits

DELAYS_MICROS = (0, 1000, 2000, 5000)
SHARES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.9)
CLIENTS = (1, 4, 16, 48)
COUNTED = 0.8
SIZE = 64
OPEN_SECONDS, CLOSED_SECONDS = 5.0, 3.0
BUSY, BUSY_SECONDS = 0.3, 3.0
"""Above this share of capacity there are requests enough in a shorter time."""
POINTS_A_CALIBRATION = 4
SEED = 1
TARGETS = {"throughput": 0.05, "p99": 0.20}


@dataclass(frozen=True)
class Compared:
    """A point as it was measured and as it was predicted; `share` is its load, of capacity."""

    delay_micros: int
    share: float
    measured: Point
    predicted: dict[str, float]

    @property
    def counts(self) -> bool:
        return self.share <= COUNTED

    @property
    def load(self) -> str:
        clients = self.measured.clients
        if clients is None:
            return "open"
        return f"{clients} caller{'s' if clients > 1 else ''}"

    @property
    def errors(self) -> dict[str, float]:
        """Relative, by what was predicted."""
        measured = {
            "throughput": self.measured.achieved.estimate,
            "p99": self.measured.percentile("p99"),
        }
        # A point at which nothing was answered in time is as wrong as can be.
        return {
            name: self.predicted[name] / value - 1 if value > 0 else np.inf
            for name, value in measured.items()
        }

    def line(self) -> str:
        point, predicted, wrong = self.measured, self.predicted, self.errors
        p99 = point.latency["p99"]
        high = "?" if np.isinf(p99.high) else f"{p99.high * 1e3:.2f}"
        cells = (
            f"{self.delay_micros / 1e3:g}",
            self.load,
            f"{self.share:.0%}",
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
            "" if self.counts else "not counted",
        )
        return f"| {' | '.join(cells)} |"


def capacity(server: wb.Server) -> float:
    """Requests a second that the engine answers when there are always enough."""
    server.batching = BatchingParameters(max_batch_size=SIZE)
    window = measure(server, make_payload(server), 4 * SIZE, 2.0, "engine")
    return window.answered / window.seconds


def in_short(result: SimulationResult) -> dict[str, float]:
    summary = result.summary()
    return {
        "throughput": summary["achieved_per_s"],
        "p50": summary["latency_s"][50.0],
        "p99": summary["latency_s"][99.0],
        "rows": summary["batch_rows_mean"],
    }


def settings(delay: int, slots: int) -> BatchingParameters:
    return BatchingParameters(
        max_batch_size=SIZE,
        batch_timeout_micros=delay,
        max_enqueued_batches=100,
        num_batch_threads=slots,
    )


def open_loop(
    server: wb.Server, calibration: Calibration, delay: int, share: float, most: float
) -> Compared:
    parameters = settings(delay, calibration.slots)
    rate, seconds = round(share * most, -1), OPEN_SECONDS if share <= BUSY else BUSY_SECONDS
    schedule = Schedule("poisson", rate, seconds, seed=SEED)
    server.batching = parameters
    window = measure(server, make_payload(server), schedule, seconds, "engine")
    point = summarize(parameters, {"rate": rate}, 1, [window], None)
    predicted = calibration.simulate(parameters, schedule.arrivals(), SEED)
    return Compared(delay, share, point, in_short(predicted))


def closed_loop(
    server: wb.Server, calibration: Calibration, delay: int, clients: float, most: float
) -> Compared:
    parameters, clients = settings(delay, calibration.slots), int(clients)
    server.batching = parameters
    window = measure(server, make_payload(server), clients, CLOSED_SECONDS, "engine")
    point = summarize(parameters, {"clients": clients}, 1, [window], None)
    predicted = simulate_closed(
        parameters,
        clients,
        calibration.service,
        calibration.slots,
        requests=max(window.sent, 10 * clients),
        seed=SEED,
    )
    return Compared(delay, point.achieved.estimate / most, point, in_short(predicted))


def main() -> int:
    default = Path(__file__).parents[1] / "docs" / "batching-accuracy.md"
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    found: list[Compared] = []

    def note(compared: Compared) -> None:
        found.append(compared)
        print(compared.line(), flush=True)

    with tempfile.TemporaryDirectory() as folder:
        os.environ["JUPYTER_DATA_DIR"] = folder
        with wb.serve(train_digits(), name="accuracy") as server, kept_settings(server):
            most = capacity(server)
            points = [
                (measured, delay, load)
                for delay in DELAYS_MICROS
                for measured, loads in ((open_loop, SHARES), (closed_loop, CLIENTS))
                for load in loads
            ]
            for number, (measured, delay, load) in enumerate(points):
                if number % POINTS_A_CALIBRATION == 0:
                    # Machines drift: what was measured minutes ago is of another machine.
                    calibration = calibrate(server, max_batch_size=SIZE, keep=False)
                note(measured(server, calibration, delay, load, most))
    counted = [each for each in found if each.counts]
    medians = {
        name: float(np.median([abs(each.errors[name]) for each in counted])) for name in TARGETS
    }
    closed = [abs(e.errors["throughput"]) for e in counted if e.measured.clients is not None]
    medians["throughput, closed loop alone"] = float(np.median(closed))
    target.write_text(_page(found, medians, most))
    excluded = [each for each in found if not each.counts]
    print(f"{len(counted)} points count; not counted, above {COUNTED:.0%} load:")
    for each in excluded:
        print(f"  {each.delay_micros / 1e3:g} ms, {each.load}, {each.share:.0%}")
    for name, median in medians.items():
        print(f"{name}: median absolute error {median:.1%} (wanted: under {_wanted(name):.0%})")
    print(f"written to {target}")
    return int(any(median >= _wanted(name) for name, median in medians.items()))


def _wanted(name: str) -> float:
    return TARGETS[name.split(",")[0]]


def _page(found: list[Compared], medians: dict[str, float], most: float) -> str:
    head = (
        "delay (ms)", "loop", "load", "measured/s", "predicted/s", "error", "p50 (ms)",
        "predicted", "p99 (ms) [95 %]", "predicted", "error", "rows", "predicted", "",
    )  # fmt: skip
    verdicts = "\n".join(
        f"* {name}: median absolute error **{median:.1%}** (wanted: under {_wanted(name):.0%})"
        for name, median in medians.items()
    )
    counted = sum(each.counts for each in found)
    lines = "\n".join(each.line() for each in found)
    return f"""# How well the simulator predicts

Written by `python -m benchmarks.batching_accuracy`: the digits model on {os.cpu_count()} cores
({platform.machine()}), batches of at most {SIZE} rows, load from inside the server (`engine`).
Each point of an open loop takes {OPEN_SECONDS:g} s ({BUSY_SECONDS:g} s above {BUSY:.0%} load), with
Poisson arrivals that the simulation shares. Each point of a closed loop takes
{CLOSED_SECONDS:g} s. Load is a share of the {most:.0f} requests/s that {4 * SIZE} callers reach.
The errors below are medians over all {counted} points up to {COUNTED:.0%} load; the other
{len(found) - counted} points are shown but not counted:

{verdicts}

The throughput of an open loop is easy to predict: it is the offered rate, as long as the server
keeps up. The throughput of a closed loop depends on the server. A measured 99th percentile contains
all disturbances by other work on the machine. A simulated one contains only those that the previous
calibration met ({POINTS_A_CALIBRATION} points share a calibration). Where the interval is wide, the
error is large too.

| {" | ".join(head)} |
|{"---:|" * len(head)}
{lines}
"""


if __name__ == "__main__":
    sys.exit(main())
