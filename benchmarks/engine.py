"""What the server's batching costs: `engine` load against the raw worker call.

A multi-layer perceptron 784-300-100-10 is loaded into a real worker. The raw call sends it
ready-made batches over its lanes, as fast as it answers; then closed-loop callers with one
example each go through the scheduler. Prints examples a second of both, their ratio for a few
batch sizes, and what the scheduler's loop spends on each request, each the median of a few
rounds. One operation uses one thread, so that with fewer slots than CPUs the loop has a CPU of its
own: there the targets hold, and where one is missed this exits with 1. With as many slots it has
to share, and the ratio says so.

    python -m benchmarks.engine
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import uvloop

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.model_settings import ModelConfig
from workbench.server.engine.engine import CoreOptions, ServerCore
from workbench.server.engine.engine_load import EngineLoad, run_engine_load
from workbench.server.engine.versions.model import Served

ROUNDS = 5
SECONDS = 1.0
LEAST_RATIO, MOST_MICROS = 0.85, 12.0
FEATURES = 784
CALLERS = 256
EXPORT = """
import sys, numpy as np, tensorflow as tf
class Mlp(tf.Module):
    def __init__(self):
        super().__init__()
        random = np.random.default_rng(0)
        sizes = [784, 300, 100, 10]
        weights = [random.normal(0, .05, shape) for shape in zip(sizes, sizes[1:])]
        self.w = [tf.Variable(each, dtype=tf.float32) for each in weights]
        self.b = [tf.Variable(np.zeros(n), dtype=tf.float32) for n in sizes[1:]]
    @tf.function(input_signature=[tf.TensorSpec([None, 784], tf.float32, 'images')])
    def __call__(self, images):
        x = images
        for w, b in zip(self.w[:-1], self.b[:-1]):
            x = tf.nn.relu(x @ w + b)
        return {'probabilities': tf.nn.softmax(x @ self.w[-1] + self.b[-1])}
m = Mlp()
tf.saved_model.save(m, sys.argv[1], {'serving_default': m.__call__})
"""


def export(folder: Path) -> Path:
    """Write the model as version 1 below `folder`."""
    subprocess.run(
        [sys.executable, "-c", EXPORT, str(folder / "1")],
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        stderr=subprocess.DEVNULL,
        timeout=120,
    )
    return folder


async def raw_examples_per_second(served: Served, rows: int, slots: int) -> float:
    """Batches of `rows` rows, `slots` at a time, straight over the worker's lanes."""
    worker = served.worker
    assert worker is not None
    batch = {"images": [np.zeros((rows, FEATURES), np.float32)]}
    end = time.perf_counter() + SECONDS
    count = 0
    done = asyncio.Event()
    busy = slots
    loop = asyncio.get_running_loop()

    def send(lane: object) -> None:
        nonlocal count, busy

        def answered(result: object, micros: int) -> None:
            nonlocal count
            count += rows
            loop.call_soon(send, lane)

        if time.perf_counter() < end:
            lane.run("serving_default", batch, (), answered)  # type: ignore[attr-defined]
        else:
            busy -= 1
            if not busy:
                done.set()

    started = time.perf_counter()
    for lane in worker.lanes[:slots]:
        send(lane)
    await asyncio.wait_for(done.wait(), 30)
    return count / (time.perf_counter() - started)


async def measure(folder: Path) -> bool:
    """Whether all targets were met."""
    met = True
    core = ServerCore(CoreOptions())
    core.start()
    manager, scheduler = core.manager, core.scheduler
    try:
        manager.set_model(ModelConfig("mlp", str(folder), intra_op_threads=1))
        manager.poll_soon("mlp", [1])
        while (model := manager.models["mlp"]).ready is None:
            await asyncio.wait_for(manager.changed.wait(), 60)
        served = model.ready
        assert served is not None
        cpus = scheduler.slots
        inputs = [{"images": np.zeros((1, FEATURES), np.float32)}]
        print(f"{cpus} CPUs; {CALLERS} callers in a closed loop, one example a request")
        print(
            f"{'slots':>6} {'batch':>6} {'raw ex/s':>10} {'engine ex/s':>12} {'ratio':>6} "
            f"{'rows':>6} {'us/req':>7}   (wanted with a free CPU: at least {LEAST_RATIO}, under "
            f"{MOST_MICROS:g} us)"
        )
        for slots, rows in product(sorted({1, cpus}), (16, 32, 64)):
            manager.set_slots(slots)
            config = replace(
                manager.models["mlp"].config,
                batching=BatchingParameters(max_batch_size=rows, max_enqueued_batches=CALLERS),
            )
            manager.set_model(config)
            rounds = []
            for _ in range(ROUNDS):
                raw = await raw_examples_per_second(served, rows, slots)
                run = await run_engine_load(
                    manager, scheduler, "mlp", EngineLoad(inputs, CALLERS, SECONDS)
                )
                assert not run.failures, run.failures
                answered = sum(0 <= done <= run.seconds * 1e6 for done in run.done)
                engine = answered / run.seconds
                cost = run.busy_share * run.seconds / answered * 1e6
                mean_rows = float(np.mean([record.rows for record in run.batches]))
                rounds.append((engine / raw, raw, engine, mean_rows, cost))
            ratio, raw, engine, mean_rows, cost = np.median(rounds, axis=0).tolist()
            missed = slots < cpus and (ratio < LEAST_RATIO or cost >= MOST_MICROS)
            met = met and not missed
            print(
                f"{slots:>6} {rows:>6} {raw:>10.0f} {engine:>12.0f} {ratio:>6.2f} "
                f"{mean_rows:>6.1f} {cost:>7.2f}{'   MISSED' if missed else ''}",
                flush=True,
            )
        return met
    finally:
        await core.stop(1.0)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        return int(not uvloop.run(measure(export(Path(folder) / "mlp"))))


if __name__ == "__main__":
    sys.exit(main())
