"""The memory ledger: exact and estimated samples, and the thread that takes them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from workbench.serving import memory
from workbench.serving.memory import MemoryLedger, Process, Sample, read_cheap, read_exact

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
    assert read == pytest.approx(
        (sizes["Pss:"], sizes["Private_Clean:"] + sizes["Private_Dirty:"]), abs=SHARED_FILES
    )
    pss, uss = read
    assert 64 * MEBIBYTE < uss <= pss < 128 * MEBIBYTE
    cheap = read_cheap(child)
    assert cheap is not None
    assert 64 * MEBIBYTE < cheap < 128 * MEBIBYTE


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
    assert read[0] == read[1] == pytest.approx(private, abs=SHARED_FILES)
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
    assert (sample.pss, sample.uss) == pytest.approx(read_exact(child), abs=SHARED_FILES)
    assert ledger.history() == [sample]
    assert ledger.history(sample.monotonic) == []
    ledger.close()


class Readings:
    """Stands in for /proc: what each process is said to take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.exact: dict[int, tuple[int, int]] = {}
        self.cheap: dict[int, int] = {}
        monkeypatch.setattr(memory, "read_exact", lambda pid: self.exact.get(pid))
        monkeypatch.setattr(memory, "read_cheap", lambda pid: self.cheap.get(pid))


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
    ledger._estimate()  # its exact reading is gone: nothing can be said
    assert len(ledger.history()) == 6


def test_a_thread_samples_finely_while_something_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "FINE_SECONDS", 0.001)
    readings = Readings(monkeypatch)
    readings.exact, readings.cheap = {1: (7, 5)}, {1: 9}
    enough = threading.Event()

    def fine() -> bool:
        if len(ledger.history()) > 3:
            enough.set()
        return True

    ledger = MemoryLedger(lambda: [Process(1, "server")], fine)
    ledger.start()
    assert enough.wait(30)
    ledger.close()
    assert not ledger._thread.is_alive()
    assert told(ledger.history())[:2] == [(1, 7, 5, True), (1, 7, 5, False)]
