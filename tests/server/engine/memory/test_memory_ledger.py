"""The memory ledger: exact and estimated samples, and the thread that takes them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from workbench.ipc.low_priority import LOWEST
from workbench.server.engine.memory import memory_ledger
from workbench.server.engine.memory.memory_ledger import MemoryLedger, Sample
from workbench.server.engine.memory.memory_reading import Cheap, Reading, read_cheap, read_exact
from workbench.server.engine.memory.process import Process

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
pytestmark = linux
MEBIBYTE = 1024 * 1024
# Files in memory are shared with whatever else runs on the machine, and that comes and goes.
SHARED_FILES = 16 * MEBIBYTE
GONE = 2**22 - 3


@pytest.fixture
def child() -> Iterator[int]:
    """A process that holds 64 MiB of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", "b = b'x' * (64 << 20); print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process.pid
    process.kill()
    process.communicate(timeout=10)


def test_exact_readings_are_those_of_smaps_rollup(child: int) -> None:
    read = read_exact(child)
    assert read is not None
    with open(f"/proc/{child}/smaps_rollup") as file:
        rows = [line.split() for line in file][1:]
    sizes = {row[0]: int(row[1]) * 1024 for row in rows}
    assert (read.pss, read.uss) == pytest.approx(
        (sizes["Pss:"], sizes["Private_Clean:"] + sizes["Private_Dirty:"]), abs=SHARED_FILES
    )
    assert 64 * MEBIBYTE < read.uss <= read.pss < 128 * MEBIBYTE
    assert read.shmem == sizes["Pss_Shmem:"]
    cheap = read_cheap(child)
    assert cheap is not None
    assert 64 * MEBIBYTE < cheap.private < 128 * MEBIBYTE


def test_a_process_that_is_gone_or_a_zombie_has_no_memory() -> None:
    assert (read_exact(GONE), read_cheap(GONE)) == (None, None)
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert read_exact(zombie.pid) is None
    zombie.wait(10)


def test_elsewhere_the_private_memory_stands_for_both(
    child: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = psutil.Process(child).memory_full_info().uss
    monkeypatch.setattr(sys, "platform", "darwin")
    read = read_exact(child)
    assert read is not None
    assert read.pss == read.uss == pytest.approx(private, abs=SHARED_FILES)
    assert read_exact(GONE) is None


def test_measures_every_process_and_keeps_the_samples(child: int) -> None:
    worker = Process(child, "worker", "m", 3)
    ledger = MemoryLedger(lambda: [worker, Process(GONE, "zygote")])
    (sample,) = ledger.measure()
    assert sample.to_json() == {
        "monotonic": sample.monotonic,
        "wall": sample.wall,
        "pid": child,
        "role": "worker",
        "model": "m",
        "version": 3,
        "pss": sample.pss,
        "uss": sample.uss,
        "measured": True,
    }
    read = read_exact(child)
    assert read is not None
    assert (sample.pss, sample.uss) == pytest.approx(read[:2], abs=SHARED_FILES)
    assert ledger.history() == [sample]
    assert ledger.history(sample.monotonic) == []
    ledger.close()


class Readings:
    """Stands in for /proc: what each process is said to take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.exact: dict[int, tuple[int, int]] = {}
        self.cheap: dict[int, int] = {}
        self.exact_reads: list[int] = []
        monkeypatch.setattr(memory_ledger, "read_exact", self._read_exact)
        monkeypatch.setattr(memory_ledger, "read_cheap", self._read_cheap)

    def _read_exact(self, pid: int) -> Reading | None:
        self.exact_reads.append(pid)
        return Reading(*self.exact[pid]) if pid in self.exact else None

    def _read_cheap(self, pid: int) -> Cheap | None:
        return Cheap(self.cheap[pid], 0) if pid in self.cheap else None


def told(samples: list[Sample]) -> list[Any]:
    return [(s.process.pid, s.pss, s.uss, s.measured) for s in samples]


def test_estimates_are_cheap_readings_corrected_by_the_last_exact_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readings = Readings(monkeypatch)
    readings.exact = {1: (100, 80), 3: (9, 9)}
    readings.cheap = {1: 150}
    processes = [Process(pid, "worker") for pid in (1, 2, 3)]
    ledger = MemoryLedger(lambda: processes)
    ledger.measure()
    readings.cheap = {1: 250, 2: 60}
    readings.exact = {1: (0, 0), 2: (40, 30)}
    ledger._estimate()
    readings.cheap[2] = 10
    ledger._estimate()
    assert told(ledger.history()) == [
        (1, 100, 80, True),
        (3, 9, 9, True),
        (1, 200, 180, False),
        (2, 40, 30, False),  # a fresh process is read exactly once
        (1, 200, 180, False),
        (2, 0, 0, False),  # never below nothing
    ]
    del readings.exact[2]
    readings.cheap = {3: 5}
    ledger._estimate()  # nobody knows what it shares: nothing can be said
    assert len(ledger.history()) == 6


def test_who_has_not_changed_is_read_exactly_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readings = Readings(monkeypatch)
    large, little = 2 * MEBIBYTE, 4096
    readings.exact = {1: (100, 80), 2: (70, 60)}
    readings.cheap = {1: 10 * MEBIBYTE, 2: 20 * MEBIBYTE}
    processes = [Process(1, "server"), Process(2, "worker")]
    ledger = MemoryLedger(lambda: processes)
    seconds: list[list[int]] = []
    for second in range(25):
        readings.exact_reads.clear()
        if second == 3:
            readings.cheap[2] += little
        elif second == 5:
            readings.cheap[2] += large
        elif second == 7:
            processes.append(Process(3, "worker"))
            readings.exact[3], readings.cheap[3] = (5, 5), 5
        ledger._tick(100.0 + second)
        seconds.append(list(readings.exact_reads))
    assert {second: read for second, read in enumerate(seconds) if read} == {
        0: [1, 2],
        5: [2],
        7: [1, 2, 3],  # a process more changes what the others share
        17: [1, 2, 3],
    }
    assert told(ledger.history())[:6] == [
        (1, 100, 80, True),
        (2, 70, 60, True),
        (1, 100, 80, False),
        (2, 70, 60, False),
        (1, 100, 80, False),
        (2, 70, 60, False),
    ]


def test_history_is_thinned_evenly_for_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = Readings(monkeypatch)
    readings.exact = {1: (1, 1), 2: (2, 2)}
    processes = [Process(1, "server")]
    ledger = MemoryLedger(lambda: processes)
    for second in range(10):
        if second == 8:
            processes.append(Process(2, "worker"))
        readings.exact[1] = (second, second)
        ledger.measure()
    thinned = ledger.history(points=4)
    assert [s.pss for s in thinned if s.process.pid == 1] == [0, 3, 6, 9]
    assert [s.pss for s in thinned if s.process.pid == 2] == [2, 2]
    assert ledger.history(points=100) == ledger.history()


def test_threads_measure_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = Readings(monkeypatch)
    processes = [Process(pid, "worker") for pid in range(50)]
    readings.exact = dict.fromkeys(range(50), (1, 1))
    readings.cheap = dict.fromkeys(range(50), 1)
    ledger = MemoryLedger(lambda: processes[: 1 + int(time.monotonic_ns() // 1000) % 50])
    errors: list[BaseException] = []

    def measure() -> None:
        try:
            for _ in range(200):
                ledger.measure()
                ledger._estimate()
                ledger._tick(time.monotonic())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=measure) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []


def test_a_thread_samples_finely_while_something_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory_ledger, "FINE_SECONDS", 0.001)
    readings = Readings(monkeypatch)
    readings.exact, readings.cheap = {1: (7, 5)}, {1: 9}
    enough = threading.Event()
    niceness = set()

    def fine() -> bool:
        niceness.add(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        if len(ledger.history()) > 3:
            enough.set()
        return True

    ledger = MemoryLedger(lambda: [Process(1, "server")], fine)
    ledger.start()
    assert enough.wait(30)
    ledger.close()
    assert not ledger._thread.is_alive()
    assert niceness == {max(os.getpriority(os.PRIO_PROCESS, 0), LOWEST)}
    assert told(ledger.history())[:2] == [(1, 7, 5, True), (1, 7, 5, False)]


def test_a_failure_is_told_once_and_sampling_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_ledger, "FINE_SECONDS", 0.001)
    monkeypatch.setattr(memory_ledger, "TICK_SECONDS", 0.001)
    readings = Readings(monkeypatch)
    readings.exact, readings.cheap = {1: (7, 5)}, {1: 9}
    failures: list[str] = []
    calls = 0
    recovered = threading.Event()

    def processes() -> list[Process]:
        nonlocal calls
        calls += 1
        if calls <= 3:
            raise RuntimeError("it was looked at while it changed")
        return [Process(1, "server")]

    ledger = MemoryLedger(
        processes, on_tick=lambda samples: recovered.set(), on_failure=failures.append
    )
    ledger.start()
    assert recovered.wait(30)
    ledger.close()
    assert failures == [
        "The memory ledger failed: RuntimeError('it was looked at while it changed')"
    ]
    assert told(ledger.history())[0] == (1, 7, 5, True)


def test_the_account_adds_up_to_the_machine(child: int) -> None:
    worker = Process(child, "worker", "m", 3, weights=32 * MEBIBYTE, runtime=MEBIBYTE)
    ledger = MemoryLedger(lambda: [worker, Process(os.getpid(), "server")])
    assert ledger.latest is None
    account = ledger.account()
    (machine,) = account.machines
    assert machine.device == "host"
    assert sum(cell.bytes for cell in account.cells) == machine.total
    mine = {c.kind: (c.bytes, c.how) for c in account.cells if c.model == "m"}
    assert mine["weights"] == (32 * MEBIBYTE, "estimated")
    assert mine["runtime"] == (MEBIBYTE, "measured")
    (sample,) = [s for s in ledger.history() if s.process is worker]
    assert sum(size for size, _ in mine.values()) == sample.pss
    assert list(account.notes) == ["host memory only: GPUs are not looked for"]
    ledger.close()
