"""How long the first answers of a new version take, beside its later ones.

    python -m benchmarks.first_answers [--quick | --rounds N]

Eight callers ask a served MLP all the time, each for one row; then its next version is published
and takes over under smooth. The figure is the 99th percentile of the first 200 requests that the
new version answers, divided by that of those it answers from the second second on: for a usual
model, and for one that XLA compiles for each size of a batch. The median over the rounds counts;
the limit is 1.5, and 2 for the compiled model.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from workbench.core.model_settings import ModelConfig
from workbench.core.status import ServingError
from workbench.ipc.frames import Tensors
from workbench.server.engine.batching.tasks import Task, now_micros
from workbench.server.engine.engine import CoreOptions, ServerCore

CALLERS = 8
FIRST = 200
LATER_SECONDS = 1.0
MEASURED_SECONDS = 4.0
BEFORE_SECONDS = 1.0
_WAIT_SECONDS = 120.0
LIMITS = {"plain": 1.5, "compiled": 2.0}


def export(folder: str) -> None:
    """Write both models, each as two versions of other weights."""
    import tensorflow as tf

    rng = np.random.default_rng(5)
    sizes = (784, 300, 100, 10)

    def model(compiled: bool) -> Any:
        class Mlp(tf.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weights = [
                    tf.Variable(rng.normal(0, 0.1, shape), dtype=tf.float32)
                    for shape in pairwise(sizes)
                ]

            @tf.function(
                input_signature=[tf.TensorSpec([None, 784], tf.float32, "x")],
                jit_compile=compiled or None,
            )
            def classify(self, x: Any) -> Any:
                for weights in self.weights[:-1]:
                    x = tf.nn.relu(x @ weights)
                return {"y": tf.nn.softmax(x @ self.weights[-1])}

        return Mlp()

    for name in LIMITS:
        for version in (1, 2):
            made = model(name == "compiled")
            tf.saved_model.save(
                made, f"{folder}/{name}/{version}", {"serving_default": made.classify}
            )


class Answers:
    """The latencies (seconds) of the requests that version 2 has answered, and when each came
    (seconds after the first)."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.took: list[float] = []

    def ratio(self) -> tuple[float, float, float]:
        """p99 of the first ones and of the later ones, in seconds, and the quotient."""
        at, took = np.array(self.at), np.array(self.took)
        first, later = took[:FIRST], took[at - at[0] >= LATER_SECONDS]
        p99s = float(np.percentile(first, 99)), float(np.percentile(later, 99))
        return *p99s, p99s[0] / p99s[1]


async def measure(versions: Path) -> Answers:
    """One change of versions under load."""
    core = ServerCore(CoreOptions(poll_seconds=3600.0))
    core.start()
    answers, ended = Answers(), asyncio.Event()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        shutil.copytree(versions / "1", base / "1")
        core.manager.set_model(ModelConfig("m", str(base)))
        core.manager.poll_soon("m", [1])
        await _serves(core, 1)
        callers = [asyncio.ensure_future(_ask(core, answers, ended, n)) for n in range(CALLERS)]
        try:
            await asyncio.sleep(BEFORE_SECONDS)
            shutil.copytree(versions / "2", base / "beside")
            (base / "beside").rename(base / "2")
            core.manager.poll_soon("m", [1, 2])
            await _serves(core, 2)
            await asyncio.sleep(MEASURED_SECONDS)
        finally:
            ended.set()
            await asyncio.wait(callers)
            await core.stop()
    return answers


async def _serves(core: ServerCore, version: int) -> None:
    end = time.monotonic() + _WAIT_SECONDS
    while True:
        ready = core.manager.models["m"].ready
        if ready is not None and ready.id.version == version:
            return
        assert time.monotonic() < end, f"version {version} was not there in time"
        await asyncio.sleep(0.01)


async def _ask(core: ServerCore, answers: Answers, ended: asyncio.Event, seed: int) -> None:
    loop = asyncio.get_running_loop()
    x = np.random.default_rng(seed).random((1, 784)).astype(np.float32)
    while not ended.is_set():
        served = core.manager.find("m")
        done: asyncio.Future[None] = loop.create_future()

        def answer(result: Tensors | ServingError, done: asyncio.Future[None] = done) -> None:
            if isinstance(result, ServingError):
                done.set_exception(result)
            else:
                done.set_result(None)

        assert served.queues is not None
        began = time.monotonic()
        core.scheduler.submit(
            Task(served.queues, "serving_default", {"x": x}, (), now_micros() + 10**7, answer)
        )
        await done
        if served.id.version == 2:
            answers.at.append(began)
            answers.took.append(time.monotonic() - began)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--export", metavar="FOLDER", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.export:
        export(arguments.export)
        return 0
    beyond = False
    with tempfile.TemporaryDirectory() as folder:
        quiet = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}
        subprocess.run(
            [sys.executable, "-m", "benchmarks.first_answers", "--export", folder],
            check=True,
            env=quiet,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name, limit in LIMITS.items():
            ratios = []
            for _ in range(1 if arguments.quick else arguments.rounds):
                first, later, ratio = uvloop.run(measure(Path(folder, name))).ratio()
                ratios.append(ratio)
                print(
                    f"{name}: p99 of the first {FIRST} {first * 1e3:.2f} ms, later "
                    f"{later * 1e3:.2f} ms: {ratio:.2f} times",
                    flush=True,
                )
            median = float(np.median(ratios))
            beyond |= median > limit
            print(f"{name}: median {median:.2f} times (limit {limit})")
    return int(beyond)


if __name__ == "__main__":
    sys.exit(main())
