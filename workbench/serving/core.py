"""One serving server, without any interface: events, zygote, scheduler, manager, ledger."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.core.batching_parameters import BatchingParameters
from workbench.core.events import Event, EventLog
from workbench.core.states import PublicState
from workbench.serving.lifecycle import DRAIN_SECONDS
from workbench.serving.loading import LOAD_SECONDS
from workbench.serving.manager import Manager
from workbench.serving.memory import MemoryLedger, Process
from workbench.serving.scheduler import BatchScheduler
from workbench.serving.zygote import Zygote

_AFTERMATH_SECONDS = 1.5


def schedulable_cpus() -> int:
    """CPUs that this process may use (TensorFlow's `MaxParallelism`)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class CoreOptions:
    """`num_batch_threads` None: as many executor slots as CPUs; `poll_seconds`: of folders;
    `read_batching`: reads a version's own batching parameters from a file; `load_seconds`: the
    longest that loading a version may take; `per_version_slots`: the slots are of each version, and
    not of all together."""

    num_batch_threads: int | None = None
    poll_seconds: float = 1.0
    read_batching: Callable[[Path], BatchingParameters] | None = None
    load_seconds: float = LOAD_SECONDS
    per_version_slots: bool = False


class ServerCore:
    """Everything that serves; made and used on one event loop."""

    def __init__(self, options: CoreOptions | None = None) -> None:
        options = options or CoreOptions()
        cpus = schedulable_cpus()
        self.started = time.time()
        self.events = EventLog(lambda: (time.monotonic(), time.time()))
        self.zygote = Zygote(self._zygote_event)
        self.scheduler = BatchScheduler(
            options.num_batch_threads or cpus, per_version_slots=options.per_version_slots
        )
        self.manager = Manager(
            self.events,
            self.zygote,
            self.scheduler,
            cpus,
            options.poll_seconds,
            options.read_batching,
            options.load_seconds,
        )
        self._last_move = 0.0
        self.events.listen(self._note_move)
        self.ledger = MemoryLedger(self.processes, self._in_transition)
        self.extra_processes: dict[str, int | None] = {}

    def start(self) -> None:
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
        for role, pid in list(self.extra_processes.items()):
            if pid is not None:
                found.append(Process(pid, role))
        for model in list(self.manager.models.values()):
            for version, served in list(model.versions.items()):
                worker = served.worker
                if worker is not None:
                    found.append(Process(worker.pid, "worker", model.name, version))
        return found

    def _in_transition(self) -> bool:
        """Whether a version changes now, or has a moment ago: its first run takes memory too."""
        if time.monotonic() - self._last_move < _AFTERMATH_SECONDS:
            return True
        moving = (PublicState.LOADING, PublicState.UNLOADING)
        return any(
            served.harness.public_state in moving
            for model in list(self.manager.models.values())
            for served in list(model.versions.values())
        )

    def _note_move(self, event: Event) -> None:
        if event.kind == "state":
            self._last_move = event.monotonic

    def _zygote_event(self, kind: str, data: dict[str, Any]) -> None:
        self.events.add(kind, **data)
