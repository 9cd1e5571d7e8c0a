"""Which queues have turns at the executor slots."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.batching.queue import BatchQueue
from workbench.core.batching.slots import SlotScheduler
from workbench.server.engine.batching.tasks import (
    SOLO_PARAMETERS,
    SUSPECT,
    Task,
    VersionQueues,
    now_micros,
)

_MOST_QUEUES = 32
"""Queues of a version that are kept although they are empty."""


class Turns:
    """The queues of all versions, and which of them take turns.

    A queue takes turns while its version has a worker. While suspects run one by one
    (`isolation`), only their queue does.

    Args:
        slots: executor slots: batches that run at once.
        per_version_slots: whether each version has as many slots of its own.
        wake: has the batches that are due run in the loop's next turn.
    """

    def __init__(self, slots: int, per_version_slots: bool, wake: Callable[[], None]) -> None:
        self.slots: SlotScheduler[Task] = SlotScheduler(slots, per_version_slots=per_version_slots)
        self.wake = wake
        self._versions: dict[BatchQueue[Task], VersionQueues] = {}
        self._listed: set[BatchQueue[Task]] = set()

    def version_of(self, queue: BatchQueue[Task]) -> VersionQueues | None:
        """The version that a queue belongs to; None if that is gone."""
        return self._versions.get(queue)

    def runs(self, version: VersionQueues) -> bool:
        """Whether batches of a version are in a worker."""
        return any(map(self.slots.running_of, version.queues.values()))

    def versions(self) -> set[VersionQueues]:
        """All versions that have queues."""
        return set(self._versions.values())

    def enqueue(self, task: Task, key: Hashable) -> None:
        """Put a request into one of its version's queues.

        Raises:
            ServingError: the queue does not accept it.
        """
        version = task.version
        queue = version.queues.get(key)
        if queue is None:
            queue = version.queues[key] = BatchQueue(version.parameters_of(key))
            self._versions[queue] = version
            if version.worker is not None:
                self._enlist(queue, version)
        queue.offer(task, task.rows, task.arrived)
        task.queue = queue
        self.wake()

    def enqueue_suspect(self, task: Task) -> None:
        """Put a request into the queue that runs alone in its version.

        Raises:
            ServingError: the queue does not accept it.
        """
        version = task.version
        queue = version.queues.get(SUSPECT)
        if queue is not None and queue.draining:
            # While a version drains, its queues accept nothing.
            self._versions.pop(queue, None)
            self.delist(queue)
            del version.queues[SUSPECT]
        self.enqueue(task, SUSPECT)
        if version.worker is not None:
            self._enlist(version.queues[SUSPECT], version)

    def resume(self, version: VersionQueues) -> None:
        """Give the queues of a version their turns, if it has a worker."""
        if version.worker is not None:
            for queue in version.queues.values():
                self._enlist(queue, version)
        self.wake()

    def resume_queue(self, queue: BatchQueue[Task]) -> None:
        """Give one queue its turns again, if its version still has a worker."""
        version = self._versions.get(queue)
        if version is not None and version.worker is not None:
            self._enlist(queue, version)
            self.wake()

    def pause(self, version: VersionQueues) -> None:
        """Give no queue of a version its turns."""
        for queue in version.queues.values():
            self.delist(queue)

    def _enlist(self, queue: BatchQueue[Task], version: VersionQueues) -> None:
        if version.isolated and queue is not version.queues.get(SUSPECT):
            return
        if queue not in self._listed:
            self._listed.add(queue)
            self.slots.add(queue, version)

    def delist(self, queue: BatchQueue[Task]) -> None:
        """Give a queue no turns until its version, or itself, is resumed."""
        if queue in self._listed:
            self._listed.discard(queue)
            self.slots.remove(queue)

    def reconfigure(self, version: VersionQueues, parameters: BatchingParameters | None) -> None:
        """Change the batching of a version that may be serving; nothing waiting is lost."""
        version.parameters = parameters
        now = now_micros()
        for key, queue in version.queues.items():
            if queue.parameters is not SOLO_PARAMETERS:
                queue.reconfigure(version.parameters_of(key), now)
        self.wake()

    def remove(self, version: VersionQueues) -> None:
        """Take the queues of a version away."""
        self.pause(version)
        for queue in version.queues.values():
            self._versions.pop(queue, None)
        version.queues.clear()

    def forget_idle(self, version: VersionQueues) -> None:
        """Requests of ever new shapes must not leave ever more queues behind."""
        if len(version.queues) <= _MOST_QUEUES:
            return
        for key, queue in list(version.queues.items()):
            if not queue and not self.slots.running_of(queue):
                del version.queues[key]
                del self._versions[queue]
                self.delist(queue)
