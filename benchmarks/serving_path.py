"""The serving path: start, throughput, memory, and small requests beside a huge one.

    python -m benchmarks.serving_path [--quick]

Every figure is a ratio within this run, or is compared with what the design allows; the peers
run one after the other on the same cores, under the same load from the same generator.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

import workbench as wb
from benchmarks.limits import Limits
from benchmarks.mlp import save_mlp
from workbench.experiments.load.generator import Closed, LoadJob, run_load
from workbench.load.arrivals import Schedule

CONNECTIONS = 32
LIMITS = Limits()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round")
    quick = parser.parse_args().quick
    rounds, seconds = (1, 1.0) if quick else (3, 3.0)
    with tempfile.TemporaryDirectory() as folder:
        path = save_mlp(folder)
        start_up(path)
        throughput(path, rounds, seconds)
        large_body(path, rounds, seconds)
        memory(path)
    return LIMITS.exit_code()


def start_up(path: str) -> None:
    imported = statistics.median(
        _timed(lambda: subprocess.run([sys.executable, "-c", "import workbench"], check=True))
        - _timed(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
        for _ in range(5)
    )
    LIMITS.row("import workbench", f"{imported:.3f} s", "under 0.3 s", imported < 0.3)
    x = np.zeros((1, 784), np.float32)
    started = time.monotonic()
    with wb.serve(path, "bench-start") as server:
        server.predict(x)
        first = time.monotonic() - started
        started = time.monotonic()
        server.publish(path)
        server.predict(x)
        warm = time.monotonic() - started
        load = server.versions[2].signatures and server.status()["models"][0]["versions"][0]
        beyond = warm - sum(load["breakdown_seconds"][k] for k in ("graph", "restore", "init"))
        # Another server is another house, with a zygote of its own that imports TensorFlow.
        started = time.monotonic()
        with wb.serve(path, "bench-second") as other:
            other.predict(x)
            second = time.monotonic() - started
    LIMITS.row("first start of all, to the first answer", f"{first:.2f} s", "under 6 s", first < 6)
    LIMITS.row(
        "warm: a new version, to its first answer",
        f"{beyond:.2f} s",
        "under 1 s beyond its load",
        beyond < 1,
    )
    LIMITS.row(
        "a second server beside it, to its first answer", f"{second:.2f} s", "under 6 s", second < 6
    )


def throughput(path: str, rounds: int, seconds: float) -> None:
    x = np.random.default_rng(0).random((1, 784)).round(6).tolist()
    body = json.dumps({"instances": x}).encode()
    rates: dict[str, list[float]] = {"echo": [], "workbench": [], "tornado": []}
    with (
        wb.serve(path, "bench-rate") as server,
        _peer("echo") as echo,
        _peer("tornado", path) as tornado,
    ):
        entry = server.control.entry()
        targets = {"echo": echo, "workbench": entry.port, "tornado": tornado}
        for _ in range(rounds):
            for name, port in targets.items():
                job = LoadJob(
                    ("127.0.0.1", port),
                    "/v1/models/bench-rate:predict",
                    [body],
                    Closed(CONNECTIONS, seconds),
                    {"Authorization": f"Bearer {entry.token}"},
                )
                result = run_load(job)
                assert result.succeeded.all(), result.summary()
                rates[name].append(len(result.intended) / result.sent_until_s)
    ours = rates["workbench"]
    to_echo = statistics.median(o / e for o, e in zip(ours, rates["echo"], strict=True))
    to_tornado = statistics.median(o / t for o, t in zip(ours, rates["tornado"], strict=True))
    for name, values in rates.items():
        LIMITS.row(
            f"{name}, {CONNECTIONS} connections", f"{statistics.median(values):,.0f} requests/s"
        )
    LIMITS.row("of the bare echo", f"{to_echo:.0%}", "at least 15 %", to_echo >= 0.15)
    LIMITS.row("times the tornado server", f"{to_tornado:.1f}", "at least 5", to_tornado >= 5)


def large_body(path: str, rounds: int, seconds: float) -> None:
    """p99 of small requests alone, and while 50 MB of JSON arrive again and again. Rounds of both
    alternate, so that a slow minute of the machine harms both alike."""
    small = json.dumps({"instances": np.zeros((1, 784)).tolist()}).encode()
    numbers = np.random.default_rng(0).random((7000, 784)).round(6).tolist()
    large = json.dumps({"instances": numbers}).encode()
    with wb.serve(path, "bench-large") as server:
        entry = server.control.entry()
        headers = {"Authorization": f"Bearer {entry.token}"}
        target = "/v1/models/bench-large:predict"

        def p99(seed: int) -> float:
            job = LoadJob(
                ("127.0.0.1", entry.port),
                target,
                [small],
                Schedule("poisson", rate=300.0, duration_s=2 * seconds, seed=seed),
                headers,
            )
            result = run_load(job)
            assert result.succeeded.all(), result.summary()
            return float(np.percentile(result.latency, 99))

        p99(0)
        alone, beside = [], []
        for seed in range(1, rounds + 1):
            alone.append(p99(seed))
            with sending(entry.port, target, large, headers):
                beside.append(p99(seed))
    before, during = statistics.median(alone), statistics.median(beside)
    LIMITS.row(
        f"p99 of small requests beside {len(large) / 2**20:.0f} MB bodies",
        f"{during / before:.1f} times ({before * 1e3:.1f} -> {during * 1e3:.1f} ms)",
        "at most 2 times",
        during / before <= 2,
    )


@contextmanager
def sending(
    port: int, target: str, body: bytes, headers: dict[str, str], status: int = 200
) -> Iterator[None]:
    """One body after the other arrives, each over a connection of its own; all are answered with
    `status`."""
    stop = threading.Event()
    answers: list[int] = []

    def send() -> None:
        while not stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("POST", target, body, headers)
            answer = connection.getresponse()
            answer.read()
            answers.append(answer.status)
            connection.close()

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        stop.set()
        sender.join(60)
    assert set(answers) == {status}, answers


def memory(path: str) -> None:
    with wb.serve(path, "bench-memory") as server:
        server.predict(np.zeros((1, 784), np.float32))
        time.sleep(0.5)
        before = server.memory()
        weights = 4 * (784 * 300 + 300 * 100 + 100 * 10)
        serving = before[before["role"] == "server"]["pss"].sum()
        worker = before[before["role"] == "worker"]["uss"].sum() - weights
        total = before["pss"].sum()
        for _ in range(3):
            server.publish(path)
            server.predict(np.zeros((1, 784), np.float32))
        time.sleep(0.5)
        after = server.memory()["pss"].sum()
    megabytes = {"serving": serving / 2**20, "worker": worker / 2**20}
    LIMITS.row(
        "server process, PSS",
        f"{megabytes['serving']:.0f} MB",
        "under 120 MB",
        megabytes["serving"] < 120,
    )
    LIMITS.row(
        "worker beyond its weights, USS",
        f"{megabytes['worker']:.0f} MB",
        "under 60 MB",
        megabytes["worker"] < 60,
    )
    LIMITS.row(
        "PSS of all after three changes of version",
        f"{after / total - 1:+.1%}",
        "within 5 %",
        abs(after / total - 1) <= 0.05,
    )


@contextmanager
def _peer(*arguments: str) -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.peers", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def _timed(call: object) -> float:
    started = time.monotonic()
    call()  # type: ignore[operator]
    return time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
