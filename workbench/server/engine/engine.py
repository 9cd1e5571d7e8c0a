"""One serving server, without any interface: events, zygote, scheduler, manager, ledger."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.events import Event, EventLog
from workbench.core.memory.budget import size
from workbench.core.memory.memory_limits import MemoryLimits
from workbench.ipc.low_priority import start_quiet_threads
from workbench.processes.limits import schedulable_cpus
from workbench.server.engine.batching.scheduler import BatchScheduler
from workbench.server.engine.memory.gpu import Gpus, Nvml
from workbench.server.engine.memory.memory_ledger import MemoryLedger, Sample
from workbench.server.engine.memory.process import Process
from workbench.server.engine.versions.life.shared import DRAIN_SECONDS
from workbench.server.engine.versions.manager import Manager
from workbench.server.engine.versions.model import Served
from workbench.server.engine.workers.zygote_handle import Zygote

_AFTERMATH_SECONDS = 1.5


@dataclass(frozen=True, kw_only=True)
class CoreOptions:
    """The settings of a server's core."""

    num_batch_threads: int | None = None
    """Executor slots: batches that run at once. None: as many as CPUs."""
    per_version_slots: bool = False
    """Whether each version has that many slots of its own; else all share them."""
    poll_seconds: float = 1.0
    """The time between two looks at each model's folder."""
    read_batching: Callable[[Path], BatchingParameters] | None = None
    """Reads the batching parameters from a file in a version's folder; None: there are none."""
    memory: MemoryLimits = field(default_factory=MemoryLimits)
    """The limits for all versions together."""


class ServerCore:
    """Everything that serves; made and used on one event loop."""

    def __init__(self, options: CoreOptions | None = None) -> None:
        options = options or CoreOptions()
        cpus = schedulable_cpus()
        self.started = time.time()
        self.events = EventLog(lambda: (time.monotonic(), time.time()))
        self.zygote = Zygote(self.events.add)
        self._loop = asyncio.get_running_loop()
        self.gpus = Gpus(
            Nvml(),
            lambda number, why: self._tell("gpu_lost", device=f"gpu:{number}", message=why),
        )
        self.scheduler = BatchScheduler(
            options.num_batch_threads or cpus, per_version_slots=options.per_version_slots
        )
        self.manager = Manager(
            self.events,
            self.zygote,
            self.scheduler,
            self.gpus,
            cpus=cpus,
            poll_seconds=options.poll_seconds,
            read_batching=options.read_batching,
            memory=options.memory,
        )
        self.reservations = self.manager.reservations
        self._last_move = 0.0
        self.events.listen(self._note_move)
        self.ledger = MemoryLedger(
            self.processes,
            self._in_transition,
            gpus=self.gpus,
            waiting=self.reservations.promised,
            on_tick=self._watch_limits,
            on_failure=lambda message: self._tell("ledger_failed", message=message),
        )
        self.extra_processes: dict[str, int | Sequence[int] | None] = {}

    def start(self) -> None:
        """Start the zygote and the memory ledger."""
        start_quiet_threads()
        self.zygote.start()
        self.ledger.start()

    async def stop(self, drain_seconds: float = DRAIN_SECONDS) -> None:
        """Answer what waits, as far as time allows, then end every process."""
        await self.manager.stop(drain_seconds)
        self.scheduler.close()
        self.ledger.close()
        await self.zygote.stop()

    def processes(self) -> list[Process]:
        """The server's own process tree, by role. Safe to call from another thread."""
        found = [Process(os.getpid(), "server")]
        if self.zygote.pid is not None:
            found.append(Process(self.zygote.pid, "zygote"))
        for role, pids in list(self.extra_processes.items()):
            listed = [pids] if isinstance(pids, int) else pids or ()
            found += [Process(pid, role) for pid in listed]
        for served in self.manager.everyone():
            worker = served.worker
            if worker is not None:
                found.append(self._worker_process(worker.pid, *served.id, served))
        return found

    def _worker_process(self, pid: int, model: str, version: int, served: Served) -> Process:
        memory = served.memory
        if memory is None:
            return Process(pid, "worker", model, version)
        return Process(
            pid,
            "worker",
            model,
            version,
            weights=memory.files.weights,
            runtime=None if memory.before is None else memory.before[0],
            device=memory.device,
            reserved=tuple(self.reservations.budget.claim(served.claimant).items()),
            limit=None if memory.limit is None else memory.limit.bytes,
            gpu=memory.gpu,
        )

    def _watch_limits(self, samples: list[Sample]) -> None:
        """End workers that take more than they may; called from the ledger's thread."""
        for sample in samples:
            limit = sample.process.limit
            if limit is not None and sample.uss > limit:
                self._call(partial(self._end_over_limit, sample.process, sample.uss, limit))

    def _end_over_limit(self, process: Process, uss: int, limit: int) -> None:
        message = (
            f"it took {size(uss)} of memory, and the model's memory_limit_bytes is {size(limit)}"
        )
        about: dict[str, Any] = {
            "pid": process.pid,
            "bytes": uss,
            "limit": limit,
            "message": message,
        }
        for served in self.manager.everyone():
            if served.worker is not None and served.worker.pid == process.pid:
                self.events.add("memory_limit", *served.id, **about)
                served.worker.kill(f"ended because {message}")

    def _tell(self, kind: str, **data: Any) -> None:
        """Log an event from another thread."""
        self._call(lambda: self.events.add(kind, **data))

    def _call(self, action: Callable[[], object]) -> None:
        """Do something on the loop, from another thread."""
        # Once the loop has ended, nobody is left to be notified.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(action)

    def _in_transition(self) -> bool:
        """Whether a version changes now, or did a moment ago: its first run takes memory too."""
        return time.monotonic() - self._last_move < _AFTERMATH_SECONDS or any(
            served.harness.public_state.is_moving
            for model in list(self.manager.models.values())
            for served in list(model.versions.values())
        )

    def _note_move(self, event: Event) -> None:
        if event.kind == "state":
            self._last_move = event.monotonic
