"""What the memory ledger costs: processor time of its thread, as a share of one core.

One server with a large and a small model, at rest: the server process's own time in a while with
the ledger, against the same without. Prints both, and what one exact reading of each process
takes, which is why not all are read every second.

    python benchmarks/ledger_cost.py
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from workbench.core.model_settings import ModelConfig
from workbench.server.engine.engine import CoreOptions, ServerCore
from workbench.server.engine.memory.memory_reading import read_cheap, read_exact

SECONDS = 30.0
EXPORT = """
import sys
import tensorflow as tf

class Big(tf.Module):
    def __init__(self):
        super().__init__()
        self.weights = tf.Variable(tf.random.normal([100 * 2**20]))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def first(self, x):
        return {"y": x * self.weights[0]}

big = Big()
tf.saved_model.save(big, sys.argv[1], {"serving_default": big.first})
"""


def cost_of(reader: object, pid: int, times: int = 20) -> float:
    """Milliseconds that reading a process takes."""
    started = time.perf_counter()
    for _ in range(times):
        reader(pid)  # type: ignore[operator]
    return (time.perf_counter() - started) / times * 1e3


async def busy_share() -> float:
    before, started = time.process_time(), time.perf_counter()
    await asyncio.sleep(SECONDS)
    return (time.process_time() - before) / (time.perf_counter() - started)


async def measure(base: Path) -> None:
    core = ServerCore(CoreOptions(poll_seconds=3600.0))
    core.start()
    try:
        core.manager.set_model(ModelConfig("big", str(base)))
        core.manager.poll_soon("big", [1])
        while core.manager.models["big"].ready is None:
            await asyncio.sleep(0.1)
        await asyncio.sleep(5)
        print(f"{'process':<10} {'exact':>10} {'cheap':>10}")
        for process in core.processes():
            exact, cheap = cost_of(read_exact, process.pid), cost_of(read_cheap, process.pid)
            print(f"{process.role:<10} {exact:7.2f} ms {cheap:7.3f} ms")
        samples = len(core.ledger.history())
        with_ledger = await busy_share()
        rows = core.ledger.history()[samples:]
        core.ledger.close()
        without = await busy_share()
        exact_rows = sum(row.measured for row in rows)
        print(f"in {SECONDS:.0f} s: {len(rows)} samples, {exact_rows} of them exact")
        print(
            f"server process: {with_ledger:.2%} of a core with the ledger, {without:.2%} without: "
            f"the ledger costs {with_ledger - without:.2%}"
        )
    finally:
        await core.stop(0.1)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-c", EXPORT, os.path.join(folder, "1")],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
            check=True,
        )
        asyncio.run(measure(Path(folder)))


if __name__ == "__main__":
    main()
