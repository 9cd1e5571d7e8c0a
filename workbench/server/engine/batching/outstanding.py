"""Requests that have been accepted and not answered; each is answered exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from workbench.core.batching.queue import Batch
from workbench.core.status import Code, ServingError
from workbench.ipc import background_free
from workbench.ipc.frames import Tensors
from workbench.server.engine.batching.tasks import Task, VersionQueues, now_micros


class Outstanding:
    """All accepted requests of a scheduler.

    Attributes:
        tasks: the requests, in the order of their arrival.
        on_suspect_done: called with a version whose suspect has been answered (`isolation`).
    """

    on_suspect_done: Callable[[VersionQueues], None]

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.tasks: dict[Task, None] = {}
        # Requests that were answered with DEADLINE_EXCEEDED and still run.
        self._late: set[Task] = set()

    def __len__(self) -> int:
        """How many there are, without the server's own."""
        return sum(not task.private for task in self.tasks)

    def of(self, version: VersionQueues) -> list[Task]:
        """The requests of one version, in the order of their arrival."""
        return [task for task in self.tasks if task.version is version]

    def finish(
        self,
        task: Task,
        result: Tensors | ServingError | None,
        now: int | None = None,
        late: bool = False,
    ) -> None:
        """Answer a task, or with None forget it, because the caller is gone. Does nothing if it has
        been answered.

        Args:
            now: monotonic microseconds.
            late: keep its inputs while it runs: they may be what the worker dies of.
        """
        if task not in self.tasks:
            return
        del self.tasks[task]
        version = task.version
        if not task.private:
            _count(task, result, now_micros() if now is None else now)
        if version.pending == 0 and version.draining:
            version.drained.set()
        if version.suspect is task:
            version.suspect = None
            self.on_suspect_done(version)
        answer, task.answer = task.answer, None
        if late and task.running:
            self._late.add(task)
        else:
            task.inputs = {}
        if answer is not None and result is not None:
            try:
                answer(result)
            except Exception as error:
                # A caller that fails over its answer must not harm the others of the batch.
                self._loop.call_exception_handler(
                    {"message": "A request's answer could not be delivered", "exception": error}
                )

    @contextmanager
    def refusing(self, task: Task) -> Iterator[None]:
        """Answers an accepted request with the error that keeps it from being queued again."""
        try:
            yield
        except ServingError as error:
            self.finish(task, error)

    def finish_part(self, task: Task, offset: int, rows: Tensors) -> None:
        """Keep the answer to a part of a split task, from row `offset` on; the last part answers
        the task."""
        if task.parts is None:
            task.parts = {}
        task.parts[offset] = {name: a.copy() for name, a in rows.items()}
        have = sum(next(iter(p.values())).shape[0] for p in task.parts.values())
        if have == task.rows:
            ordered = [task.parts[at] for at in sorted(task.parts)]
            self.finish(
                task, {name: np.concatenate([p[name] for p in ordered]) for name in ordered[0]}
            )

    def finish_overdue(self, now: int) -> None:
        """Answer everything past its deadline; `now` in monotonic microseconds."""
        for task in [task for task in self.tasks if task.deadline <= now]:
            if not task.running and task.queue is not None:
                task.queue.cancel(task)
            if task.running or task.version.parameters is None:
                error = ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")
            else:
                error = ServingError(
                    Code.RESOURCE_EXHAUSTED,
                    "Run() timeout exceeded while waiting in batching queue",
                )
            self.finish(task, error, late=True)

    def forget_late(self, batch: Batch[Task]) -> None:
        """A batch has come back: its requests that were answered before have not harmed the
        worker."""
        if not self._late:
            return
        for part in batch.parts:
            if part.task in self._late:
                self._late.discard(part.task)
                background_free.let_go(part.task.inputs)
                part.task.inputs = {}

    def keep_lost(self, tasks: list[Task]) -> None:
        """A worker died with these requests: `isolation` frees their inputs after examining it."""
        self._late.difference_update(tasks)


def _count(task: Task, result: Tensors | ServingError | None, now: int) -> None:
    version = task.version
    version.pending -= 1
    code = Code.OK
    if isinstance(result, ServingError):
        version.failed += 1
        code = result.code
    else:
        version.answered += 1
    if result is not None:
        version.meters[task.signature].add(code, now - task.arrived)
