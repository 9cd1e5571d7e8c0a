"""The simulator against measurement: writes docs/batching-accuracy.md and its picture.

A hundred settings are drawn at random: the delay, the size, the threads, an open or a closed loop,
and its load. Three models that differ in kind take a third of them each. For each setting its
capacity is measured (a closed loop that keeps all slots busy and the next batches waiting), and
then the load itself. The simulator predicts both from the calibrations so far: one is made before
each setting, and refines the last ones. The arrivals of an open loop are the same in the
measurement and the prediction. Every setting counts, whatever came of it. Exits with 1 where a
target is missed.

    python -m benchmarks.batching_accuracy [--settings 100] [--page FILE]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import workbench as wb
from benchmarks.accuracy_page import page, picture
from benchmarks.tuning import images, small, wide
from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.load.borrowed_settings import kept_settings
from workbench.experiments.load.server_load import EngineResult, make_payload, run_engine
from workbench.experiments.simulator.calibrate import calibrate
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.simulator.prediction import Prediction, predict, spells, typical
from workbench.experiments.simulator.simulate import simulate_closed, steady_rate
from workbench.load.arrivals import Schedule

MODELS = (small, images, wide)
SEED = 29
LONGEST_DELAY_MICROS, LARGEST, MOST_THREADS = 20_000, 256, 4
WITHOUT_DELAY, CLOSED = 0.3, 0.4
"""The shares of settings without a delay, and with a closed loop."""
CAPACITY_SECONDS, LOAD_SECONDS, WARM_UP_SECONDS = 1.0, 4.2, 0.2
QUEUED = 2
"""A capacity is measured with so many callers for each that the slots hold."""
SIMULATED_TURNS, SIMULATED_SECONDS = 20, 2.0
"""A capacity is simulated for so long, because in less there are many hiccups or none."""


@dataclass(frozen=True)
class Drawn:
    """A setting; `share` is its load, of its capacity."""

    parameters: BatchingParameters
    closed: bool
    share: float
    seed: int

    @property
    def full(self) -> int:
        """Callers that keep all slots busy."""
        return QUEUED * (self.parameters.num_batch_threads or 1) * self.parameters.max_batch_size

    def load(self, capacity: float) -> Schedule | int:
        """Callers, or Poisson arrivals, at the setting's share of its capacity."""
        if self.closed:
            return max(1, round(self.share * self.full))
        rate = max(round(self.share * capacity, 1), 1.0)
        return Schedule("poisson", rate, LOAD_SECONDS, seed=self.seed)


@dataclass(frozen=True)
class Compared:
    """A setting as it was measured and as it was predicted; rates per second, times in seconds.

    The changes are by what share a second measurement differs from the first: of the capacity after
    the load, and of the 99th percentile (in a typical spell, and of all) in the second half of it.
    """

    model: str
    drawn: Drawn
    load: Schedule | int
    capacity: float
    capacity_change: float
    predicted_capacity: float
    achieved: float
    p50: float
    p99: float
    p99_change: float
    whole_change: float
    whole_p99: float
    predicted: Prediction

    @property
    def delay_micros(self) -> int:
        return self.drawn.parameters.batch_timeout_micros

    @property
    def utilization(self) -> float:
        """The measured rate as a share of the measured capacity."""
        return self.achieved / self.capacity

    @property
    def capacity_error(self) -> float:
        return self.predicted_capacity / self.capacity - 1

    @property
    def p99_error(self) -> float:
        return self.predicted.latency["p99"].estimate / self.p99 - 1

    @property
    def holds(self) -> bool:
        """Whether the interval of the 99th percentile contains that of the whole run."""
        found = self.predicted.latency["p99"]
        return found.low <= self.whole_p99 <= found.high

    @property
    def rate_holds(self) -> bool:
        """Whether the interval of the throughput contains the measured one."""
        return self.predicted.achieved.low <= self.achieved <= self.predicted.achieved.high


def draw(count: int) -> Iterator[Drawn]:
    """The settings, the same each time."""
    random = np.random.default_rng(SEED)
    for number in range(count):
        delay = 0 if random.random() < WITHOUT_DELAY else random.integers(1, LONGEST_DELAY_MICROS)
        parameters = BatchingParameters(
            max_batch_size=round(float(2 ** random.uniform(0, np.log2(LARGEST)))),
            batch_timeout_micros=int(delay),
            max_enqueued_batches=100,
            num_batch_threads=int(random.integers(1, MOST_THREADS + 1)),
        )
        closed = bool(random.random() < CLOSED)
        yield Drawn(parameters, closed, float(random.uniform(0.05, 0.95)), number)


def compare(
    server: wb.Server, payload: Any, model: str, calibration: Calibration, drawn: Drawn
) -> Compared:
    """Measure a setting, and predict it."""
    parameters = drawn.parameters
    slots = parameters.num_batch_threads or 1
    server.batching = parameters
    full = run_engine(server, payload, drawn.full, CAPACITY_SECONDS)
    capacity = _rate(full, CAPACITY_SECONDS)
    load = drawn.load(capacity)
    result = run_engine(server, payload, load, LOAD_SECONDS)
    again = _rate(run_engine(server, payload, drawn.full, CAPACITY_SECONDS), CAPACITY_SECONDS)
    kept = (result.done >= 0) & (result.intended >= WARM_UP_SECONDS * 1e6)
    latency = (result.done - result.intended)[kept] / 1e6
    sent = result.intended[kept] / 1e6
    late = sent > (WARM_UP_SECONDS + LOAD_SECONDS) / 2
    halves = [typical(sent[half], latency[half]) for half in (~late, late)]
    wholes = [float(np.quantile(latency[half], 0.99)) for half in (~late, late)]
    simulated = simulate_closed(
        parameters,
        drawn.full,
        calibration.service,
        slots,
        requests=max(SIMULATED_TURNS * drawn.full, round(SIMULATED_SECONDS * capacity)),
        seed=drawn.seed,
    )
    return Compared(
        model=model,
        drawn=drawn,
        load=load,
        capacity=(capacity + again) / 2,
        capacity_change=again / capacity - 1,
        predicted_capacity=steady_rate(simulated.done, drawn.full),
        achieved=_rate(result, LOAD_SECONDS),
        p50=float(np.median(latency)),
        p99=typical(sent, latency),
        p99_change=halves[1] / halves[0] - 1,
        whole_change=wholes[1] / wholes[0] - 1,
        whole_p99=float(np.quantile(latency, 0.99)),
        predicted=predict(
            calibration.service,
            slots,
            parameters,
            load if isinstance(load, int) else shortened(load).arrivals(),
            drift=calibration.drift,
            seed=drawn.seed,
        ),
    )


def shortened(load: Schedule) -> Schedule:
    """The same load for as long as it takes to simulate it."""
    return replace(load, duration_s=spells(load.rate) / load.rate)


def _rate(result: EngineResult, seconds: float) -> float:
    """Answers a second after the warm-up."""
    done = result.done[result.done >= 0] / 1e6
    within = (done >= WARM_UP_SECONDS) & (done < seconds)
    return float(within.sum()) / (seconds - WARM_UP_SECONDS)


def run(settings: int) -> tuple[list[Compared], list[float]]:
    """All settings compared, and the seconds that each calibration took."""
    found: list[Compared] = []
    seconds: list[float] = []
    drawn = list(draw(settings))
    for place, make in enumerate(MODELS):
        model, x = make()
        name = f"accuracy-{make.__name__}-{os.getpid()}"
        with wb.serve(model, name, num_batch_threads=2) as server, kept_settings(server):
            payload = make_payload(server, x)
            known: Calibration | None = None
            for each in drawn[place :: len(MODELS)]:
                begun = time.monotonic()
                known = calibrate(
                    server, x, max_batch_size=LARGEST, refine=known, keep=False, progress=False
                )
                seconds.append(time.monotonic() - begun)
                found.append(compare(server, payload, make.__name__, known, each))
                _tell(found[-1])
    return found, seconds


def _tell(each: Compared) -> None:
    setting, p99 = each.drawn.parameters, each.predicted.latency["p99"]
    print(
        f"{each.model:>6} {setting.batch_timeout_micros / 1e3:5.1f} ms, {setting.max_batch_size:3}"
        f" rows, {setting.num_batch_threads} threads, "
        f"{'closed' if each.drawn.closed else 'open':>6} {each.utilization:4.0%}: capacity "
        f"{each.capacity:7.0f} {each.capacity_error:+6.1%}, p99 {each.p99 * 1e3:7.2f} ms "
        f"{each.p99_error:+6.0%}, whole {each.whole_p99 * 1e3:.2f} ms "
        f"[{p99.low * 1e3:.2f}, {p99.high * 1e3:.2f}]"
        f"{'' if each.holds else ' OUTSIDE'}",
        flush=True,
    )


def main(arguments: list[str]) -> int:
    """Compare, and write the page; 0 if all targets are met."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--settings", type=int, default=100)
    default = Path(__file__).parents[1] / "docs" / "batching-accuracy.md"
    parser.add_argument("--page", type=Path, default=default)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JUPYTER_DATA_DIR"] = folder
        found, seconds = run(chosen.settings)
    verdicts = judge(found, seconds)
    picture_at = chosen.page.with_suffix(".svg")
    chosen.page.write_text(page(found, verdicts, LOAD_SECONDS, picture_at.name))
    picture_at.write_text(picture(found))
    for line, met in verdicts:
        print(f"{'met   ' if met else 'MISSED'} {line}")
    print(f"written to {chosen.page}")
    return int(not all(met for _, met in verdicts))


def judge(found: list[Compared], seconds: list[float]) -> list[tuple[str, bool]]:
    """Each target in words, and whether it is met."""

    def median(errors: list[float]) -> float:
        return float(np.median(np.abs(errors))) if errors else 0.0

    def p99(found: list[Compared]) -> tuple[float, str]:
        """The median error, and how exact a measurement is."""
        whole = median(
            [each.predicted.latency["p99"].estimate / each.whole_p99 - 1 for each in found]
        )
        return median([each.p99_error for each in found]), (
            f"a second measurement differs by {median([each.p99_change for each in found]):.0%}; "
            f"whole runs: error {whole:.0%}, a second one differs by "
            f"{median([each.whole_change for each in found]):.0%}"
        )

    capacity = median([each.capacity_error for each in found])
    change = median([each.capacity_change for each in found])
    later, about_later = p99([each for each in found if each.delay_micros > 0])
    at_once, about_at_once = p99([each for each in found if each.delay_micros == 0])
    holds = float(np.mean([each.holds for each in found]))
    rates = float(np.mean([each.rate_holds for each in found]))
    return [
        (f"capacity: median error {capacity:.1%} (wanted: at most 5 %; a second measurement "
         f"differs by {change:.1%})", capacity <= 0.05),
        (f"p99 with a delay: median error {later:.1%} (wanted: at most 10 %; {about_later})",
         later <= 0.10),
        (f"p99 without delay: median error {at_once:.1%} (wanted: at most 15 %; {about_at_once})",
         at_once <= 0.15),
        (f"the interval of p99 holds in {holds:.0%} (wanted: at least 90 %)", holds >= 0.90),
        (f"the interval of throughput holds in {rates:.0%} (wanted: at least 90 %)", rates >= 0.90),
        (f"the longest calibration took {max(seconds):.1f} s (wanted: at most 10 s)",
         max(seconds) <= 10.0),
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
