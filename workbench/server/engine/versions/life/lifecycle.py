"""What is decided about a version, carried out: it is staged, loaded, unloaded, kept alive.

Each of these goes on in the background; when it has come to an end, or to a halt, the policy is
asked again. A version's state is moved at once where the policy's next decision depends on it.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from workbench.core.batching.merging import Merging
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.events import EventLog
from workbench.core.status import Code, ServingError, unavailable
from workbench.core.versions.outage import Outage
from workbench.core.versions.poison import Outline
from workbench.core.versions.policies import Act
from workbench.core.versions.quarantine import DEATH_WINDOW_SECONDS, MAX_DEATHS
from workbench.core.versions.reconcile import begun
from workbench.core.versions.states import HarnessState
from workbench.server.engine.batching.scheduler import BatchScheduler
from workbench.server.engine.batching.tasks import VersionQueues
from workbench.server.engine.memory.reservations import Reservations, is_refused
from workbench.server.engine.trial import Trial, TrialResult
from workbench.server.engine.versions import setting_aside
from workbench.server.engine.versions.loading import Loader, as_serving_error, is_passing
from workbench.server.engine.versions.model import Model, Renewal, Served
from workbench.server.engine.versions.outages import outage_of
from workbench.server.engine.versions.parking import Parking
from workbench.server.engine.versions.resting import Resting
from workbench.server.engine.workers.worker_handle import StageReport, Worker

_S = HarnessState

DRAIN_SECONDS = 30.0
# Before each attempt to replace a worker process that has died.
_REPLACEMENT_PAUSES = (0.0, 0.2, 1.0)


class Lifecycle:
    """Brings versions from one state to the next.

    Args:
        decide: asks the model's policy what to do now.
        freed: called when a version of a model has given back what it held, or anything else may
            have changed what is wanted.
        notify: called whenever any version may have changed.
        read_batching: reads the parameters that a version's folder has for itself.
    """

    def __init__(
        self,
        events: EventLog,
        loader: Loader,
        scheduler: BatchScheduler,
        reservations: Reservations,
        *,
        decide: Callable[[Model], None],
        freed: Callable[[Model], None],
        notify: Callable[[], None],
        read_batching: Callable[[Path], BatchingParameters] | None,
    ) -> None:
        self._events = events
        self._loader = loader
        self._reservations = reservations
        self._scheduler = scheduler
        self._parking = Parking(scheduler)
        self._resting = Resting()
        self._decide = decide
        self._freed = freed
        self._notify = notify
        self._read_batching = read_batching
        # Everything that goes on in the background, to be ended with the server.
        self._jobs: set[asyncio.Task[None]] = set()
        self.stopping = False

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something in the background, for as long as the server lives."""
        job = asyncio.get_running_loop().create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job

    async def stop(self) -> None:
        """End all that goes on."""
        self.stopping = True
        for job in self._jobs:
            job.cancel()
        if self._jobs:
            await asyncio.wait(self._jobs)

    def tell_state(self, served: Served) -> None:
        if served.replaces is None:
            # Else another serves under that number, and its state is the number's.
            self._events.add(
                "state",
                *served.id,
                state=served.harness.public_state.name,
                harness=served.harness.state.value,
            )
        if served.harness.state.is_final:
            self._reservations.release(served)
        self._notify()

    # Staging.

    def stage(self, model: Model, served: Served) -> None:
        """Prepare a version in a worker process, short of its weights."""
        served.harness.move(begun(Act.STAGE, served.harness.state))
        served.loading = self.start(self._stage(model, served))

    async def _stage(self, model: Model, served: Served) -> None:
        harness = served.harness
        try:
            report = await self._loader.attempts(model, served, self._stage_once)
        except ServingError as error:
            self._fail(model, served, error)
            return
        if harness.state is _S.UNLOADING:
            return
        harness.move(_S.STAGED)
        self._events.add(
            "staged",
            *served.id,
            seconds=served.staged_seconds,
            cached_bytes=report.read_bytes,
            total_bytes=report.total_bytes,
            skipped=report.skipped,
        )
        worker = served.worker
        assert worker is not None
        worker.ended.add_done_callback(lambda _: self._staged_ended(model, served, worker))
        self._notify()
        self._decide(model)

    async def _stage_once(self, model: Model, served: Served) -> StageReport:
        harness = served.harness
        if harness.state is _S.LOAD_REQUESTED:
            await self._make_room(model, served)
            self._reservations.reserve(model, served, prepared=True)
            self._approve(served)
            harness.move(_S.STAGING)
            self._events.add("staging", *served.id, path=served.found.path)
        return await self._loader.stage(model, served)

    def _staged_ended(self, model: Model, served: Served, worker: Worker) -> None:
        """The worker of a staged version has ended before its turn came: loading will start from
        the beginning."""
        if served.harness.state is _S.STAGED and served.worker is worker and not self.stopping:
            self._note_death(model, served, worker)

    # Loading.

    def load(self, model: Model, served: Served) -> None:
        """Load a version, or finish the load of one that is staged."""
        served.harness.move(begun(Act.LOAD, served.harness.state))
        served.loading = self.start(self._load(model, served))

    async def _load(self, model: Model, served: Served) -> None:
        try:
            if served.harness.state is _S.LOADING:
                # It was staged, with memory for its graph only.
                await self._make_room(model, served)
                self._reservations.reserve(model, served)
                self._events.add("loading", *served.id, path=served.found.path)
            await self._loader.attempts(model, served, self._load_once)
        except ServingError as error:
            # One that was staged and found no memory for its weights has a process still.
            await self._loader.end(served)
            self._fail(model, served, error)
            return
        self._decide(model)

    async def _load_once(self, model: Model, served: Served) -> None:
        """One attempt, from reserving resources to a worker that can be asked."""
        harness = served.harness
        if harness.state is _S.LOAD_REQUESTED:
            await self._make_room(model, served)
            self._reservations.reserve(model, served)
            self._approve(served)
            harness.move(_S.LOADING)
            self._events.add("loading", *served.id, path=served.found.path)
        batching = model.config.batching
        if model.config.version_batching:
            batching = await self._own_batching(served)
        served.batched = batching is not None
        worker = await self._loader.load(model, served)
        assert served.report is not None
        served.trial = await self._try(model, served, worker, batching)
        if harness.state is _S.UNLOADING:
            return
        self._watch(model, served, worker)
        served.queues = VersionQueues(
            served.report.signatures,
            batching,
            served.trial.merging,
            model.config.hang_seconds,
            model.recent,
            served.id.version,
        )
        served.queues.on_merging = partial(self._merging, served)
        self._know_crashes(served, served.queues)
        self._scheduler.attach(served.queues, worker)
        harness.move(_S.READY)
        if served.replaces is not None:
            self._take_over(model, served, served.replaces)
        served.ready_at = time.time()
        record = model.failing.get(served.id.version)
        if record is not None:
            record.serves(time.monotonic())
            self._freed(model)
        model.refresh_ready()
        self.tell_state(served)
        self._events.add(
            "available", *served.id, seconds=served.load_seconds, breakdown=dict(served.breakdown)
        )
        # Not before it serves: looking at a large process takes its time.
        self.start(self._reservations.loaded(model, served, worker))

    async def _try(
        self, model: Model, served: Served, worker: Worker, batching: BatchingParameters | None
    ) -> TrialResult:
        """Ask a version that is loaded each of its signatures, before anybody else does.

        Raises:
            ServingError: it can never answer; its process is gone.
        """
        config, report, before = model.config, served.report, model.predecessor(served)
        assert report is not None
        trial = Trial(
            config.probe,
            report,
            worker,
            model.recent,
            automatic=config.automatic_batching,
            sizes=() if batching is None else batching.allowed_batch_sizes,
            seconds=config.hang_seconds,
            quiet=model.ready is not None,
        )
        try:
            result = await trial.run(before, batching is not None)
        except BaseException:
            await self._loader.end(served)
            raise
        served.breakdown["trial"] = result.seconds
        served.load_seconds += result.seconds
        self._events.add(
            "tried",
            *served.id,
            **result.to_json(),
            merging={name: str(merging) for name, merging in result.merging.items()},
        )
        for warning in result.warnings:
            self._events.add("version_warning", *served.id, message=warning)
        return result

    def _merging(self, served: Served, signature: str, merging: Merging) -> None:
        """Something else is decided about a signature of a version that serves."""
        self._events.add("merging", *served.id, signature=signature, **merging.to_json())
        self._notify()

    async def _make_room(self, model: Model, served: Served) -> None:
        """Have versions that only rest end first, where there is no memory otherwise."""
        if self._resting and self._reservations.refusal(model, served) is not None:
            await self._resting.end()
            if served.harness.state is _S.UNLOADING:
                # It was given up meanwhile.
                raise asyncio.CancelledError

    def _approve(self, served: Served) -> None:
        served.harness.move(_S.LOAD_APPROVED)
        self.tell_state(served)
        self._events.add("load_approved", *served.id)

    async def _own_batching(self, served: Served) -> BatchingParameters | None:
        """What the version's folder says of its batching; None, not batched, where it says
        nothing."""
        file = Path(served.found.place.path) / "batching_params.pbtxt"
        if self._read_batching is None or not file.exists():
            return None
        return await asyncio.to_thread(self._read_batching, file)

    def refuse(self, model: Model, served: Served, error: ServingError | None = None) -> None:
        """Do not even begin to load a version; without an `error`, because of its damage."""
        error = error or served.found.damage
        assert error is not None
        served.harness.fail(error)
        # A version for which there is no memory has done nothing wrong: it waits for memory.
        if error.code is not Code.CANCELLED and not is_refused(served):
            record = model.record(served)
            record.set_aside(
                time.monotonic(),
                error.message,
                final=not is_passing(error),
                alone=record.served and setting_aside.is_alone(model, served.id.version),
            )
        self.tell_state(served)
        self._events.add("error", *served.id, code=error.code.name, message=error.message)
        self._events.add("not_loaded", *served.id, code=error.code.name, message=error.message)

    def _fail(self, model: Model, served: Served, error: ServingError) -> None:
        if served.harness.state is _S.UNLOADING:
            return
        self.refuse(model, served, error)
        model.refresh_ready()
        model.falling_back = (
            model.ready is None
            and model.config.fall_back
            and error.code is not Code.CANCELLED
            and model.source.knows_others(served.id.version)
        )
        self._look_at_held(model)
        self._decide(model)
        if model.ready is None:
            # Perhaps there is an older version that can serve in its place.
            self._freed(model)

    def _look_at_held(self, model: Model) -> None:
        """Let requests that wait for a version that crashed look anew at when it is back."""
        if outage_of(model) is not None:
            model.held.release()

    def _know_crashes(self, served: Served, queues: VersionQueues) -> None:
        """Have a version's queues know the inputs that it crashed on, and tell of new ones."""
        queues.poison = served.poison

        def tell(digest: str, outline: Outline, crashes: int) -> None:
            refused = queues.poison.is_refused(digest)
            self._events.add(
                "input_refused" if refused else "crash_input",
                *served.id,
                input=digest,
                outline=str(outline),
                crashes=crashes,
            )

        queues.on_strike = tell

    # Renewing.

    def renew(self, model: Model, renewal: Renewal) -> None:
        """Load other contents for a number that serves; what serves goes on until they can be
        asked, and where they cannot be loaded."""
        fresh = renewal.fresh
        fresh.harness.move(begun(Act.LOAD, fresh.harness.state))
        model.beside.append(fresh)
        fresh.loading = self.start(self._renew(model, renewal))

    async def _renew(self, model: Model, renewal: Renewal) -> None:
        fresh = renewal.fresh
        try:
            await self._loader.attempts(model, fresh, self._load_once)
        except ServingError as error:
            renewal.error, renewal.failed_at = error, time.monotonic()
            self._events.add(
                "renewal_failed", *fresh.id, code=error.code.name, message=error.message
            )
            await self._drop(model, fresh)
            self._freed(model)

    def cancel_renewal(self, model: Model, renewal: Renewal) -> None:
        """Give up a renewal that is not wanted any more."""
        if renewal.fresh in model.beside:
            self.start(self._cancel_renewal(model, renewal.fresh))

    async def _cancel_renewal(self, model: Model, fresh: Served) -> None:
        assert fresh.loading is not None
        fresh.loading.cancel()
        await asyncio.wait([fresh.loading])
        if fresh in model.beside:
            await self._drop(model, fresh)
            self._decide(model)

    async def _drop(self, model: Model, fresh: Served) -> None:
        """Contents that will not take their number's place."""
        model.beside.remove(fresh)
        await self._loader.end(fresh)
        self._reservations.release(fresh)

    def _take_over(self, model: Model, fresh: Served, old: Served) -> None:
        """From now on a number is answered by its new contents."""
        number = fresh.id.version
        fresh.replaces = None
        model.renewals.pop(number, None)
        model.versions[number] = fresh
        model.beside.remove(fresh)
        self._events.add(
            "renewed",
            *fresh.id,
            message=f"Version {number} of {model.name} now answers with the contents of "
            f"{fresh.found.place.path}",
        )
        model.beside.append(old)
        self.start(self._retire(model, old))

    async def _retire(self, model: Model, old: Served) -> None:
        """Let contents that have lost their number answer what they have accepted, and end their
        process."""
        serves = old.harness.state is _S.READY
        for state in (_S.UNLOAD_REQUESTED, _S.QUIESCING) if serves else ():
            old.harness.move(state)
        if old.queues is not None:
            await self._scheduler.drain(old.queues, DRAIN_SECONDS)
        if old.replacement is not None and not old.replacement.done():
            old.replacement.cancel()
            await asyncio.wait([old.replacement])
        await self._loader.end(old)
        for state in (_S.QUIESCED, _S.UNLOADING, _S.DISABLED) if serves else ():
            old.harness.move(state)
        model.beside.remove(old)
        self._reservations.release(old)
        self._freed(model)
        self._decide(model)

    # Unloading.

    def unload(self, model: Model, served: Served) -> None:
        """Stop giving a version requests, let it answer those it has, and end its process."""
        served.harness.move(begun(Act.UNLOAD, served.harness.state))
        self.tell_state(served)
        model.refresh_ready()
        self.start(self._unload(model, served))

    async def _unload(self, model: Model, served: Served) -> None:
        harness = served.harness
        harness.move(_S.QUIESCING)
        assert served.queues is not None
        self._events.add("quiescing", *served.id, pending=served.queues.pending)
        left = await self._scheduler.drain(served.queues, DRAIN_SECONDS)
        if served.replacement is not None and not served.replacement.done():
            # Nobody waits for it any more.
            served.replacement.cancel()
            await asyncio.wait([served.replacement])
        harness.move(_S.QUIESCED)
        self._events.add("quiesced", *served.id, unanswered=left)
        harness.move(_S.UNLOADING)
        self._events.add("unloading", *served.id)
        await self._resting.rest(
            lambda: model.ready is not None and not self._reservations.waited_for()
        )
        await self._loader.end(served)
        harness.move(_S.DISABLED)
        self.tell_state(served)
        self._events.add("unloaded", *served.id)
        self._freed(model)
        self._decide(model)

    def cancel(self, model: Model, served: Served) -> None:
        """Give up a version that is not wanted any more and has never served. Its process is
        ended in the middle of whatever it does: a load can last, and nobody waits for this one."""
        if served.failed_loads:
            self._events.add("load_retry_cancelled", *served.id)
        self._events.add("load_cancelled", *served.id)
        served.harness.move(begun(Act.CANCEL, served.harness.state))
        self.tell_state(served)
        self.start(self._cancel(model, served))

    async def _cancel(self, model: Model, served: Served) -> None:
        if served.loading is not None:
            # It may be done in this very moment, and has then seen that it is given up.
            served.loading.cancel()
            await asyncio.wait([served.loading])
        await self._loader.end(served)
        served.harness.error = ServingError(Code.CANCELLED, "Loading of servable cancelled")
        served.harness.move(_S.DISABLED)
        self.tell_state(served)
        self._freed(model)
        self._decide(model)

    # Staying alive.

    def _watch(self, model: Model, served: Served, worker: Worker) -> None:
        worker.ended.add_done_callback(lambda _: self._worker_ended(model, served, worker))

    def _worker_ended(self, model: Model, served: Served, worker: Worker) -> None:
        """A worker that nobody asked to end has ended: its version gets another, unless it has
        answered all that it will be asked."""
        if served.worker is not worker or self.stopping or served.harness.state.has_drained:
            return
        reason, too_many = self._note_death(model, served, worker)
        queues = served.queues
        assert queues is not None
        self._scheduler.detach(queues)
        error = self._too_many(model, served, reason) if too_many else None
        # One that was idle was killed from outside: that says nothing against the version.
        own_doing = queues.died_at_work is worker
        served.replacement = self.start(
            self._replace_worker(model, served, reason, error, own_doing)
        )

    def _note_death(self, model: Model, served: Served, worker: Worker) -> tuple[str, bool]:
        served.worker = None
        reason = worker.ended.result()
        self._events.add("worker_exited", *served.id, pid=worker.pid, reason=reason)
        return reason, model.record(served).died(time.monotonic())

    def _too_many(self, model: Model, served: Served, reason: str) -> ServingError:
        deaths = len(model.record(served).deaths)
        if deaths < MAX_DEATHS:
            return unavailable(f"Its worker process died soon after its new start: {reason}")
        return unavailable(
            f"Its worker process died {deaths} times within {DEATH_WINDOW_SECONDS:.0f} s, "
            f"last: {reason}"
        )

    async def _replace_worker(
        self,
        model: Model,
        served: Served,
        reason: str,
        error: ServingError | None,
        own_doing: bool,
    ) -> None:
        """Another worker for a version that serves, or that still has requests to answer; or
        none, where there is an `error` already. `reason` is how the last one ended."""
        queues = served.queues
        assert queues is not None
        usual_seconds = served.load_seconds
        for attempt in itertools.count():
            if error is not None:
                await self._give_up(model, served, error, own_doing, usual_seconds)
                return
            pause = _REPLACEMENT_PAUSES[min(attempt, len(_REPLACEMENT_PAUSES) - 1)]
            begins = time.monotonic() + pause
            queues.outage = Outage(
                *served.id, reason, begins, False, usual_seconds, served.id.version
            )
            await asyncio.sleep(pause)
            queues.outage = replace(queues.outage, attempt_at=time.monotonic(), begun=True)
            try:
                worker = await self._loader.load(model, served)
                break
            except Exception as failure:
                # The replacement may itself be unlucky: that is one death more, no end.
                failed = as_serving_error(failure)
                reason, own_doing = failed.message, True
                self._events.add(
                    "load_failed", *served.id, code=failed.code.name, message=failed.message
                )
                too_many = model.record(served).died(time.monotonic())
                if not is_passing(failed) or served.harness.state is not _S.READY:
                    error = failed
                elif too_many:
                    error = self._too_many(model, served, failed.message)
        self._watch(model, served, worker)
        self._scheduler.attach(queues, worker)
        self._events.add("worker_replaced", *served.id, pid=worker.pid)
        self.start(self._reservations.loaded(model, served, worker))
        self._notify()

    async def _give_up(
        self,
        model: Model,
        served: Served,
        error: ServingError,
        own_doing: bool,
        usual_seconds: float,
    ) -> None:
        """Set aside a version that cannot be kept alive."""
        assert served.queues is not None
        if served.harness.state is not _S.READY:
            # It is being unloaded: those who still wait need not wait longer.
            await self._scheduler.drain(served.queues, 0.0)
            return
        record, now = model.record(served), time.monotonic()
        record.set_aside(
            now,
            error.message,
            own_doing=own_doing,
            alone=setting_aside.is_alone(model, served.id.version),
        )
        record.served = True
        record.start_seconds = usual_seconds
        assert record.until is not None
        self._events.add(
            "quarantined",
            *served.id,
            message=error.message,
            seconds=record.until - now,
            until=time.time() + record.until - now,
        )
        served.harness.fail(error)
        model.refresh_ready()
        self._look_at_held(model)
        self._parking.close(model, served)
        self.tell_state(served)
        self._events.add("error", *served.id, code=error.code.name, message=error.message)
        self._decide(model)
        self._freed(model)
