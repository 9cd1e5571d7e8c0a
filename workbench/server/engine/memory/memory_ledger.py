"""The memory ledger: how much memory each process of this server uses, and how much is left.

Every process is sampled once a second. An exact reading walks its page tables. So a process whose
resident memory has not changed since the last exact reading is not read again for ten seconds: its
last figures are repeated, and marked as estimated. While a version changes, workers are read
exactly five times a second, and `statm` 20 times; its figures are corrected by the last exact
reading and marked as estimated too. `measure` always reads exactly.

Sampling has a thread of its own and never blocks an event loop.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from workbench.core.memory.ledger import Cell, Holding, Machine, reconcile
from workbench.ipc.low_priority import LOWEST, lower_priority
from workbench.server.engine.memory.gpu import Gpus
from workbench.server.engine.memory.memory_reading import (
    Cheap,
    Reading,
    read_cheap,
    read_exact,
    read_machine,
)
from workbench.server.engine.memory.process import Process

TICK_SECONDS = 1.0
EXACT_SECONDS = 10.0
FINE_SECONDS = 0.05
WORKERS_SECONDS = 0.2
_SAMPLES_KEPT = 20_000
# Pages come and go in every process; this much does not make the last reading wrong.
_UNCHANGED_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """The memory of one process at one moment, in bytes; `monotonic` and `wall` in seconds."""

    monotonic: float
    wall: float
    process: Process
    pss: int
    uss: int
    measured: bool
    shmem: int = 0

    def to_json(self) -> dict[str, Any]:
        """The sample with its process's identity, for a list or columns."""
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


@dataclass(frozen=True)
class Account:
    """The whole ledger at one moment: its cells add up to each machine's `total`.

    `notes` say what could not be looked at, and why.
    """

    monotonic: float
    machines: Sequence[Machine]
    cells: Sequence[Cell]
    notes: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Machines, cells and notes, for clients."""
        return {
            "monotonic": self.monotonic,
            "machines": [machine._asdict() for machine in self.machines],
            "cells": [cell.to_json() for cell in self.cells],
            "notes": list(self.notes),
        }


class _Last(NamedTuple):
    """The last exact reading of a process, and the `statm` figures of the same moment."""

    reading: Reading
    cheap: Cheap | None

    def now(self, cheap: Cheap) -> tuple[int, int]:
        """PSS and USS by a later cheap reading."""
        assert self.cheap is not None
        moved = cheap.private - self.cheap.private
        return self.reading.pss + moved, self.reading.uss + moved

    def unchanged(self, cheap: Cheap | None) -> bool:
        return (
            cheap is not None
            and self.cheap is not None
            and abs(cheap.resident - self.cheap.resident) < _UNCHANGED_BYTES
            and abs(cheap.shared - self.cheap.shared) < _UNCHANGED_BYTES
        )


@dataclass(eq=False)
class MemoryLedger:
    """Samples the processes that `processes()` names, in a thread, until closed.

    Attributes:
        processes: called from that thread.
        fine: whether something is changing now.
        gpus: the GPUs, looked at from that thread alone.
        waiting: (device, bytes) reserved for versions that have no process yet.
        on_tick: called from the thread with each second's samples.
        on_failure: called with a message if the thread fails; it goes on.
    """

    processes: Callable[[], list[Process]]
    fine: Callable[[], bool] = lambda: False
    gpus: Gpus = field(default_factory=lambda: Gpus(None))
    waiting: Callable[[], list[tuple[str, int]]] = list
    on_tick: Callable[[list[Sample]], None] = lambda samples: None
    on_failure: Callable[[str], None] = lambda message: None
    latest: Account | None = field(default=None, init=False)
    """The whole ledger as of the last second; None before the first."""

    def __post_init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=_SAMPLES_KEPT)
        # `measure` is called from other threads.
        self._lock = threading.Lock()
        self._last: dict[int, _Last] = {}
        self._everything_due = 0.0
        self._failed: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory-ledger", daemon=True)

    def start(self) -> None:
        """Start the sampling thread."""
        self._thread.start()

    def close(self) -> None:
        """End the sampling thread, waiting at most two seconds for it."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2)

    def measure(self, role: str | None = None) -> list[Sample]:
        """All processes (of one role) now, exactly; also kept in the history. Blocks for
        milliseconds."""
        with self._lock:
            wanted = [p for p in self.processes() if role in (None, p.role)]
            samples = [sample for each in wanted if (sample := self._read(each)) is not None]
            if role is None:
                self._forget({s.process.pid for s in samples})
            return samples

    def history(self, since: float = 0.0, points: int | None = None) -> list[Sample]:
        """Samples later than `since` (monotonic seconds), oldest first; with `points`, about so
        many of each process at most, evenly thinned."""
        found = [s for s in tuple(self._samples) if s.monotonic > since]
        if points is None:
            return found
        count = Counter(sample.process.pid for sample in found)
        steps = {pid: -(-have // points) for pid, have in count.items()}
        seen: Counter[int] = Counter()
        thinned = []
        for sample in found:
            pid = sample.process.pid
            if seen[pid] % steps[pid] == 0:
                thinned.append(sample)
            seen[pid] += 1
        return thinned

    def account(self) -> Account:
        """The whole ledger now, with exact readings. Blocks for milliseconds."""
        return self._reconciled(self.measure())

    def _reconciled(self, samples: Sequence[Sample]) -> Account:
        gpu_machines, gpu_holdings, notes = self.gpus.look([s.process for s in samples])
        machines = [read_machine(), *gpu_machines]
        holdings = [*map(_holding, samples), *gpu_holdings]
        cells = reconcile(machines, holdings, self.waiting())
        return Account(time.monotonic(), machines, cells, notes)

    def recent(self, since: float) -> list[Sample]:
        """Samples later than `since`, for a caller that asks often: only looks at the new ones."""
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
        # Reading a large process takes milliseconds inside the kernel.
        lower_priority(LOWEST)
        tick_due = workers_due = 0.0
        while not self._stop.is_set():
            try:
                now = time.monotonic()
                self.gpus.catch_up()
                if now >= tick_due:
                    tick_due = now + TICK_SECONDS
                    self.gpus.sample()
                    samples = self._tick(now)
                    self.latest = self._reconciled(samples)
                    self.on_tick(samples)
                elif self.fine():
                    if now >= workers_due:
                        # A worker that has just loaded or first run is nothing like it was.
                        workers_due = now + WORKERS_SECONDS
                        self.on_tick(self.measure("worker"))
                    else:
                        self._estimate()
            except Exception as error:
                # Without its ledger a server would go on blind: say so, and try again.
                message = f"The memory ledger failed: {error!r}"
                if message != self._failed:
                    self._failed = message
                    self.on_failure(message)
                self._stop.wait(TICK_SECONDS)
            self._stop.wait(FINE_SECONDS)

    def _tick(self, now: float) -> list[Sample]:
        """Every process once: exactly where that is needed, else as it was."""
        with self._lock:
            processes = self.processes()
            # A process more or less changes what each of the others shares with it.
            everything = now >= self._everything_due or self._last.keys() != {
                process.pid for process in processes
            }
            if everything:
                self._everything_due = now + EXACT_SECONDS
            samples = []
            for process in processes:
                last = self._last.get(process.pid)
                if everything or last is None or not last.unchanged(read_cheap(process.pid)):
                    sample = self._read(process)
                else:
                    sample = self._keep(process, last.reading, measured=False)
                if sample is not None:
                    samples.append(sample)
            self._forget({s.process.pid for s in samples})
            return samples

    def _estimate(self) -> None:
        with self._lock:
            for process in self.processes():
                cheap = read_cheap(process.pid)
                if cheap is None:
                    continue
                last = self._last.get(process.pid)
                if last is None or last.cheap is None:
                    # A fresh worker: what it shares with the zygote must be known first.
                    exact = read_exact(process.pid)
                    if exact is None:
                        continue
                    last = self._last[process.pid] = _Last(exact, cheap)
                pss, uss = last.now(cheap)
                reading = last.reading._replace(pss=pss, uss=uss)
                self._keep(process, reading, measured=False)

    def _read(self, process: Process) -> Sample | None:
        reading = read_exact(process.pid)
        if reading is None:
            return None
        self._last[process.pid] = _Last(reading, read_cheap(process.pid))
        return self._keep(process, reading, measured=True)

    def _forget(self, living: set[int]) -> None:
        self._last = {pid: last for pid, last in self._last.items() if pid in living}

    def _keep(self, process: Process, reading: Reading, measured: bool) -> Sample:
        sample = Sample(
            time.monotonic(),
            time.time(),
            process,
            max(0, reading.pss),
            max(0, reading.uss),
            measured,
            reading.shmem,
        )
        self._samples.append(sample)
        return sample


def _holding(sample: Sample) -> Holding:
    process = sample.process
    on_host = process.device == "host"
    return Holding(
        device="host",
        owner=process.role,
        total=sample.pss,
        measured=sample.measured,
        model=process.model,
        version=process.version,
        pid=process.pid,
        weights=process.weights if on_host else 0,
        shared=sample.shmem,
        common=max(0, sample.pss - sample.uss - sample.shmem),
        overhead=process.runtime or 0,
        reserved=dict(process.reserved).get("host", 0),
    )
