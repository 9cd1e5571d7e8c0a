"""The memory ledger: what each process of this server really takes.

`smaps_rollup` gives a process's proportional (PSS) and private (USS) memory; reading it walks
its page tables, so it is read once a second. While a version changes, `statm` is read 20 times
a second as well: it is cheap, it does not know what is shared, and so what it gives is
corrected by the last exact reading and marked as estimated.

Sampling has a thread of its own and never blocks an event loop.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

EXACT_SECONDS = 1.0
FINE_SECONDS = 0.05
WORKERS_SECONDS = 0.2
_SAMPLES_KEPT = 20_000
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the server: `role` is ``server``, ``zygote``, ``worker`` or ``codec``."""

    pid: int
    role: str
    model: str | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """The memory of one process at one moment, in bytes; `monotonic` and `wall` in seconds."""

    monotonic: float
    wall: float
    process: Process
    pss: int
    uss: int
    measured: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "monotonic": self.monotonic,
            "wall": self.wall,
            "pid": self.process.pid,
            "role": self.process.role,
            "model": self.process.model,
            "version": self.process.version,
            "pss": self.pss,
            "uss": self.uss,
            "measured": self.measured,
        }


def read_exact(pid: int) -> tuple[int, int] | None:
    """PSS and USS of a process in bytes, or None where it is gone or may not be looked at."""
    if sys.platform != "linux":
        import psutil

        try:
            info = psutil.Process(pid).memory_full_info()
        except psutil.Error:
            return None
        return info.uss, info.uss
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            lines = file.read().splitlines()[1:]
    except OSError:
        return None
    kilobytes = {line.split(b":")[0]: int(line.split()[1]) for line in lines}
    if b"Pss" not in kilobytes:
        return None
    private = kilobytes[b"Private_Clean"] + kilobytes[b"Private_Dirty"]
    return kilobytes[b"Pss"] * 1024, private * 1024


def read_cheap(pid: int) -> int | None:
    """Resident minus file-backed memory in bytes: cheap, and blind to what forks share."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            fields = file.read().split()
    except OSError:
        return None
    return (int(fields[1]) - int(fields[2])) * _PAGE


class MemoryLedger:
    """Samples the processes that `processes()` names, in a thread, until closed.

    `processes` is called from that thread; `fine` says whether something is changing now.
    """

    def __init__(
        self, processes: Callable[[], list[Process]], fine: Callable[[], bool] = lambda: False
    ) -> None:
        self._processes = processes
        self._fine = fine
        self._samples: deque[Sample] = deque(maxlen=_SAMPLES_KEPT)
        # How far the cheap reading was from the exact ones (PSS, USS), by process.
        self._offsets: dict[int, tuple[int, int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory-ledger", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2)

    def measure(self, role: str | None = None) -> list[Sample]:
        """All processes (of one role) now, exactly; also kept in the history. Blocks for
        milliseconds."""
        samples = []
        for process in self._processes():
            if role is not None and process.role != role:
                continue
            read = read_exact(process.pid)
            if read is None:
                continue
            cheap = read_cheap(process.pid)
            if cheap is not None:
                self._offsets[process.pid] = (read[0] - cheap, read[1] - cheap)
            samples.append(self._keep(process, *read, measured=True))
        if role is None:
            living = {s.process.pid for s in samples}
            self._offsets = {pid: o for pid, o in self._offsets.items() if pid in living}
        return samples

    def history(self, since: float = 0.0) -> list[Sample]:
        """Samples later than `since` (monotonic seconds), oldest first."""
        return [s for s in tuple(self._samples) if s.monotonic > since]

    def recent(self, since: float) -> list[Sample]:
        """The same, for a reader who asks often: looks at no more than what is new."""
        found = []
        try:
            for sample in reversed(self._samples):
                if sample.monotonic <= since:
                    break
                found.append(sample)
        except RuntimeError:
            # The sampling thread has added one just now; it can be seen the next time.
            return [s for s in tuple(self._samples) if s.monotonic > since]
        return found[::-1]

    def _run(self) -> None:
        exact_due = workers_due = 0.0
        while not self._stop.is_set():
            now = time.monotonic()
            if now >= exact_due:
                self.measure()
                exact_due = now + EXACT_SECONDS
            elif self._fine():
                if now >= workers_due:
                    # A worker that has just loaded or first run is nothing like it was.
                    self.measure("worker")
                    workers_due = now + WORKERS_SECONDS
                else:
                    self._estimate()
            self._stop.wait(FINE_SECONDS)

    def _estimate(self) -> None:
        for process in self._processes():
            cheap = read_cheap(process.pid)
            if cheap is None:
                continue
            offsets = self._offsets.get(process.pid)
            if offsets is None:
                # A fresh worker: what it shares with the zygote must be known first.
                exact = read_exact(process.pid)
                if exact is None:
                    continue
                offsets = self._offsets[process.pid] = (exact[0] - cheap, exact[1] - cheap)
            self._keep(process, cheap + offsets[0], cheap + offsets[1], measured=False)

    def _keep(self, process: Process, pss: int, uss: int, measured: bool) -> Sample:
        sample = Sample(time.monotonic(), time.time(), process, max(0, pss), max(0, uss), measured)
        self._samples.append(sample)
        return sample
