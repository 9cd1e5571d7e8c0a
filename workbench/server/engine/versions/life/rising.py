"""A version on its way to serving: it is staged, loaded and tried, or it fails."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path

from workbench.core.batching.merging import Merging
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import Code, ServingError
from workbench.core.versions.misfits import Form
from workbench.core.versions.poison import Outline
from workbench.core.versions.policies import Act
from workbench.core.versions.reconcile import begun
from workbench.core.versions.states import HarnessState
from workbench.server.engine.batching.tasks import VersionQueues
from workbench.server.engine.memory.reservations import is_refused
from workbench.server.engine.trial import Trial, TrialResult
from workbench.server.engine.versions import setting_aside
from workbench.server.engine.versions.life.leaving import Leaving
from workbench.server.engine.versions.life.loading import is_passing
from workbench.server.engine.versions.life.revival import Revival
from workbench.server.engine.versions.life.shared import Shared
from workbench.server.engine.versions.model import Model, Served, error_json
from workbench.server.engine.workers.worker_handle import StageReport, Worker

_S = HarnessState


class Rising:
    """Stages and loads versions.

    A version's state moves at once if the next decision depends on it; the rest goes on in the
    background.
    """

    def __init__(self, shared: Shared, leaving: Leaving) -> None:
        self._shared = shared
        self._events = shared.events
        self._revival = Revival(shared)
        self._leaving = leaving

    # Staging.

    def stage(self, model: Model, served: Served) -> None:
        """Prepare a version in a worker process, up to but without its weights."""
        served.harness.move(begun(Act.STAGE, served.harness.state))
        served.loading = self._shared.start(self._stage(model, served))

    async def _stage(self, model: Model, served: Served) -> None:
        harness = served.harness
        try:
            report = await self._shared.loader.attempts(model, served, self._stage_once)
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
        assert served.worker is not None
        self._revival.watch_staged(model, served, served.worker)
        self._shared.directory.notify()
        self._shared.decide(model)

    async def _stage_once(self, model: Model, served: Served) -> StageReport:
        if served.harness.state is _S.LOAD_REQUESTED:
            await self._approve(model, served, _S.STAGING)
        return await self._shared.loader.stage(model, served)

    # Loading.

    def load(self, model: Model, served: Served) -> None:
        """Load a version, or finish the load of one that is staged."""
        served.harness.move(begun(Act.LOAD, served.harness.state))
        served.loading = self._shared.start(self._load(model, served))

    async def _load(self, model: Model, served: Served) -> None:
        try:
            if served.harness.state is _S.LOADING:
                # It was staged, with memory for its graph only.
                await self._reserve(model, served)
                self._events.add("loading", *served.id, path=served.found.path)
            await self._shared.loader.attempts(model, served, self.load_once)
        except ServingError as error:
            # A staged version without memory for its weights still has a process.
            await self._shared.loader.end(served)
            self._fail(model, served, error)
            return
        self._shared.decide(model)

    async def load_once(self, model: Model, served: Served) -> None:
        """One attempt, from reserving memory to a version that serves.

        Raises:
            ServingError: why it failed.
        """
        harness = served.harness
        if harness.state is _S.LOAD_REQUESTED:
            await self._approve(model, served, _S.LOADING)
        batching = model.config.batching
        if model.config.version_batching:
            batching = await self._own_batching(served)
        served.batched = batching is not None
        worker = await self._shared.loader.load(model, served)
        served.trial = await self._try(model, served, worker, batching)
        if harness.state is not _S.UNLOADING:
            self._begin_to_serve(model, served, worker, batching, served.trial)

    def _begin_to_serve(
        self,
        model: Model,
        served: Served,
        worker: Worker,
        batching: BatchingParameters | None,
        trial: TrialResult,
    ) -> None:
        self._revival.watch(model, served, worker)
        served.queues = VersionQueues(
            served.signatures,
            batching,
            dict(trial.merging),
            model.config.hang_seconds,
            model.recent,
            served.id.version,
            served.poison,
            partial(self._merging, served),
            partial(self._crashed_on, served),
            partial(self._refuses, served),
        )
        self._shared.scheduler.attach(served.queues, worker)
        served.harness.move(_S.READY)
        if served.replaces is not None:
            self._leaving.replace(model, served.replaces, served)
        served.ready_at = time.time()
        record = model.failing.get(served.id.version)
        if record is not None:
            record.serves(time.monotonic())
            self._shared.freed(model)
        model.refresh_ready()
        self._shared.report_state(served)
        self._events.add(
            "available", *served.id, seconds=served.load_seconds, breakdown=dict(served.breakdown)
        )
        # Only once it serves: reading the memory of a large process takes time.
        self._shared.start(self._shared.reservations.loaded(model, served, worker))

    async def _try(
        self, model: Model, served: Served, worker: Worker, batching: BatchingParameters | None
    ) -> TrialResult:
        """Send a loaded version a request for each of its signatures, before any client does.

        Raises:
            ServingError: it can never answer; its process is gone.
        """
        config, report, before = model.config, served.report, model.predecessor(served)
        assert report is not None
        trial = Trial(
            mode=config.probe,
            report=report,
            worker=worker,
            recent=model.recent,
            automatic=config.automatic_batching,
            sizes=() if batching is None else batching.allowed_batch_sizes,
            seconds=config.hang_seconds,
            quiet=model.ready is not None,
        )
        try:
            result = await trial.run(before, batching is not None)
        except BaseException:
            await self._shared.loader.end(served)
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
        """Whether a signature's requests are merged has changed while the version serves."""
        self._events.add("merging", *served.id, signature=signature, **merging.to_json())
        self._shared.directory.notify()

    def _crashed_on(self, served: Served, digest: str, outline: Outline, crashes: int) -> None:
        """A crash has been blamed on an input."""
        self._events.add(
            "input_refused" if served.poison.is_refused(digest) else "crash_input",
            *served.id,
            input=digest,
            outline=str(outline),
            crashes=crashes,
        )

    def _refuses(self, served: Served, form: Form) -> None:
        """A worker has died of a request that disagrees with its signature."""
        self._events.add("shape_refused", *served.id, form=str(form))

    async def _reserve(self, model: Model, served: Served, prepared: bool = False) -> None:
        """Reserve memory; if there is too little, end the processes that only rest."""
        shared = self._shared
        if shared.resting and shared.reservations.refusal(model, served) is not None:
            await shared.resting.end()
            if served.harness.state is _S.UNLOADING:
                # It was cancelled meanwhile.
                raise asyncio.CancelledError
        shared.reservations.reserve(model, served, prepared)

    async def _approve(self, model: Model, served: Served, state: HarnessState) -> None:
        """Reserve memory for a load that begins, and move to `state`: staging or loading."""
        staging = state is _S.STAGING
        await self._reserve(model, served, prepared=staging)
        served.harness.move(_S.LOAD_APPROVED)
        self._shared.report_state(served)
        self._events.add("load_approved", *served.id)
        served.harness.move(state)
        self._events.add("staging" if staging else "loading", *served.id, path=served.found.path)

    async def _own_batching(self, served: Served) -> BatchingParameters | None:
        """The batching parameters in the version's folder; None, not batched, if it has none."""
        file = Path(served.found.place.path) / "batching_params.pbtxt"
        read = self._shared.read_batching
        if read is None or not file.exists():
            return None
        return await asyncio.to_thread(read, file)

    # Failing.

    def refuse(self, model: Model, served: Served, error: ServingError | None = None) -> None:
        """Fail a version whose load has ended or never begins; without an `error`, because its
        files are damaged."""
        error = error or served.found.damage
        assert error is not None
        served.harness.fail(error)
        # A version without memory is not to blame: it waits for memory.
        if error.code is not Code.CANCELLED and not is_refused(served):
            record = model.record(served)
            record.set_aside(
                time.monotonic(),
                error.message,
                final=not is_passing(error),
                alone=record.served and setting_aside.is_alone(model, served.id.version),
            )
        self._shared.report_state(served)
        self._events.add("error", *served.id, **error_json(error))
        self._events.add("not_loaded", *served.id, **error_json(error))

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
        self._shared.look_at_held(model)
        self._shared.decide(model)
        if model.ready is None:
            # Perhaps there is an older version that can serve in its place.
            self._shared.freed(model)
