"""What all parts of a version's life share: the engine's parts, and the work in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.events import EventLog
from workbench.server.engine.batching.scheduler import BatchScheduler
from workbench.server.engine.memory.reservations import Reservations
from workbench.server.engine.versions.directory import Directory
from workbench.server.engine.versions.life.loading import Loader
from workbench.server.engine.versions.life.resting import Resting
from workbench.server.engine.versions.model import Model, Served

_CANCEL_AGAIN_SECONDS = 5.0
"""Longer than ending a worker takes, which a cancelled load does first."""
DRAIN_SECONDS = 30.0
"""How long a version that leaves may take to answer the requests it has accepted."""


@dataclass(kw_only=True, eq=False)
class Shared:
    """The parts of the engine that a version passes through.

    Attributes:
        directory: all models.
        read_batching: reads the batching parameters from a file in a version's folder.
        decide: takes the actions that are due for a model; called when work on one of its versions
            has ended or paused.
        freed: called when a version of a model has given back what it held, or anything else may
            have changed what is wanted.
    """

    events: EventLog
    directory: Directory
    loader: Loader
    scheduler: BatchScheduler
    reservations: Reservations
    read_batching: Callable[[Path], BatchingParameters] | None = None
    decide: Callable[[Model], None]
    freed: Callable[[Model], None]

    def __post_init__(self) -> None:
        self.resting = Resting()
        # Everything that goes on in the background, to be ended with the server.
        self._jobs: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something in the background, for as long as the server lives."""
        job = asyncio.get_running_loop().create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job

    async def stop(self) -> None:
        """End all work in the background."""
        await cancelled(*self._jobs)

    def report_state(self, served: Served) -> None:
        """Log the state of a version, and give back its memory once that is final."""
        if served.replaces is None:
            # Otherwise another version serves under that number, and its state is the number's.
            self.events.add(
                "state",
                *served.id,
                state=served.harness.public_state.name,
                harness=served.harness.state.value,
            )
        if served.harness.state.is_final:
            self.reservations.release(served)
        self.directory.notify()

    def look_at_held(self, model: Model) -> None:
        """Let requests that wait for a crashed version check again when it will be back."""
        if model.outage() is not None:
            model.held.release()


async def cancelled(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks, and wait until they have ended.

    Before Python 3.12, `asyncio.wait_for` loses a cancellation that comes at the moment in which
    what it waits for is done. So a task that goes on is cancelled again.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN_SECONDS)
