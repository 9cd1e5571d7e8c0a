"""How much a load is noticed by those whom another version answers meanwhile.

    python -m benchmarks.load_interference [--quick | --rounds N]

The same Poisson arrivals, 30 % of what the slower server can do, go to version 1 of a small MLP;
after a few seconds version 2 is loaded, with 384 MiB of weights or with a large graph:

* in a worker process of low priority, as the server does it,
* in a worker process of usual priority,
* in a thread of the process that answers, with `tf.saved_model.load`.

Rounds of the three alternate. Printed is the rise of the 99th percentile of latency from before the
load to within it, with its bootstrap interval; what arrives within 50 ms is taken to share its
fate.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.load_interference_server import TARGET
from workbench.experiments.load.generator import Closed, LoadJob, LoadResult, run_load
from workbench.load.arrivals import Schedule
from workbench.load.intervals import Interval

BODY = json.dumps({"instances": np.zeros((1, 784)).tolist()}).encode()
SHARED_FATE_SECONDS = 0.05
BEFORE_SECONDS = 3.0
VARIANTS = {
    "a worker, low priority": ("workers", "quiet"),
    "a worker": ("workers", "loud"),
    "a thread of one process": ("one", "loud"),
}


class Peer:
    """One of the two servers, in a process of its own."""

    def __init__(self, mode: str, folder: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load_interference_server", mode, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        )
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline() or self._failed(mode, folder))

    @staticmethod
    def _failed(mode: str, folder: str) -> str:
        command = f"python -m benchmarks.load_interference_server {mode} {folder}"
        sys.exit(f"The server did not start; `{command}` says why")

    def do(self, order: str) -> tuple[float, float]:
        """The wall-clock times at which that began and ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(order, file=self._process.stdin, flush=True)
        began, ended = json.loads(self._process.stdout.readline())
        return began, ended

    def load(self, schedule: Any, connections: int = 64) -> LoadResult:
        job = LoadJob(("127.0.0.1", self._port), TARGET, [BODY], schedule, connections=connections)
        result = run_load(job)
        assert result.succeeded.all(), result.summary()
        return result

    def capacity(self, seconds: float) -> float:
        """Answers a second to 32 callers in a closed loop."""
        result = self.load(Closed(32, seconds))
        return len(result.intended) / result.sent_until_s

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(30)


def one_round(peer: Peer, name: str, rate: float, seconds: float, seed: int) -> NDArray[Any]:
    """One row for each request before or within the load: latency in ms, whether it was within,
    and the time slice whose fate it shares."""
    times: list[tuple[float, float]] = []

    def load_later() -> None:
        time.sleep(BEFORE_SECONDS)
        times.append(peer.do(f"load {name}"))

    loader = threading.Thread(target=load_later)
    loader.start()
    result = peer.load(Schedule("poisson", rate=rate, duration_s=seconds, seed=seed))
    loader.join(180)
    peer.do("unload")
    if result.limited:
        print("(the generator itself was late)", flush=True)
    began, ended = (moment - result.start_monotonic for moment in times[0])
    # The first second finds everything cold.
    kept = (result.intended >= 1.0) & (result.intended < ended)
    within = result.intended >= began
    slices = np.floor(result.intended / SHARED_FATE_SECONDS) + seed * 1e6
    return np.column_stack([result.latency * 1e3, within, slices])[kept]


def rise(values: NDArray[np.float64]) -> float:
    latency, within = values[:, 0], values[:, 1] > 0
    if within.all() or not within.any():
        return 0.0
    return float(np.percentile(latency[within], 99) - np.percentile(latency[~within], 99))


def bootstrap(
    values: NDArray[np.float64],
    batches: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64]], float],
) -> Interval:
    """The 95 % interval of a statistic between the percentiles over 1000 draws of whole batches
    (the cluster bootstrap; Field and Welsh, JRSS B 69(3), 2007). It holds for one look, at the end.

    Args:
        values: shape (n, k): one row a request.
        batches: shape (n,): the batch of each request.
    """
    members = np.unique(batches, return_inverse=True)[1]
    rows = np.split(np.argsort(members, kind="stable"), np.cumsum(np.bincount(members))[:-1])
    random = np.random.default_rng(0)
    draws = []
    for _ in range(1000):
        chosen = random.integers(len(rows), size=len(rows))
        draws.append(statistic(values[np.concatenate([rows[each] for each in chosen])]))
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(float(low), statistic(values), float(high), 0.95)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, default=6, help="of each server and model")
    options = parser.parse_args()
    rounds, seconds = (1, 6.0) if options.quick else (options.rounds, 9.0)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "benchmarks.load_interference_server", "export", folder],
            check=True,
            timeout=300,
            stderr=subprocess.DEVNULL,
        )
        peers: dict[str, Peer] = {}
        try:
            for mode in ("workers", "one"):
                peers[mode] = Peer(mode, folder)
            capacities = {mode: peer.capacity(2.0) for mode, peer in peers.items()}
            rate = 0.3 * min(capacities.values())
            told = ", ".join(f"{mode} {value:,.0f}" for mode, value in capacities.items())
            print(f"capacity: {told} requests/s; the load: {rate:,.0f} requests/s", flush=True)
            rows: dict[tuple[str, str], list[NDArray[Any]]] = {}
            for seed in range(rounds):
                for name in ("weights", "graph"):
                    for variant, (mode, priority) in VARIANTS.items():
                        peers[mode].do(priority)
                        found = one_round(peers[mode], name, rate, seconds, seed)
                        rows.setdefault((name, variant), []).append(found)
        finally:
            for peer in peers.values():
                peer.close()
    for (name, variant), found in rows.items():
        values = np.concatenate(found)
        interval = bootstrap(values[:, :2], values[:, 2], rise)
        before, within = (values[values[:, 1] == flag, 0] for flag in (0, 1))
        print(
            f"{name:>8} in {variant:<24} p99 {np.percentile(before, 99):6.2f} -> "
            f"{np.percentile(within, 99):6.2f} ms, rise {interval.estimate:6.2f} "
            f"[{interval.low:.2f}, {interval.high:.2f}] ms; median "
            f"{np.median(before):.2f} -> {np.median(within):.2f} ms; {len(within)} requests within"
        )


if __name__ == "__main__":
    main()
