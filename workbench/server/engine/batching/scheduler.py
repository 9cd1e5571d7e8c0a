"""The batching of `core.batching.queue`, driven by an event loop and run by workers.

Requests become tasks; tasks wait in the queues of their version; free executor slots take
batches; lanes run them. All of it happens on one loop, without locks.

How requests are merged is set per model. With `batching` parameters given, exactly as
TensorFlow Serving's `BatchingSession` does it. Without, *automatically*: only requests that
fit together and whose signature has a batch dimension are merged, everything else runs alone,
and when a merged batch fails, its requests are run again one by one, so that nobody suffers
from a neighbour. Batching is then a matter of speed, never of behaviour.

Requests that were in a worker when it died run one by one, however they are batched: see
`isolation`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.batching.queue import Batch, BatchQueue
from workbench.core.batching.slots import SlotScheduler
from workbench.core.status import Code, ServingError, invalid_argument, unavailable
from workbench.core.versions.holding import MAX_HELD_BYTES
from workbench.core.versions.outage import Outage
from workbench.ipc import background_free
from workbench.ipc.frames import Tensors
from workbench.ipc.precise_timer import Alarm
from workbench.server.engine.batching.digests import size_of
from workbench.server.engine.batching.isolation import Isolation
from workbench.server.engine.batching.joining import check_outputs, merge
from workbench.server.engine.batching.tasks import (
    MAX_PENDING,
    SOLO,
    SOLO_AGAIN,
    SOLO_PARAMETERS,
    SUSPECT,
    Answer,
    Task,
    VersionQueues,
    now_micros,
)
from workbench.server.engine.telemetry.meters import BatchingMeter, SignatureMeter
from workbench.server.engine.trial.checks import Checks
from workbench.server.engine.workers.worker_handle import WORKER_LOST, Lane, Worker

_SWEEP_SECONDS = 0.1
_IDLE_SECONDS = 1.0
_NO_LANE_SECONDS = 0.005
_PRIVATE_MICROS = 60_000_000
# TensorFlow reads strings through a NumPy iterator that has room for so many; one more and the
# worker is gone with everything it runs.
_MAX_STRING_DIMENSIONS = 32


class _Run(NamedTuple):
    """A batch that holds a slot."""

    lane: Lane

    queue: BatchQueue[Task]
    batch: Batch[Task]
    worker: Worker | None
    padding: int
    taken_at: int
    in_flight: int


class BatchScheduler:
    """Executor slots, shared by the queues of all versions; with `per_version_slots` each version
    has as many of its own."""

    def __init__(self, slots: int, *, per_version_slots: bool = False) -> None:
        self._loop = asyncio.get_running_loop()
        self._slots: SlotScheduler[Task] = SlotScheduler(slots, per_version_slots=per_version_slots)
        self._versions: dict[BatchQueue[Task], VersionQueues] = {}
        self._listed: set[BatchQueue[Task]] = set()
        self._outstanding: dict[Task, None] = {}
        self._running: dict[Lane, _Run] = {}
        # Requests that were answered with DEADLINE_EXCEEDED and still run.
        self._late: set[Task] = set()
        self._isolation = Isolation(self)
        self.on_stuck: Callable[[Worker, float], None] | None = None
        """Called with a worker that is inside a run for which nobody waits any more, and the
        seconds that it is."""
        self._pump_due = False
        self._alarm = Alarm(self._loop, self._pump)
        self.batching = BatchingMeter()
        self._checks = Checks(self._run_privately)
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    @property
    def slots(self) -> int:
        return self._slots.slots

    @slots.setter
    def slots(self, slots: int) -> None:
        self._slots.slots = slots
        self._wake()

    @property
    def outstanding(self) -> int:
        return sum(not task.private for task in self._outstanding)

    def close(self) -> None:
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
                self._check_outage(task, version.outage)
            if key == SOLO and len(queue := version.queues.get(key, ())) >= self._slots.slots:
                self._check_in_time(task, len(queue))
            if not version.poison.outlines or not self._isolation.takes(task, key):
                self._enqueue(task, key)
        except ServingError as error:
            version.statistics.rejected += error.code is Code.UNAVAILABLE
            raise
        version.pending += 1
        self._outstanding[task] = None
        if version.on_accepted is not None:
            version.on_accepted(task)

    def _check_in_time(self, task: Task, waiting: int) -> None:
        """Refuse at once what could only be refused later, when its time is over.

        Requests that run alone take the time that such runs have taken lately, one after the other
        in each slot.
        """
        mean = task.version.solo_micros
        wait = waiting * mean / self._slots.slots
        if wait > task.deadline - task.arrived:
            raise unavailable(
                f"{waiting} requests wait for this version already, for about "
                f"{wait / 1e6:.1f} s: longer than this one has"
            )

    def _check_outage(self, task: Task, outage: Outage) -> None:
        """Refuse at once what cannot wait for the version's next worker, and more bytes than may
        wait."""
        version = task.version
        now = task.arrived / 1e6
        if outage.expected_at(now) > task.deadline / 1e6:
            raise outage.refusal(now)
        size = size_of(task.inputs)
        if version.outage_bytes + size > MAX_HELD_BYTES:
            raise unavailable(
                f"Requests of {version.outage_bytes} bytes wait already for the next worker, and "
                f"{size} more would be more than {MAX_HELD_BYTES}; try again in a moment"
            )
        version.outage_bytes += size

    def _enqueue(self, task: Task, key: Hashable) -> None:
        version = task.version
        queue = version.queues.get(key)
        if queue is None:
            queue = version.queues[key] = BatchQueue(version.parameters_of(key))
            self._versions[queue] = version
            if version.worker is not None:
                self._enlist(queue, version)
        queue.offer(task, task.rows, task.arrived)
        task.queue = queue
        self._wake()

    def cancel(self, task: Task) -> None:
        """The caller is gone: forget the task where it has not been taken yet."""
        task.answer = None
        if task.queue is None or task.queue.cancel(task):
            self._finish(task, None)

    # Versions come, go, and lose their worker.

    def attach(self, version: VersionQueues, worker: Worker) -> None:
        """From now on `server.worker` runs the batches of this version."""
        version.worker = worker
        version.outage = None
        version.outage_bytes = 0
        for queue in version.queues.values():
            self._enlist(queue, version)
        self._wake()

    def detach(self, version: VersionQueues) -> None:
        """The version has no worker any more; its tasks wait for the next one."""
        version.worker = None
        for queue in version.queues.values():
            self._delist(queue)

    def _enlist(self, queue: BatchQueue[Task], version: VersionQueues) -> None:
        """Give the queue its turns; while suspects run one by one, no other than theirs."""
        if version.isolated and queue is not version.queues.get(SUSPECT):
            return
        if queue not in self._listed:
            self._listed.add(queue)
            self._slots.add(queue, version)

    def _delist(self, queue: BatchQueue[Task]) -> None:
        """Give the queue no turns until it is enlisted again."""
        if queue in self._listed:
            self._listed.discard(queue)
            self._slots.remove(queue)

    def reconfigure(self, version: VersionQueues, parameters: BatchingParameters | None) -> None:
        """Change the batching of a version that may be serving; nothing waiting is lost."""
        version.parameters = parameters
        now = now_micros()
        for key, queue in version.queues.items():
            if queue.parameters is not SOLO_PARAMETERS:
                queue.reconfigure(version.parameters_of(key), now)
        self._wake()

    async def drain(self, version: VersionQueues, timeout: float) -> int:
        """Wait until everything this version has accepted is answered.

        What is not answered after `timeout` seconds is answered with UNAVAILABLE.

        Returns:
            How many requests that were.
        """
        version.draining = True
        for queue in version.queues.values():
            queue.close()
        self._wake()
        if version.pending:
            try:
                await asyncio.wait_for(version.drained.wait(), timeout)
            except asyncio.TimeoutError:
                pass
        left = [task for task in self._outstanding if task.version is version]
        for task in left:
            self._finish(task, unavailable(f"The version ended before it answered ({timeout} s)"))
        for queue in version.queues.values():
            self._versions.pop(queue, None)
        self.detach(version)
        version.queues.clear()
        return len(left)

    def take_out(self, version: VersionQueues) -> list[Task]:
        """Close a version that has no worker, and keep its requests for another start of it: each
        has to be handed over, or finished."""
        version.draining = version.ended = True
        self.detach(version)
        for queue in version.queues.values():
            self._versions.pop(queue, None)
        version.queues.clear()
        version.suspects.clear()
        version.suspect = None
        left = [task for task in self._outstanding if task.version is version]
        for task in left:
            task.queue = None
            task.running = False
        return left

    def hand_over(self, task: Task, version: VersionQueues) -> None:
        """Have a request that was taken out answered by another start of its version; nothing
        where it has been answered meanwhile."""
        if task not in self._outstanding:
            return
        task.version.pending -= 1
        task.version = version
        version.pending += 1
        try:
            if task.signature not in version.signatures or version.draining:
                raise unavailable("The version ended before it answered")
            key = version.queue_key(task)
            if not self._isolation.takes(task, key):
                self._enqueue(task, key)
        except ServingError as error:
            self._finish(task, error)

    def finish(self, task: Task, error: ServingError) -> None:
        """Answer a request that was taken out; nothing where it has been answered."""
        self._finish(task, error)

    # For `isolation`.

    def waits(self, task: Task) -> bool:
        """Whether it has not been answered."""
        return task in self._outstanding

    def runs(self, version: VersionQueues) -> bool:
        """Whether batches of a version are in a worker."""
        return any(self._versions.get(run.queue) is version for run in self._running.values())

    def pause(self, version: VersionQueues) -> None:
        """Give no queue of a version its turns."""
        for queue in version.queues.values():
            self._delist(queue)

    def go_on(self, version: VersionQueues) -> None:
        """Give the queues of a version their turns again."""
        if version.worker is not None:
            for queue in version.queues.values():
                self._enlist(queue, version)
        self._wake()

    def run_alone(self, task: Task) -> None:
        """Run a suspect, with the inputs as they came."""
        version = task.version
        version.queue_key(task)
        if version.parameters is None:
            task.rows = 1
        task.running = False
        task.parts = None
        queue = version.queues.get(SUSPECT)
        if queue is not None and queue.draining:
            # While a version drains, its queues accept nothing.
            self._versions.pop(queue, None)
            self._delist(queue)
            del version.queues[SUSPECT]
        self.enqueue(task, SUSPECT)
        queue = version.queues.get(SUSPECT)
        if queue is not None and version.worker is not None:
            self._enlist(queue, version)

    def enqueue(self, task: Task, key: Hashable) -> None:
        """Queue a request that was accepted; it is answered with what keeps it out."""
        try:
            self._enqueue(task, key)
        except ServingError as error:
            self._finish(task, error)

    # Batches go out.

    def _wake(self) -> None:
        # Once per turn of the loop: all requests that arrived in it share a batch.
        if not self._pump_due:
            self._pump_due = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        now = now_micros()
        while (found := self._slots.next(now)) is not None:
            self._run(*found)
        deadline = self._slots.next_deadline()
        if deadline is not None:
            # Exact, where a loop's own timers are late by up to a millisecond.
            self._alarm.at(deadline / 1e6)

    def _run(self, queue: BatchQueue[Task], batch: Batch[Task]) -> None:
        version = self._versions[queue]
        worker = version.worker
        # Whoever was answered while the batch waited (a deadline, another part of the same
        # request that failed) is not run.
        batch.parts = [part for part in batch.parts if part.task in self._outstanding]
        if version.poison.outlines and queue is not version.queues.get(SUSPECT):
            batch.parts = [part for part in batch.parts if not self._isolation.diverts(part)]
        batch.size = sum(part.size for part in batch.parts)
        if not batch.parts:
            self._slots.finished(queue)
            return
        lane = worker.free_lane() if worker is not None else None
        first = batch.parts[0].task
        if lane is None:
            # A worker that has just died, or more slots than it has opened lanes for: the queue
            # sits out until either has been noticed.
            queue.put_back(batch)
            self._slots.finished(queue)
            self._delist(queue)
            self._loop.call_later(_NO_LANE_SECONDS, self._resume, queue)
            return
        now, in_flight = now_micros(), self._slots.running
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
            # Also what nobody foresaw: a slot that is not given back is lost for ever.
            self._slots.finished(queue)
            if not isinstance(error, ServingError):
                error = ServingError(Code.INTERNAL, repr(error))
            self._loop.call_soon(self._fail_batch, queue, batch, worker, error)

    def _resume(self, queue: BatchQueue[Task]) -> None:
        version = self._versions.get(queue)
        if version is not None and version.worker is not None:
            self._enlist(queue, version)
            self._wake()

    def _answered(self, run: _Run, result: Tensors | ServingError, run_micros: int) -> None:
        queue, batch, worker = run.queue, run.batch, run.worker
        self._running.pop(run.lane, None)
        self._slots.finished(queue)
        if result is WORKER_LOST:
            self._wake()
            self._lost(run)
            return
        if self._late:
            self._forget_late(batch)
        alone = queue.parameters is SOLO_PARAMETERS
        if not isinstance(result, ServingError) and not alone:
            result = check_outputs(result, batch.size + run.padding) or result
        if isinstance(result, ServingError):
            self._wake()
            self._fail_batch(queue, batch, worker, result)
            return
        now = now_micros()
        if queue.has_closed and worker is not None and worker.free_lane() is not None:
            # The next batch runs while the answers of this one are handed out.
            self._pump()
        else:
            self._wake()
        version = self._versions.get(queue)
        if version is not None and version.isolated:
            self._isolation.survived(version, batch)
        if version is not None and not batch.parts[0].task.private:
            version.statistics.add(batch, run.padding, run_micros, run.taken_at, now, run.in_flight)
            if version.parameters is not None:
                self.batching.add(
                    [part.total for part in batch.parts if part.offset == 0],
                    [run.taken_at - part.task.arrived for part in batch.parts],
                    batch.size,
                    run.padding,
                )
        if alone:
            task = batch.parts[0].task
            if version is not None and not task.private:
                # The newest run counts an eighth.
                version.solo_micros += (run_micros - version.solo_micros) / 8
                self._checks.ran_alone(version, task, result, now)
            self._finish(task, result, now)
            return
        if version is not None and version.watched:
            self._checks.ran_merged(version, batch, result, now)
        row = 0
        for part in batch.parts:
            end = row + part.size
            rows = {name: a[row:end] for name, a in result.items()}
            row = end
            if part.size == part.total:
                self._finish(part.task, rows, now)
            else:
                self._finish_part(part.task, part.offset, rows)

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
        task = Task(version, signature, inputs, outputs, now + _PRIVATE_MICROS, answer)
        task.private = True
        task.arrived, task.rows = now, 1
        try:
            if version.draining or version.isolated:
                raise unavailable("The version has no time for the server's own requests")
            self._enqueue(task, SOLO)
        except ServingError as error:
            answer(error)
            return
        self._outstanding[task] = None

    def _finish_part(self, task: Task, offset: int, rows: Tensors) -> None:
        if task.parts is None:
            task.parts = {}
        task.parts[offset] = {name: a.copy() for name, a in rows.items()}
        have = sum(next(iter(p.values())).shape[0] for p in task.parts.values())
        if have == task.rows:
            ordered = [task.parts[at] for at in sorted(task.parts)]
            self._finish(
                task, {name: np.concatenate([p[name] for p in ordered]) for name in ordered[0]}
            )

    def _fail_batch(
        self,
        queue: BatchQueue[Task],
        batch: Batch[Task],
        worker: Worker | None,
        error: ServingError,
    ) -> None:
        tasks = [part.task for part in batch.parts]
        version = self._versions.get(queue)
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
                if task in self._outstanding:
                    self._run_alone(task)
            return
        for task in tasks:
            self._finish(task, error)

    def _lost(self, run: _Run) -> None:
        """A worker has died while it ran a batch."""
        version = self._versions.get(run.queue)
        tasks = [part.task for part in run.batch.parts]
        if version is None or run.worker is None:
            for task in tasks:
                self._finish(task, WORKER_LOST)
        else:
            if version.worker is run.worker:
                # Its other lanes may look open for a moment still.
                self.detach(version)
            more = any(other.worker is run.worker for other in self._running.values())
            self._isolation.lost(version, run.worker, tasks, more)
        self._late.difference_update(tasks)

    def _run_alone(self, task: Task) -> None:
        task.rows = 1
        task.running = False
        solo = task.version.queues.get(SOLO)
        # While a version drains, its queues accept nothing: what is run again gets a new one.
        key: Hashable = SOLO_AGAIN if solo is not None and solo.draining else SOLO
        try:
            self._enqueue(task, key)
        except ServingError as error:
            self._finish(task, error)

    def _finish(
        self,
        task: Task,
        result: Tensors | ServingError | None,
        now: int | None = None,
        late: bool = False,
    ) -> None:
        """Answer a task (or forget it, where the caller is gone), exactly once. One that is `late`
        keeps its inputs while it runs: they may be what the worker dies of."""
        if task not in self._outstanding:
            return
        del self._outstanding[task]
        version = task.version
        if not task.private:
            version.pending -= 1
            code = Code.OK
            if isinstance(result, ServingError):
                version.failed += 1
                code = result.code
            else:
                version.answered += 1
            if result is not None:
                meter = version.meters.get(task.signature)
                if meter is None:
                    meter = version.meters[task.signature] = SignatureMeter()
                meter.add(code, (now_micros() if now is None else now) - task.arrived)
        if version.pending == 0 and version.draining:
            version.drained.set()
        if version.suspect is task:
            version.suspect = None
            self._isolation.next(version)
        answer, task.answer = task.answer, None
        if late and task.running:
            self._late.add(task)
        else:
            task.inputs = {}
        if answer is not None and result is not None:
            try:
                answer(result)
            except Exception as error:
                # A caller that fails over its answer must not take the batch's others along.
                self._loop.call_exception_handler(
                    {"message": "A request's answer could not be delivered", "exception": error}
                )

    def _sweep(self) -> None:
        """Answer what is past its deadline; give idle memory back."""
        now = now_micros()
        late = [task for task in self._outstanding if task.deadline <= now]
        for task in late:
            if not task.running and task.queue is not None:
                task.queue.cancel(task)
            if task.running or task.version.parameters is None:
                error = ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")
            else:
                error = ServingError(
                    Code.RESOURCE_EXHAUSTED,
                    "Run() timeout exceeded while waiting in batching queue",
                )
            self._finish(task, error, late=True)
        for run in list(self._running.values()):
            self._check_stuck(run, now)
        for version in set(self._versions.values()):
            if version.worker is not None:
                for lane in version.worker.lanes:
                    lane.release_if_idle(_IDLE_SECONDS)
            self._forget_idle_queues(version)
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    def _check_stuck(self, run: _Run, now: int) -> None:
        version = self._versions.get(run.queue)
        if version is None or run.worker is None or now - run.taken_at < version.hang_micros:
            return
        if run.worker is version.stuck:
            return
        if not any(part.task in self._outstanding for part in run.batch.parts):
            version.stuck = run.worker
            if self.on_stuck is not None:
                self.on_stuck(run.worker, (now - run.taken_at) / 1e6)

    def _forget_late(self, batch: Batch[Task]) -> None:
        """Nobody waits for these any more, and they have not harmed the worker."""
        for part in batch.parts:
            if part.task in self._late:
                self._late.discard(part.task)
                background_free.let_go(part.task.inputs)
                part.task.inputs = {}

    def _forget_idle_queues(self, version: VersionQueues) -> None:
        """Requests of ever new shapes must not leave ever more queues behind."""
        if len(version.queues) <= 32:
            return
        for key, queue in list(version.queues.items()):
            if not queue and not self._slots.running_of(queue):
                del version.queues[key]
                del self._versions[queue]
                self._delist(queue)
