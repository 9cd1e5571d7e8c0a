"""Requests of a version that crashed, kept for its next start.

They were accepted already. They wait in `Model.held`, within its limits, like requests that found
no version. The next start has the same number and files, so it can answer them as they are.
"""

from __future__ import annotations

import asyncio
import time

from workbench.core.status import ServingError, unavailable
from workbench.core.versions.states import HarnessState
from workbench.server.engine.batching.scheduler import BatchScheduler
from workbench.server.engine.batching.tasks import Task
from workbench.server.engine.trial.recent import size_bytes
from workbench.server.engine.versions.model import Model, Served


def close(scheduler: BatchScheduler, model: Model, served: Served) -> None:
    """Close the queues of a version that is set aside. Its requests wait for its next start where
    that is expected within their time; the others are refused."""
    assert served.queues is not None
    for task in scheduler.take_out(served.queues):
        _wait(scheduler, model, served, task)


def _wait(scheduler: BatchScheduler, model: Model, served: Served, task: Task) -> None:
    now = time.monotonic()
    # By number: another version that takes its place is not what they were accepted for.
    outage = model.outage(served.id.version)
    if outage is None:
        scheduler.finish(task, unavailable("The version ended before it answered"))
        return
    aside = model.failing[served.id.version]
    if not aside.alone or outage.expected_at(now) > task.deadline / 1e6:
        scheduler.finish(task, (model.outage() or outage).refusal(now))
        return
    loop = asyncio.get_running_loop()

    def resume() -> None:
        # In a turn of its own: many may be let go at once.
        loop.call_soon(_go_on, scheduler, model, served, task)

    try:
        model.held.add(resume, size_bytes(task.inputs))
    except ServingError as full:
        scheduler.finish(task, full)


def _go_on(scheduler: BatchScheduler, model: Model, served: Served, task: Task) -> None:
    """The version serves again, or the next attempt has failed, or it is gone."""
    again = model.versions.get(served.id.version)
    if (
        again is not None
        and again.harness.state is HarnessState.READY
        and again.queues is not None
        and again.found.fingerprint == served.found.fingerprint
    ):
        scheduler.hand_over(task, again.queues)
    elif scheduler.waits(task):
        _wait(scheduler, model, served, task)
