"""Batching: how single requests become the large batches that hardware likes.

A model answers 64 rows in little more time than one, so requests that arrive close together are run
together. The whole algorithm is in this file, without a clock and without threads. The caller says
what happened and when (*a task arrived*, *an executor is free*), and learns what to do (*run this
batch*). All times are integer microseconds on a clock of the caller: the server uses real time, the
simulator virtual time.

The rules are TensorFlow's `SharedBatchScheduler`, as TensorFlow Serving uses it:

* The size of a task is its number of rows. Tasks join the one **open** batch of their queue in
  the order they arrive; every batch before it is **closed** and waits for an executor.
* The open batch closes when it is **full**: it holds all rows that are allowed, or the next task
  does not fit.
* An open batch that is not full closes only when an executor is free: at once if the timeout is 0
  (**executor idle**), otherwise when the **timeout** has passed since its *first* task arrived.
  While every executor is busy the timeout decides nothing.
* The queue is **bounded** in batches. A batch that is being run no longer counts.
* With large batch splitting, a task that does not fit is **split** over several batches.
* Several queues share the executors' **slots** in turn, one batch a turn (`slots`).

One thing differs on purpose. In TensorFlow Serving a task of zero rows never makes its batch ready,
so it waits for the next request, perhaps for ever. Here such a task is like any other, and a batch
without rows does not wait for the timeout, because nothing is gained by waiting.
"""

from __future__ import annotations

import enum
from bisect import insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import invalid_argument, unavailable

T = TypeVar("T")

QUEUE_FULL = "The batch scheduling queue to which this task was submitted is full; "


class CloseReason(enum.Enum):
    """Why a batch was closed and did not wait for more tasks."""

    FULL = "full"  # it holds all rows allowed, or the next task did not fit
    TIMEOUT = "timeout"  # an executor was free, and its first task had waited long enough
    EXECUTOR_IDLE = "executor_idle"  # an executor was free, and there is no timeout to wait for
    DRAIN = "drain"  # its queue was closed: no other task can come
    SPLIT = "split"  # filled with a part of a task that goes on in the next batch


@dataclass(slots=True)
class Part(Generic[T]):
    """A task's rows in one batch: `size` rows from row `offset` of its `total`."""

    task: T
    size: int
    offset: int
    total: int


@dataclass(slots=True, eq=False)
class Batch(Generic[T]):
    """Tasks that are run together.

    Attributes:
        number: how many batches its queue had opened before; also their order.
        opened_at: when its first task arrived.
        size: rows.
        parts: what it holds, in order of arrival.
        closed_at: when it was closed; None while it is open.
        reason: why it was closed; None while it is open.
    """

    number: int
    opened_at: int
    size: int = 0
    parts: list[Part[T]] = field(default_factory=list)
    closed_at: int | None = None
    reason: CloseReason | None = None


class BatchQueue(Generic[T]):
    """The waiting tasks of one model version and one set of tensors.

    The state is an optional open batch and the closed ones before it. `offer` and `take` cost
    the same however much waits.

    Attributes:
        parameters: the settings in force (`reconfigure` changes them).
        draining: whether `close` was called.
    """

    def __init__(self, parameters: BatchingParameters | None = None) -> None:
        self._open: Batch[T] | None = None
        self._closed: deque[Batch[T]] = deque()
        self._returned: deque[Batch[T]] = deque()
        self._opened = 0
        self.draining = False
        self._adopt(parameters or BatchingParameters())

    def _adopt(self, parameters: BatchingParameters) -> None:
        self.parameters = parameters
        self._max_task = parameters.max_batch_size
        self._limit = parameters.batch_limit
        self._max_enqueued = parameters.max_enqueued_batches or 1
        self._timeout = parameters.batch_timeout_micros
        self._splitting = parameters.enable_large_batch_splitting

    # A task arrives.

    def offer(self, task: T, size: int, now: int) -> None:
        """Accept a task of `size` rows, which arrives at `now`.

        Raises:
            ServingError: INVALID_ARGUMENT, the task is larger than any batch may be;
                UNAVAILABLE, the queue is full, or closed. The task was not accepted then.
        """
        if size > self._max_task:
            raise invalid_argument(
                f"Task size {size} is larger than maximum input batch size {self._max_task}"
            )
        if self.draining:
            raise unavailable(
                "The batch scheduling queue to which this task was submitted is closed"
            )
        batch = self._open
        if self._splitting:
            if size > self.scheduling_capacity:
                raise unavailable(QUEUE_FULL + self._capacity_text(size))
            if size > self._limit - (batch.size if batch else 0):
                self._split(task, size, now)
                return
        if batch is None or not self._has_room(batch, size):
            if self.enqueued_batches >= self._max_enqueued:
                raise unavailable(
                    f"{QUEUE_FULL}currently {self.enqueued_batches} batches enqueued and "
                    f"max_enqueued_batches is {self._max_enqueued}"
                )
            if batch is not None:
                self._close_open(CloseReason.FULL, now)
            batch = self._start(now)
        batch.parts.append(Part(task, size, 0, size))
        batch.size += size
        if batch.size >= self._limit:
            self._close_open(CloseReason.FULL, now)

    def _has_room(self, batch: Batch[T], size: int) -> bool:
        # Tasks of zero rows never fill a batch, so for them it is the tasks that are bounded.
        return batch.size + size <= self._limit and (size > 0 or len(batch.parts) < self._limit)

    def _split(self, task: T, total: int, now: int) -> None:
        """Fill the open batch, then whole batches, and leave the rest in an open one."""
        offset = 0
        while offset < total:
            batch = self._open or self._start(now)
            size = min(self._limit - batch.size, total - offset)
            batch.parts.append(Part(task, size, offset, total))
            batch.size += size
            offset += size
            if batch.size == self._limit:
                self._close_open(CloseReason.SPLIT if offset < total else CloseReason.FULL, now)

    def _start(self, now: int) -> Batch[T]:
        batch = self._open = Batch(self._opened, now)
        self._opened += 1
        return batch

    def _close_open(self, reason: CloseReason, now: int) -> None:
        batch = self._open
        assert batch is not None
        batch.closed_at = now
        batch.reason = reason
        self._closed.append(batch)
        self._open = None

    # An executor is free.

    def take(self, now: int) -> Batch[T] | None:
        """The batch that a free executor runs now, or None if it has to wait.

        The oldest closed batch goes first. The open one is closed if it need not wait, or its
        timeout has passed.
        """
        if self._returned:
            return self._returned.popleft()
        if not self._closed:
            batch = self._open
            if batch is None or now < self._due(batch):
                return None
            self._close_open(self._reason_to_take(batch), now)
        return self._closed.popleft()

    def _due(self, batch: Batch[T]) -> int:
        if self.draining or batch.size == 0:
            return batch.opened_at
        return batch.opened_at + self._timeout

    def _reason_to_take(self, batch: Batch[T]) -> CloseReason:
        if self.draining:
            return CloseReason.DRAIN
        if self._timeout == 0 or batch.size == 0:
            return CloseReason.EXECUTOR_IDLE
        return CloseReason.TIMEOUT

    def next_deadline(self) -> int | None:
        """When `take` will return a batch if nothing else happens; None: never.

        A time in the past means at once.
        """
        for waiting in (self._returned, self._closed):
            if waiting:
                return waiting[0].closed_at
        return None if self._open is None else self._due(self._open)

    # Other events.

    def put_back(self, batch: Batch[T]) -> None:
        """Take back a batch whose executor died before it answered.

        It goes before every batch that was opened later, with the rows it had. It does not count
        against the bound, because its tasks were accepted already.
        """
        insort(self._returned, batch, key=lambda each: each.number)

    def cancel(self, task: T) -> bool:
        """Remove a waiting task (compared by identity); its place stays empty.

        Returns False and changes nothing if the task does not wait, or a part of it was taken
        already. Takes time in proportion to the waiting tasks. A batch keeps its timeout when its
        first task is removed.
        """
        held = [
            (batch, part) for batch in self.waiting() for part in batch.parts if part.task is task
        ]
        if not held or sum(part.size for _, part in held) < held[0][1].total:
            return False
        for batch, part in held:
            batch.parts = [each for each in batch.parts if each is not part]
            batch.size -= part.size
        self._returned = deque(batch for batch in self._returned if batch.parts)
        self._closed = deque(batch for batch in self._closed if batch.parts)
        if self._open is not None and not self._open.parts:
            self._open = None
        return True

    def reconfigure(self, parameters: BatchingParameters, now: int) -> None:
        """Change the settings; accepted tasks stay accepted, in their order.

        Batches keep their rows even if fewer are allowed from now on. A queue with more batches
        than are allowed now refuses tasks until it has shrunk.
        """
        self._adopt(parameters)
        if self._open is not None and self._open.size >= self._limit:
            self._close_open(CloseReason.FULL, now)

    def close(self) -> None:
        """Accept no more tasks; all that wait can be taken at once."""
        self.draining = True

    # Its state.

    def waiting(self) -> Iterator[Batch[T]]:
        """The batches that wait, in the order in which they will be run."""
        yield from self._returned
        yield from self._closed
        if self._open is not None:
            yield self._open

    def __len__(self) -> int:
        """Waiting tasks; each part of a split task counts, as in TensorFlow's
        `NumEnqueuedTasks`."""
        return sum(len(batch.parts) for batch in self.waiting())

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._open or self._closed or self._returned)

    @property
    def has_closed(self) -> bool:
        """Whether a batch waits for nothing but an executor."""
        return bool(self._closed or self._returned)

    @property
    def rows(self) -> int:
        """Rows of the tasks that wait."""
        return sum(batch.size for batch in self.waiting())

    @property
    def enqueued_batches(self) -> int:
        """Waiting batches that count against the bound: all but those put back."""
        return len(self._closed) + (self._open is not None)

    @property
    def scheduling_capacity(self) -> int:
        """Rows that can still be accepted (TensorFlow's `SchedulingCapacity`)."""
        batches = max(0, self._max_enqueued - self.enqueued_batches)
        open_rows = 0 if self._open is None else self._limit - self._open.size
        return batches * self._limit + open_rows

    def _capacity_text(self, size: int) -> str:
        # TensorFlow counts an empty queue as one open batch of no rows, and calls the last
        # batch open although it is full.
        last = self._open or (self._closed[-1] if self._closed else None)
        return (
            f"task size is {size} but scheduling capacity is only {self.scheduling_capacity} "
            f"(num_enqueued_batches={max(1, self.enqueued_batches)}, "
            f"max_enqueued_batches={self._max_enqueued}, "
            f"open_batch_size={last.size if last else 0}, max_execution_batch_size={self._limit})"
        )
