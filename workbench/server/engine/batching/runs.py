"""Batches in workers: from the lane that takes them to the answers of their requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import NamedTuple

from workbench.core.batching.queue import Batch, BatchQueue
from workbench.core.status import Code, ServingError, unavailable
from workbench.ipc.frames import Tensors
from workbench.server.engine.batching.isolation import Isolation
from workbench.server.engine.batching.joining import check_outputs, merge
from workbench.server.engine.batching.outstanding import Outstanding
from workbench.server.engine.batching.tasks import (
    SOLO,
    SOLO_AGAIN,
    SOLO_PARAMETERS,
    SUSPECT,
    Answer,
    Task,
    VersionQueues,
    now_micros,
)
from workbench.server.engine.batching.turns import Turns
from workbench.server.engine.telemetry.meters import BatchingMeter
from workbench.server.engine.trial import checks
from workbench.server.engine.workers.worker_handle import WORKER_LOST, Lane, Worker

_NO_LANE_SECONDS = 0.005
_PRIVATE_MICROS = 60_000_000


class _Run(NamedTuple):
    """A batch that holds a slot; `taken_at` in monotonic microseconds, `in_flight`: the batches
    that ran then."""

    lane: Lane
    queue: BatchQueue[Task]
    batch: Batch[Task]
    worker: Worker | None
    padding: int
    taken_at: int
    in_flight: int


class Runs:
    """Runs batches, and hands out what comes back.

    Args:
        pump: runs the batches that are due, now.
    """

    def __init__(
        self,
        turns: Turns,
        outstanding: Outstanding,
        isolation: Isolation,
        pump: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._turns = turns
        self._outstanding = outstanding
        self._isolation = isolation
        self._pump = pump
        self._running: dict[Lane, _Run] = {}
        self.meter = BatchingMeter()

    # Batches go out.

    def begin(self, queue: BatchQueue[Task], batch: Batch[Task]) -> None:
        """Run a batch that has been given a slot."""
        version = self._turns.version_of(queue)
        assert version is not None
        worker = version.worker
        # Requests that were answered while the batch waited (a deadline, another part of the same
        # request that failed) are not run.
        waiting = self._outstanding.tasks
        batch.parts = [part for part in batch.parts if part.task in waiting]
        if version.poison.outlines and queue is not version.queues.get(SUSPECT):
            batch.parts = [part for part in batch.parts if not self._isolation.diverts(part)]
        batch.size = sum(part.size for part in batch.parts)
        if not batch.parts:
            self._turns.slots.finished(queue)
            return
        lane = worker.free_lane() if worker is not None else None
        first = batch.parts[0].task
        if lane is None:
            # The worker has just died, or there are more slots than it has opened lanes for: the
            # queue sits out until either has been noticed.
            queue.put_back(batch)
            self._turns.slots.finished(queue)
            self._turns.delist(queue)
            self._loop.call_later(_NO_LANE_SECONDS, self._turns.resume_queue, queue)
            return
        now, in_flight = now_micros(), self._turns.slots.running
        requests = []
        queued = 0
        for part in batch.parts:
            task = part.task
            task.running = True
            queued += now - task.arrived
            if part.size == part.total:
                requests.append(task.inputs)
            else:
                rows = slice(part.offset, part.offset + part.size)
                requests.append({name: a[rows] for name, a in task.inputs.items()})
        version.statistics.queued_micros += queued
        try:
            if queue.parameters is SOLO_PARAMETERS:
                parts, padding = {name: [a] for name, a in first.inputs.items()}, 0
            else:
                signature = version.signatures[first.signature]
                parts, padding = merge(requests, batch.size, queue.parameters, signature)
            run = _Run(lane, queue, batch, worker, padding, now, in_flight)
            lane.run(
                first.signature,
                parts,
                first.outputs,
                lambda result, micros: self._answered(run, result, micros),
                first.private,
            )
            self._running[lane] = run
        except Exception as error:
            # Unforeseen errors too: a slot that is not given back is lost for ever.
            self._turns.slots.finished(queue)
            if not isinstance(error, ServingError):
                error = ServingError(Code.INTERNAL, repr(error))
            self._loop.call_soon(self._fail, queue, batch, error)

    def _run_privately(
        self,
        version: VersionQueues,
        signature: str,
        inputs: Tensors,
        outputs: Sequence[str],
        answer: Answer,
    ) -> None:
        """Run a request of the server's own, alone and at low priority."""
        now = now_micros()
        deadline = now + _PRIVATE_MICROS
        task = Task(version, signature, inputs, outputs, deadline, answer, now, 1, private=True)
        try:
            if version.draining or version.isolated:
                raise unavailable("The version drains, or runs requests one by one after a crash")
            self._turns.enqueue(task, SOLO)
        except ServingError as error:
            answer(error)
            return
        self._outstanding.tasks[task] = None

    # Batches come back.

    def _answered(self, run: _Run, result: Tensors | ServingError, run_micros: int) -> None:
        queue, batch, worker = run.queue, run.batch, run.worker
        self._running.pop(run.lane, None)
        self._turns.slots.finished(queue)
        if result is WORKER_LOST:
            self._turns.wake()
            self._lost(run)
            return
        self._outstanding.forget_late(batch)
        alone = queue.parameters is SOLO_PARAMETERS
        if not isinstance(result, ServingError) and not alone:
            result = check_outputs(result, batch.size + run.padding) or result
        if isinstance(result, ServingError):
            self._turns.wake()
            self._fail(queue, batch, result)
            return
        now = now_micros()
        if queue.has_closed and worker is not None and worker.free_lane() is not None:
            # The next batch runs while the answers of this one are handed out.
            self._pump()
        else:
            self._turns.wake()
        version = self._turns.version_of(queue)
        if version is not None:
            if version.isolated:
                self._isolation.survived(version, batch)
            if not batch.parts[0].task.private:
                self._count(version, run, run_micros, now)
        if alone:
            task = batch.parts[0].task
            if version is not None and not task.private:
                # The newest run counts an eighth.
                version.solo_micros += (run_micros - version.solo_micros) / 8
                checks.ran_alone(self._run_privately, version, task, result, now)
            self._outstanding.finish(task, result, now)
            return
        if version is not None:
            checks.ran_merged(self._run_privately, version, batch, result, now)
        row = 0
        for part in batch.parts:
            end = row + part.size
            rows = {name: a[row:end] for name, a in result.items()}
            row = end
            if part.size == part.total:
                self._outstanding.finish(part.task, rows, now)
            else:
                self._outstanding.finish_part(part.task, part.offset, rows)

    def _count(self, version: VersionQueues, run: _Run, run_micros: int, now: int) -> None:
        batch = run.batch
        version.statistics.add(batch, run.padding, run_micros, run.taken_at, now, run.in_flight)
        if version.parameters is not None:
            self.meter.add(
                [part.total for part in batch.parts if part.offset == 0],
                [run.taken_at - part.task.arrived for part in batch.parts],
                batch.size,
                run.padding,
            )

    def _fail(self, queue: BatchQueue[Task], batch: Batch[Task], error: ServingError) -> None:
        """Answer the requests of a batch with an error. If they were merged automatically, run each
        again by itself instead: perhaps only one of them is to blame."""
        tasks = [part.task for part in batch.parts]
        version = self._turns.version_of(queue)
        if version is not None and version.isolated:
            self._isolation.survived(version, batch)
        alone = len(tasks) == 1 and batch.parts[0].size == batch.parts[0].total
        if (
            version is not None
            and version.parameters is None
            and not (alone and queue.parameters is SOLO_PARAMETERS)
            and (len(tasks) > 1 or error.code is Code.FAILED_PRECONDITION)
        ):
            for task in tasks:
                if task in self._outstanding.tasks:
                    self._run_again(task)
            return
        for task in tasks:
            self._outstanding.finish(task, error)

    def _run_again(self, task: Task) -> None:
        task.rows = 1
        task.running = False
        solo = task.version.queues.get(SOLO)
        # While a version drains, its queues accept nothing, so the request gets a new one.
        key: Hashable = SOLO_AGAIN if solo is not None and solo.draining else SOLO
        with self._outstanding.refusing(task):
            self._turns.enqueue(task, key)

    def _lost(self, run: _Run) -> None:
        """A worker has died while it ran a batch."""
        version = self._turns.version_of(run.queue)
        tasks = [part.task for part in run.batch.parts]
        if version is None or run.worker is None:
            for task in tasks:
                self._outstanding.finish(task, WORKER_LOST)
        else:
            if version.worker is run.worker:
                # Its other lanes may look open for a moment still.
                version.worker = None
                self._turns.pause(version)
            more = any(other.worker is run.worker for other in self._running.values())
            self._isolation.lost(version, run.worker, tasks, more)
        self._outstanding.keep_lost(tasks)

    # Batches do not come back.

    def stuck(self, now: int) -> Iterator[tuple[Worker, float]]:
        """Workers that are inside a run for too long, with its seconds so far, while no request
        waits for it. Each is reported once."""
        for run in list(self._running.values()):
            version = self._turns.version_of(run.queue)
            if version is None or run.worker is None or run.worker is version.stuck:
                continue
            if now - run.taken_at < version.hang_micros:
                continue
            if not any(part.task in self._outstanding.tasks for part in run.batch.parts):
                version.stuck = run.worker
                yield run.worker, (now - run.taken_at) / 1e6
