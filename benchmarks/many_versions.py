"""What thousands of version folders cost: a look at the model's folder, and the p99 of requests.

A model has 1 version folder, or 5000 of which the latest is served. Prints how long one look takes
with both, beside the bare listing of the folder's names; and the 99th percentile of small requests
that come at a steady rate while the folder is looked at ten times a second (a server does so once a
second), with both in turn, as a ratio. Exits with 1 beyond a limit.

    python -m benchmarks.many_versions [--quick]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import uvloop

from benchmarks.limits import Limits
from benchmarks.mlp import save_mlp
from workbench.core.model_settings import ModelConfig
from workbench.core.status import ServingError
from workbench.core.versions.version_policy import VersionPolicy
from workbench.ipc.frames import Tensors
from workbench.server.engine.batching.tasks import Task, now_micros
from workbench.server.engine.engine import CoreOptions, ServerCore
from workbench.server.engine.versions.source import FolderSource

MANY = 5000
POLL_SECONDS = 0.1
REQUESTS_PER_SECOND = 200.0
MOST_LISTINGS = 6.0
"""A look may take so many times as long as the listing of the names, beyond that with one
folder."""
MOST_RISE = 1.25
_SECONDS = 4.0
_LOOKS = 200
_ROUNDS = 15


def fill(base: Path, source: str, versions: int) -> Path:
    """Write version folders; all but the latest share their files with the first."""
    for version in range(1, versions + 1):
        for folder, _, names in os.walk(source):
            target = base / str(version) / os.path.relpath(folder, source)
            target.mkdir(parents=True)
            for name in names:
                os.link(os.path.join(folder, name), target / name)
    return base


def milliseconds(work: Callable[[], object]) -> float:
    """The median of what a call takes."""
    took = []
    for _ in range(_LOOKS):
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
    return statistics.median(took) * 1e3


def look(base: Path) -> float:
    """Milliseconds of a look at a folder in which nothing has changed."""
    folder = FolderSource("m", str(base))
    policy = VersionPolicy()
    for version in (1, MANY):
        folder.trust(version)
    assert folder.poll(policy).aspired
    return milliseconds(lambda: folder.poll(policy))


async def p99(core: ServerCore, base: Path, seconds: float) -> float:
    """The 99th percentile of small requests at a steady rate, in milliseconds."""
    core.manager.set_model(ModelConfig("m", str(base)))
    core.manager.poll_soon("m", [1, MANY])
    while core.manager.models["m"].ready is None:
        await asyncio.sleep(0.05)
    served = core.manager.find("m")
    assert served.queues is not None
    x = np.zeros((1, 784), np.float32)
    took: list[int] = []
    failed: list[ServingError] = []

    def send(intended: int) -> None:
        def answer(result: Tensors | ServingError) -> None:
            if isinstance(result, ServingError):
                failed.append(result)
            took.append(now_micros() - intended)

        assert served.queues is not None
        deadline = now_micros() + 30_000_000
        core.scheduler.submit(
            Task(served.queues, "serving_default", {"x": x}, (), deadline, answer)
        )

    loop = asyncio.get_running_loop()
    await asyncio.sleep(1.0)
    count, began = int(seconds * REQUESTS_PER_SECOND), loop.time() + 0.1
    for number in range(count):
        # Its latency counts from when it should have come, however late the loop is.
        at = began + number / REQUESTS_PER_SECOND
        loop.call_at(at, send, round(at * 1e6))
    while len(took) < count:
        await asyncio.sleep(0.1)
    assert not failed, failed[0]
    core.manager.remove_model("m")
    while "m" in core.manager.models:
        await asyncio.sleep(0.05)
    return float(np.percentile(took, 99)) / 1e3


async def measure(one: Path, many: Path, rounds: int, seconds: float) -> tuple[float, float]:
    """The medians of the p99 with one folder and with many, measured in turn."""
    core = ServerCore(CoreOptions(poll_seconds=POLL_SECONDS))
    core.start()
    found: dict[Path, list[float]] = {one: [], many: []}
    try:
        for _ in range(rounds):
            for base in (one, many):
                found[base].append(await p99(core, base, seconds))
    finally:
        await core.stop(1.0)
    print("p99 of each round, 1 and 5000 folders in turn, ms:")
    print(" ".join(f"{a:.1f}/{b:.1f}" for a, b in zip(found[one], found[many], strict=True)))
    return statistics.median(found[one]), statistics.median(found[many])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two rounds")
    quick = parser.parse_args().quick
    limits = Limits()
    with tempfile.TemporaryDirectory() as folder:
        model = save_mlp(folder)
        one = fill(Path(folder) / "one", model, 1)
        many = fill(Path(folder) / "many", model, MANY)
        listing = milliseconds(lambda: os.listdir(many))
        few_ms, many_ms = look(one), look(many)
        limits.row("the names of 5000 version folders, listed", f"{listing:.2f} ms")
        limits.row("a look at a model's folder, 1 version folder", f"{few_ms:.2f} ms")
        times = (many_ms - few_ms) / listing
        limits.row(
            "a look, 5000 version folders",
            f"{many_ms:.2f} ms: {times:.1f} listings more",
            f"under {MOST_LISTINGS:.0f} listings more",
            times < MOST_LISTINGS,
        )
        before, after = uvloop.run(measure(one, many, 2 if quick else _ROUNDS, _SECONDS))
        limits.row(
            "p99 of small requests, looked at 10 times a second",
            f"{after:.2f} ms / {before:.2f} ms = {after / before:.2f}",
            f"at most {MOST_RISE:.2f} times that with 1",
            after / before <= MOST_RISE,
        )
    return limits.exit_code()


if __name__ == "__main__":
    sys.exit(main())
