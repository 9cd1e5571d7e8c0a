"""Executor slots: which batch runs next when several queues share the same executors.

Like the queues, this has no clock and no threads: the caller says what happened and when.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from workbench.core.batching.queue import Batch, BatchQueue
from workbench.core.status import Code, ServingError, invalid_argument

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Pool(Generic[T]):
    """Slots, and the queues that take turns on them."""

    ring: deque[_Member[T]] = field(default_factory=deque)
    used: int = 0


@dataclass(slots=True, eq=False)
class _Member(Generic[T]):
    """A queue, its pool, and its batches in flight."""

    queue: BatchQueue[T]
    pool: _Pool[T]
    present: bool = False
    running: int = 0


class SlotScheduler(Generic[T]):
    """Executor slots that several queues share: round-robin, one batch a turn.

    A slot is one batch in flight. A queue without a batch to run loses only its turn; a busy queue
    delays another by one batch a slot at most.

    With `per_version_slots` each version has its own `slots`, and a slow version does not delay the
    others (TensorFlow Serving has one pool for all of them).

    Attributes:
        slots: of the one pool, or of each version; may be changed at any time. Batches in flight
            finish.
    """

    def __init__(self, slots: int, *, per_version_slots: bool = False) -> None:
        if slots < 1:
            raise invalid_argument(f"num_batch_threads must be positive; was {slots}")
        self.slots = slots
        self._per_version = per_version_slots
        self._pools: dict[Hashable, _Pool[T]] = {}
        self._members: dict[BatchQueue[T], _Member[T]] = {}

    def add(self, queue: BatchQueue[T], version: Hashable = None) -> None:
        """Serve a queue: it joins the end of the round.

        With `per_version_slots` it uses the slots of `version`; without a version it has its own. A
        queue that was removed can be added again.

        Raises:
            ServingError: ALREADY_EXISTS, the queue is served already.
        """
        member = self._members.get(queue)
        if member is None:
            key = (queue if version is None else version) if self._per_version else None
            member = _Member(queue, self._pools.setdefault(key, _Pool()))
            self._members[queue] = member
        elif member.present:
            raise ServingError(Code.ALREADY_EXISTS, "The batch queue is served already")
        member.present = True
        member.pool.ring.append(member)

    def remove(self, queue: BatchQueue[T]) -> None:
        """Give this queue no more turns. Its waiting tasks stay in it: to empty a queue, close it,
        and remove it when nothing waits. Its batches in flight keep their slots until they are
        `finished`.

        Raises:
            KeyError: the queue is not served.
        """
        member = self._members[queue]
        if not member.present:
            raise KeyError(queue)
        member.pool.ring.remove(member)
        member.present = False
        self._forget_if_done(member)

    def next(self, now: int) -> tuple[BatchQueue[T], Batch[T]] | None:
        """The next batch to run, if a slot is free and a batch is ready; it has the slot until
        `finished`. Call this until it returns None, whenever a task has arrived, a deadline has
        come or a slot has become free.
        """
        for pool in self._pools.values():
            if pool.used < self.slots:
                ring = pool.ring
                for _ in range(len(ring)):
                    member = ring[0]
                    ring.rotate(-1)
                    batch = member.queue.take(now)
                    if batch is not None:
                        pool.used += 1
                        member.running += 1
                        return member.queue, batch
        return None

    def finished(self, queue: BatchQueue[T]) -> None:
        """Free the slot of a batch of this queue that was answered, has failed or was put back.

        Raises:
            KeyError: no batch of this queue was running.
        """
        member = self._members[queue]
        if not member.running:
            raise KeyError(queue)
        member.running -= 1
        member.pool.used -= 1
        if not member.present:
            self._forget_if_done(member)

    def _forget_if_done(self, member: _Member[T]) -> None:
        if not member.running:
            del self._members[member.queue]
            self._pools = {key: pool for key, pool in self._pools.items() if pool.ring or pool.used}

    def next_deadline(self) -> int | None:
        """When `next` will return a batch if nothing else happens; None: never."""
        deadlines = (
            member.queue.next_deadline()
            for pool in self._pools.values()
            if pool.used < self.slots
            for member in pool.ring
        )
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    @property
    def running(self) -> int:
        """Batches in flight."""
        return sum(pool.used for pool in self._pools.values())

    def running_of(self, queue: BatchQueue[T]) -> int:
        """Batches of this queue in flight, also after it was removed."""
        member = self._members.get(queue)
        return member.running if member else 0
