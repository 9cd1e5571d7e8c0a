"""Workers that live and do nothing: noticed by what they do not answer, and ended.

A process that is stopped, or spins inside native code with the interpreter lock, keeps its executor
slots, and the other models wait with it. It is asked for a sign of life once a second; one that is
silent for long is ended, and replaced like one that died.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from workbench.core.events import EventLog
from workbench.server.engine.versions.model import Served

PING_SECONDS = 1.0
SILENT_SECONDS = 10.0


class Heartbeat:
    """Asks every worker that serves.

    Args:
        serving: the versions that have a worker which can be asked.
    """

    def __init__(self, serving: Callable[[], Iterable[Served]], events: EventLog) -> None:
        self._serving = serving
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + PING_SECONDS
        self._timer = self._loop.call_later(PING_SECONDS, self._beat)

    def close(self) -> None:
        self._timer.cancel()

    def _beat(self) -> None:
        now = self._loop.time()
        # Where we were late ourselves (the machine was asleep, or has no time for anybody), their
        # silence says nothing.
        late = now - self._due > PING_SECONDS
        for served in list(self._serving()):
            worker = served.worker
            if worker is None:
                continue
            if late:
                worker.excuse()
            silent = worker.silent_seconds()
            if silent > SILENT_SECONDS:
                self._events.add(
                    "worker_hung",
                    *served.id,
                    pid=worker.pid,
                    reason=f"no sign of life for {silent:.0f} s",
                )
                worker.kill()
            else:
                worker.ping()
        self._due = now + PING_SECONDS
        self._timer = self._loop.call_later(PING_SECONDS, self._beat)
