"""Detects workers that are alive but do not answer pings, and terminates them.

A process that is stopped, or that spins inside native code while it holds the interpreter lock,
keeps its executor slots, and other models wait with it. Each worker is pinged once a second. One
that does not answer for a while is terminated, and replaced like one that died.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from workbench.core.events import EventLog
from workbench.server.engine.versions.model import Served
from workbench.server.engine.workers.worker_handle import Worker

PING_SECONDS = 1.0
SILENT_SECONDS = 10.0


class Heartbeat:
    """Pings every worker that can answer.

    Args:
        serving: the versions whose worker can answer a ping.
    """

    def __init__(self, serving: Callable[[], Iterable[Served]], events: EventLog) -> None:
        self._serving = serving
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + PING_SECONDS
        self._timer = self._loop.call_later(PING_SECONDS, self._beat)

    def close(self) -> None:
        """Send no more pings."""
        self._timer.cancel()

    def _beat(self) -> None:
        now = self._loop.time()
        # If this loop itself was late (the machine slept, or is overloaded), their silence says
        # nothing.
        late = now - self._due > PING_SECONDS
        for served in list(self._serving()):
            worker = served.worker
            if worker is None:
                continue
            if late:
                worker.excuse()
            silent = worker.silent_seconds()
            if silent > SILENT_SECONDS:
                self._end(served, worker, f"no sign of life for {silent:.0f} s")
            else:
                worker.ping()
        self._due = now + PING_SECONDS
        self._timer = self._loop.call_later(PING_SECONDS, self._beat)

    def end_stuck(self, worker: Worker, seconds: float) -> None:
        """End a worker that is inside a run for too long, though it answers pings."""
        reason = f"a run has taken {seconds:.0f} s, and no request waits for it"
        for served in list(self._serving()):
            if served.worker is worker:
                self._end(served, worker, reason)

    def _end(self, served: Served, worker: Worker, reason: str) -> None:
        self._events.add("worker_hung", *served.id, pid=worker.pid, reason=reason)
        worker.kill()
