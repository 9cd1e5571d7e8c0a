"""The batching of `core.batching.queue`, driven by one event loop without locks.

Each model sets how its requests are merged. With `batching` parameters they are merged exactly as
in TensorFlow Serving's `BatchingSession`. Without, they are merged *automatically*: only requests
that fit together, of signatures whose rows do not affect each other. If a merged batch fails, its
requests run again one by one, so batching changes the speed and never the answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import Code, ServingError, invalid_argument, unavailable
from workbench.core.versions.holding import MAX_HELD_BYTES
from workbench.core.versions.outage import Outage
from workbench.ipc.precise_timer import Alarm
from workbench.server.engine.batching.isolation import Isolation
from workbench.server.engine.batching.outstanding import Outstanding
from workbench.server.engine.batching.runs import Runs
from workbench.server.engine.batching.tasks import (
    MAX_PENDING,
    SOLO,
    Task,
    VersionQueues,
    now_micros,
)
from workbench.server.engine.batching.turns import Turns
from workbench.server.engine.trial.recent import size_bytes
from workbench.server.engine.workers.worker_handle import Worker

_SWEEP_SECONDS = 0.1
_IDLE_SECONDS = 1.0
_MAX_STRING_DIMENSIONS = 32
"""TensorFlow reads strings through a NumPy iterator that has room for so many dimensions; one more
and the worker dies with everything it runs."""


class BatchScheduler:
    """Executor slots, shared by the queues of all versions; with `per_version_slots` each version
    has as many of its own."""

    def __init__(self, slots: int, *, per_version_slots: bool = False) -> None:
        self._loop = asyncio.get_running_loop()
        self._turns = Turns(slots, per_version_slots, self._wake)
        self._outstanding = Outstanding()
        self._isolation = Isolation(self._turns, self._outstanding)
        self._runs = Runs(self._turns, self._outstanding, self._isolation, self._pump)
        self.batching = self._runs.meter
        """Counts the batches of versions with batching parameters."""
        self.on_stuck: Callable[[Worker, float], None] = lambda worker, seconds: None
        """Called with a worker whose run no request waits for any more, and its seconds so far."""
        self._pump_due = False
        self._alarm = Alarm(self._loop, self._pump)
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    @property
    def slots(self) -> int:
        """How many batches run at once."""
        return self._turns.slots.slots

    @slots.setter
    def slots(self, slots: int) -> None:
        self._turns.slots.slots = slots
        self._wake()

    @property
    def outstanding(self) -> int:
        """How many requests are accepted and not answered."""
        return len(self._outstanding)

    def close(self) -> None:
        """Stop the timers; what waits is not answered any more."""
        self._sweeper.cancel()
        self._alarm.close()

    # Requests come in.

    def submit(self, task: Task) -> None:
        """Take a request; its `answer` is called later, never from inside this call.

        Raises:
            ServingError: the request was not accepted (the queue is full, the version is being
                unloaded, or it cannot be batched); `answer` is not called then.
        """
        version = task.version
        if version.draining:
            raise unavailable("The version is being unloaded")
        for name, array in task.inputs.items():
            if array.ndim > _MAX_STRING_DIMENSIONS and array.dtype == object:
                raise invalid_argument(
                    f"Input {name!r} has {array.ndim} dimensions; a tensor of strings can have "
                    f"{_MAX_STRING_DIMENSIONS}"
                )
        task.arrived = now_micros()
        key = version.queue_key(task)
        try:
            if version.pending >= MAX_PENDING:
                raise unavailable(f"{version.pending} requests wait for this version already")
            if version.outage is not None:
                _check_outage(task, version.outage)
            if key == SOLO and len(queue := version.queues.get(key, ())) >= self.slots:
                self._check_in_time(task, len(queue))
            if version.poison.empty or not self._isolation.takes(task, key):
                self._turns.enqueue(task, key)
        except ServingError as error:
            version.statistics.rejected += error.code is Code.UNAVAILABLE
            raise
        version.pending += 1
        self._outstanding.tasks[task] = None
        if version.on_accepted is not None:
            version.on_accepted(task)

    def _check_in_time(self, task: Task, waiting: int) -> None:
        """Refuse a request at once that could only be refused later, when its time is over.

        Requests that run alone take as long as such runs have taken lately, one after the other in
        each slot.
        """
        wait = waiting * task.version.solo_micros / self.slots
        if wait > task.deadline - task.arrived:
            raise unavailable(
                f"{waiting} requests wait for this version already, for about "
                f"{wait / 1e6:.1f} s: longer than this one has"
            )

    def cancel(self, task: Task) -> None:
        """The caller is gone: forget the task if it has not been taken yet."""
        task.answer = None
        if task.queue is None or task.queue.cancel(task):
            self._outstanding.finish(task, None)

    # Versions come, go, and lose their worker.

    def attach(self, version: VersionQueues, worker: Worker) -> None:
        """From now on `worker` runs the batches of this version."""
        version.worker = worker
        version.outage = None
        version.outage_bytes = 0
        self._turns.resume(version)

    def detach(self, version: VersionQueues) -> None:
        """The version has no worker any more; its tasks wait for the next one."""
        version.worker = None
        self._turns.pause(version)

    def explain(self, version: VersionQueues, worker: Worker) -> bool:
        """Whether a worker that has ended died of a request that disagrees with its signature: the
        version is not to blame. Requests like it are refused from now on."""
        return self._isolation.explain(version, worker)

    def reconfigure(self, version: VersionQueues, parameters: BatchingParameters | None) -> None:
        """Change the batching of a version that may be serving; nothing waiting is lost."""
        self._turns.reconfigure(version, parameters)

    async def drain(self, version: VersionQueues, timeout: float) -> int:
        """Wait until everything this version has accepted is answered.

        Requests that are not answered after `timeout` seconds are answered with UNAVAILABLE.

        Returns:
            How many requests that were.
        """
        version.draining = True
        for queue in version.queues.values():
            queue.close()
        self._wake()
        if version.pending:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(version.drained.wait(), timeout)
        left = self._outstanding.of(version)
        for task in left:
            self._outstanding.finish(
                task, unavailable(f"The version ended before it answered ({timeout} s)")
            )
        version.worker = None
        self._turns.remove(version)
        return len(left)

    def take_out(self, version: VersionQueues) -> list[Task]:
        """Close a version that has no worker, and keep its requests for another start of it: each
        has to be handed over, or finished."""
        version.draining = version.ended = True
        version.worker = None
        self._turns.remove(version)
        version.suspects.clear()
        version.suspect = None
        left = self._outstanding.of(version)
        for task in left:
            task.queue = None
            task.running = False
        return left

    def hand_over(self, task: Task, version: VersionQueues) -> None:
        """Have a request that was taken out answered by another start of its version. Does nothing
        if it has been answered meanwhile."""
        if not self.waits(task):
            return
        task.version.pending -= 1
        task.version = version
        version.pending += 1
        with self._outstanding.refusing(task):
            if task.signature not in version.signatures or version.draining:
                raise unavailable("The version ended before it answered")
            key = version.queue_key(task)
            if not self._isolation.takes(task, key):
                self._turns.enqueue(task, key)

    def finish(self, task: Task, error: ServingError) -> None:
        """Answer a request. Does nothing if it has been answered."""
        self._outstanding.finish(task, error)

    def waits(self, task: Task) -> bool:
        """Whether a request has not been answered."""
        return task in self._outstanding.tasks

    # Time passes.

    def _wake(self) -> None:
        # Once per turn of the loop: all requests that arrived in it share a batch.
        if not self._pump_due:
            self._pump_due = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Run every batch that is due."""
        self._pump_due = False
        now = now_micros()
        while (found := self._turns.slots.next(now)) is not None:
            self._runs.begin(*found)
        deadline = self._turns.slots.next_deadline()
        if deadline is not None:
            # Exact, while a loop's own timers are late by up to a millisecond.
            self._alarm.at(deadline / 1e6)

    def _sweep(self) -> None:
        """Answer requests past their deadline; give idle memory back."""
        now = now_micros()
        self._outstanding.finish_overdue(now)
        for worker, seconds in self._runs.stuck(now):
            self.on_stuck(worker, seconds)
        for version in self._turns.versions():
            if version.worker is not None:
                for lane in version.worker.lanes:
                    lane.release_if_idle(_IDLE_SECONDS)
            self._turns.forget_idle(version)
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)


def _check_outage(task: Task, outage: Outage) -> None:
    """Refuse a request at once that cannot wait for its version's next worker, or that brings more
    bytes than may wait."""
    version = task.version
    now = task.arrived / 1e6
    if outage.expected_at(now) > task.deadline / 1e6:
        raise outage.refusal(now)
    size = size_bytes(task.inputs)
    if version.outage_bytes + size > MAX_HELD_BYTES:
        raise unavailable(
            f"Requests of {version.outage_bytes} bytes wait already for the next worker, and "
            f"{size} more would be more than {MAX_HELD_BYTES}; try again in a moment"
        )
    version.outage_bytes += size
