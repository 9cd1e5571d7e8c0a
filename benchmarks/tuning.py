"""How often `Server.tune` is right on a machine that is busy with something else.

    python -m benchmarks.tuning [--runs 20]

Three models that differ in kind are tuned for a 99th percentile at three loads each, while another
process takes one core at random times: it computes for about a second, then rests for about a
second. Each answer is checked by a long measurement of the setting found: "meets" is right if the
99th percentile of half a minute is within the latency and nothing was rejected, "does not meet" if
the closest setting is beyond it. "Not sure yet" is counted apart.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

import numpy as np

import workbench as wb
from workbench.experiments.load.measure import measure
from workbench.experiments.load.server_load import make_payload
from workbench.load.arrivals import Schedule

CHECK_WINDOWS, CHECK_SECONDS = 6, 5.0
_BUSY = """
import random, sys, time
draw = random.Random(int(sys.argv[1]))
while True:
    end = time.monotonic() + draw.expovariate(1.0)
    while time.monotonic() < end:
        sum(range(10_000))
    time.sleep(draw.expovariate(1.0))
"""


def small() -> tuple[Any, np.ndarray]:
    """A perceptron with one hidden layer, whose input has no name."""
    import keras

    layers = keras.layers
    model = keras.Sequential([layers.Input((784,)), layers.Dense(64), layers.Dense(10)])
    return model, np.random.default_rng(0).random((64, 784), np.float32)


def wide() -> tuple[Any, np.ndarray]:
    """Three wide layers: a batch costs little more than one row."""
    import keras

    layers = keras.layers
    model = keras.Sequential([layers.Input((512,)), *(layers.Dense(1500) for _ in range(3))])
    return model, np.random.default_rng(1).random((64, 512), np.float32)


def images() -> tuple[Any, np.ndarray]:
    """A small convolutional network: a batch costs nearly as much as its rows one by one."""
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    return model, np.random.default_rng(2).random((64, 28, 28, 1), np.float32)


CASES: tuple[tuple[Callable[[], tuple[Any, np.ndarray]], float, float], ...] = (
    *((small, 25.0, rate) for rate in (100.0, 500.0, 2000.0)),
    *((wide, 60.0, rate) for rate in (50.0, 150.0, 300.0)),
    *((images, 60.0, rate) for rate in (50.0, 150.0, 300.0)),
    (images, 0.5, 100.0),
)
"""A model, the wanted milliseconds and requests a second; the last one cannot be met."""


def main(arguments: list[str]) -> int:
    """Run the cases in turn, and print each answer with its check; 0 if 19 of 20 are right."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args(arguments).runs
    found = []
    for number, (make, p99_ms, rate) in enumerate(islice(cycle(CASES), runs)):
        found.append(_checked(number, make, p99_ms, rate))
        print(found[-1][1], flush=True)
    right = sum(verdict is True for verdict, _ in found)
    unsure = sum(verdict is None for verdict, _ in found)
    print(f"{right} of {runs} right, {unsure} not sure, {runs - right - unsure} wrong")
    return int(right < 0.95 * runs)


def _checked(
    number: int, make: Callable[[], tuple[Any, np.ndarray]], p99_ms: float, rate: float
) -> tuple[bool | None, str]:
    model, x = make()
    busy = subprocess.Popen([sys.executable, "-c", _BUSY, str(number)])
    try:
        with wb.serve(model, f"tuning-{os.getpid()}", num_batch_threads=2) as server:
            begun = time.monotonic()
            tuned = server.tune(
                p99_ms=p99_ms, rate=rate, payload=x, seed=number, keep=False, progress=False
            )
            seconds = time.monotonic() - begun
            server.batching = tuned.parameters
            long, lost = _long(server, x, rate, number)
    finally:
        busy.kill()
        busy.wait()
    true = long <= p99_ms and not lost
    right = None if tuned.meets is None else tuned.meets is true
    words = {True: "right", False: "WRONG", None: "not sure"}[right]
    setting = tuned.parameters
    return right, (
        f"{words:>8}: {make.__name__}, {p99_ms:g} ms at {rate:g}/s: "
        f"{ {True: 'meets', False: 'does not meet', None: 'not sure yet'}[tuned.meets] } with "
        f"{setting.batch_timeout_micros} us, {setting.max_batch_size} in {seconds:.0f} s; measured "
        f"{tuned.measured[0].percentile('p99') * 1e3:.1f} ms, in {CHECK_WINDOWS * CHECK_SECONDS:g} "
        f"s {long:.1f} ms, {lost} lost"
    )


def _long(server: wb.Server, x: np.ndarray, rate: float, seed: int) -> tuple[float, int]:
    """The 99th percentile in milliseconds, and the requests that were not answered."""
    payload = make_payload(server, x)
    latencies, lost = [], 0
    for turn in range(CHECK_WINDOWS):
        schedule = Schedule("poisson", rate, CHECK_SECONDS, seed=1000 * seed + turn)
        window = measure(server, payload, schedule, CHECK_SECONDS, "engine")
        latencies.append(window.latency)
        lost += sum(window.failures.values())
        time.sleep(random.Random(turn).random())
    return float(np.quantile(np.concatenate(latencies), 0.99)) * 1e3, lost


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
