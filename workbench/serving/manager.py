"""The manager: brings what is loaded in line with what is aspired, one decision at a time.

For each model it asks the transition policy what to do next, does it, and asks again when
anything has changed: a folder appeared, a load ended, a version drained, a worker died.
Models do not wait for each other; a slow or failing load concerns its own model only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench.core.batching_parameters import BatchingParameters
from workbench.core.events import EventLog
from workbench.core.holding import worth_waiting
from workbench.core.states import FINAL_STATES, Harness, HarnessState, ServableId
from workbench.core.status import Code, ServingError, invalid_argument, not_found, unavailable
from workbench.core.transitions import Act, Version, holds, policy_named
from workbench.serving.model import Model, ModelConfig, Served
from workbench.serving.scheduler import BatchScheduler
from workbench.serving.source import FolderSource, Found, Poll
from workbench.serving.tasks import VersionQueues
from workbench.serving.worker import Worker
from workbench.serving.zygote import Zygote

_S = HarnessState

# A lane whose answer is being handed out cannot take the next batch: that one takes the spare.
_SPARE_LANES = 1

POLL_SECONDS = 1.0
_WAITING_POLL_SECONDS = 1.0
"""How often, at least, a folder with an incomplete version is looked at."""
DRAIN_SECONDS = 30.0
LOAD_SECONDS = 600.0
# A version whose workers die this often in that time is not started again.
_MAX_DEATHS, _DEATH_WINDOW_SECONDS = 3, 60.0
_ENDED_KEPT = 16
_REVIVABLE = frozenset({_S.NEW, _S.LOAD_REQUESTED, _S.LOAD_APPROVED, _S.LOADING, _S.READY})
_PASSING = frozenset(
    {Code.UNAVAILABLE, Code.INTERNAL, Code.UNKNOWN, Code.ABORTED, Code.RESOURCE_EXHAUSTED}
)
"""Codes of failures that may go away by themselves; others are final until files change."""


class Manager:
    """Loads and unloads versions of models in worker processes.

    Args:
        cpus: what `intra_op_threads` is divided from.
        poll_seconds: how often each model's folder is looked at.
        read_batching: reads the parameters that a version's folder has for itself.
    """

    def __init__(
        self,
        events: EventLog,
        zygote: Zygote,
        scheduler: BatchScheduler,
        cpus: int,
        poll_seconds: float = POLL_SECONDS,
        read_batching: Callable[[Path], BatchingParameters] | None = None,
    ) -> None:
        self.models: dict[str, Model] = {}
        self.events = events
        self._zygote = zygote
        self._scheduler = scheduler
        self._cpus = cpus
        self._poll_seconds = poll_seconds
        self._read_batching = read_batching
        self._pollers: dict[str, asyncio.Task[None]] = {}
        self._poll_now: dict[str, asyncio.Event] = {}
        # Loading is mostly one thread's work: more at once than CPUs only slows each.
        self._load_slots = asyncio.Semaphore(max(2, cpus))
        self._changed = asyncio.Event()
        # Everything that goes on in the background, to be ended with the manager.
        self._jobs: set[asyncio.Task[None]] = set()
        self._stopping = False

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        job = asyncio.get_running_loop().create_task(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job

    # What is wanted.

    def set_model(self, config: ModelConfig) -> Model:
        """Add a model, or change the settings of one that is there.

        A new `base_path` brings its own versions under the model's transition policy; a version
        number that is loaded already stays as it is, as in TensorFlow Serving.
        """
        model = self.models.get(config.name)
        if model is None:
            model = self.models[config.name] = Model(config)
        old, model.config = model.config, config
        if old.base_path != config.base_path:
            model.source = FolderSource(config.name, config.base_path)
        if old.batching != config.batching and not config.version_batching:
            for served in model.versions.values():
                if served.queues is not None:
                    self._scheduler.reconfigure(served.queues, config.batching)
        if config.name in self._pollers:
            self.events.add("model_changed", config.name, config=config.to_json())
            self.poll_soon(config.name)
        else:
            # Also a model that was removed and still has versions to unload.
            model.removed = False
            model.polled = False
            self.events.add("model_added", config.name, config=config.to_json())
            self._poll_now[config.name] = asyncio.Event()
            self._pollers[config.name] = self._start(self._poll(model))
        return model

    def remove_model(self, name: str) -> None:
        """Un-aspire all versions of a model, and forget it when they are gone.

        Raises:
            ServingError: NOT_FOUND, there is no such model.
        """
        model = self.models.get(name)
        if model is None or model.removed:
            raise not_found(f"Could not find model {name}")
        model.removed = True
        self._pollers.pop(name).cancel()
        self._poll_now.pop(name)
        self.events.add("model_removed", name)
        self._aspire(model, [])

    def poll_soon(self, name: str, complete: Iterable[int] = ()) -> None:
        """Look at a model's folder now; the `complete` versions were put there by a rename."""
        model = self.models.get(name)
        if model is None or model.removed:
            raise not_found(f"Could not find model {name}")
        for version in complete:
            model.source.trust(version)
        self._poll_now[name].set()

    async def _poll(self, model: Model) -> None:
        wake = self._poll_now[model.name]
        while True:
            wake.clear()
            poll = await asyncio.to_thread(model.source.poll, model.config.version_policy)
            kept = _goes_on(model, poll)
            if kept:
                poll.warnings.append(
                    f"What is served of {model.name} goes on being served. Remove the model, or "
                    "set servable_versions_always_present to false, to unload it."
                )
            kind = "source_unreadable" if poll.aspired is None else "source_error"
            for warning in poll.warnings:
                if warning not in model.warnings:
                    self.events.add(kind, model.name, message=warning)
            model.warnings = poll.warnings
            for version, reason in poll.waiting.items():
                if model.waiting.get(version) != reason:
                    self.events.add(
                        "source_waiting",
                        model.name,
                        version,
                        message=f"Version {version} of {model.name} is not complete yet, "
                        f"waiting: {reason}",
                    )
            model.waiting = poll.waiting
            if poll.aspired is not None and not kept:
                model.polled = self._aspire(model, poll.aspired)
            else:
                model.polled = True
            self._notify()
            seconds = self._poll_seconds
            if poll.waiting:
                # Also where folders are looked at once: it was there, and would be lost for good.
                seconds = min(seconds, _WAITING_POLL_SECONDS)
            try:
                await asyncio.wait_for(wake.wait(), seconds)
            except asyncio.TimeoutError:
                pass

    def _aspire(self, model: Model, wanted: list[Found]) -> bool:
        """The source's word: exactly these versions; all others are not aspired any more.

        False, and nothing changes, while one of them must be gone first to come back.
        """
        by_version = {found.version: found for found in wanted}
        self._flush(model)
        for version in by_version.keys() & model.versions.keys():
            harness = model.versions[version].harness
            if not harness.aspired and harness.state not in _REVIVABLE:
                # It is being unloaded and wanted back. As in TensorFlow Serving, all of this is
                # put off until it is gone: else, meanwhile, no version would be aspired, and a
                # policy that preserves availability would unload the one that serves.
                return False
        for version, served in model.versions.items():
            found = by_version.get(version)
            if served.harness.aspired and found is None:
                served.harness.aspired = False
                served.retrying = False
                self.events.add("unaspired", model.name, version)
            elif found is not None and not served.harness.aspired:
                # It comes back before it was gone: a version that still serves just goes on.
                served.harness.aspired = True
                served.retrying = True
                self.events.add("aspired", model.name, version)
            elif (
                found is not None
                and served.harness.state is _S.ERROR
                and found.fingerprint != served.found.fingerprint
            ):
                # Somebody has mended its files: it gets another chance.
                served.harness.aspired = False
        self._flush(model)
        for version, found in sorted(by_version.items()):
            if version not in model.versions:
                served = Served(Harness(ServableId(model.name, version)), found)
                model.versions[version] = served
                model.ended.pop(version, None)
                self.events.add("aspired", model.name, version, path=found.path)
                self._state(served)
        self._reconcile(model)
        return True

    # What is done about it.

    def _flush(self, model: Model) -> None:
        """Forget versions that are not wanted and have nothing loaded."""
        for version, served in list(model.versions.items()):
            state = served.harness.state
            if not served.harness.aspired and (state in FINAL_STATES or state is _S.NEW):
                del model.versions[version]
                if state is _S.NEW:
                    continue
                model.ended[version] = served
                while len(model.ended) > _ENDED_KEPT:
                    del model.ended[next(iter(model.ended))]

    def _reconcile(self, model: Model) -> None:
        """Ask the policy until it has nothing more to say for now."""
        policy = policy_named(model.config.transition)
        while not self._stopping:
            self._flush(model)
            action = policy(_view(model))
            if action is None:
                break
            served = model.versions[action.version]
            self.events.add(
                "decision", model.name, action.version, act=action.act.value, why=action.why
            )
            if action.act is Act.LOAD:
                served.harness.move(_S.LOAD_REQUESTED)
                self._start(self._load(model, served))
            else:
                served.harness.move(_S.UNLOAD_REQUESTED)
                self._state(served)
                model.refresh_ready()
                self._start(self._unload(model, served))
        self._release_held(model)
        if model.removed and not model.versions:
            self.models.pop(model.name, None)
        self._notify()

    def _release_held(self, model: Model) -> None:
        """Let requests go on for which a version has come, or will not."""
        if model.held and (self._stopping or not worth_waiting(_view(model))):
            waited = time.monotonic() - model.held_since
            released = model.held.release()
            self.events.add("held_released", model.name, requests=released, seconds=waited)

    async def _load(self, model: Model, served: Served) -> None:
        attempt = 0
        try:
            while True:
                try:
                    async with self._load_slots:
                        await self._load_once(model, served)
                    break
                except ServingError as error:
                    served.failed_loads += 1
                    self.events.add(
                        "load_failed", *served.id, code=error.code.name, message=error.message
                    )
                    self._notify()
                    if not served.retrying:
                        self.events.add("load_retry_cancelled", *served.id)
                        raise
                    if error.code not in _PASSING and not model.config.retry_all_load_errors:
                        raise
                    if attempt >= model.config.max_load_retries:
                        self.events.add("load_retries_exhausted", *served.id, retries=attempt)
                        raise
                attempt += 1
                await asyncio.sleep(model.config.load_retry_seconds)
                if not served.retrying:
                    self.events.add("load_retry_cancelled", *served.id)
                    raise ServingError(Code.CANCELLED, "Loading of servable cancelled")
                self.events.add("load_retry", *served.id, attempt=attempt)
        except ServingError as error:
            await self._fail(model, served, error)
            return
        if not served.harness.aspired:
            # Not wanted any more by the time it was ready.
            self.events.add("load_cancelled", *served.id)
            served.harness.move(_S.UNLOADING)
            self._state(served)
            await self._end_worker(served)
            served.harness.error = ServingError(Code.CANCELLED, "Loading of servable cancelled")
            served.harness.move(_S.DISABLED)
            self._state(served)
            self._look_again(model)
        self._reconcile(model)

    async def _load_once(self, model: Model, served: Served) -> None:
        """One attempt, from reserving resources to a worker that can be asked."""
        harness = served.harness
        if harness.state is _S.LOAD_REQUESTED:
            # TensorFlow Serving's estimate; what it really takes is measured afterwards.
            estimate = round(1.2 * served.found.size_bytes)
            self.events.add("reserved", *served.id, bytes=estimate, estimated=True)
            harness.move(_S.LOAD_APPROVED)
            self._state(served)
            self.events.add("load_approved", *served.id)
            harness.move(_S.LOADING)
            self.events.add("loading", *served.id, path=served.found.path)
        batching = model.config.batching
        if model.config.version_batching:
            batching = await self._own_batching(served)
        served.batched = batching is not None
        worker = await self._start_worker(model, served)
        if not harness.aspired:
            return
        assert served.report is not None
        served.queues = VersionQueues(
            served.report.signatures, batching, model.config.automatic_batching
        )
        self._scheduler.attach(served.queues, worker)
        harness.move(_S.READY)
        served.ready_at = time.time()
        model.refresh_ready()
        self._state(served)
        self.events.add("available", *served.id, seconds=served.load_seconds)

    async def _own_batching(self, served: Served) -> BatchingParameters | None:
        """What the version's folder says of its batching; None, not batched, where it says
        nothing."""
        file = Path(served.found.path) / "batching_params.pbtxt"
        if self._read_batching is None or not file.exists():
            return None
        return await asyncio.to_thread(self._read_batching, file)

    async def _start_worker(self, model: Model, served: Served) -> Worker:
        """A new worker process that has loaded this version."""
        started = time.monotonic()
        worker = await Worker.spawn(self._zygote)
        served.worker = worker
        served.spawn_seconds = time.monotonic() - started
        self.events.add("worker_started", *served.id, pid=worker.pid)

        def progress(kind: str, data: dict[str, Any]) -> None:
            self.events.add(kind, *served.id, **data)
            if kind == "loaded_saved_model" and served.batched:
                self.events.add("session_wrapped", *served.id)

        intra = model.config.intra_op_threads or max(1, self._cpus // self._scheduler.slots)
        try:
            served.report = await asyncio.wait_for(
                worker.load(
                    served.found.path,
                    tags=model.config.tags,
                    intra_op_threads=intra,
                    warm_up=model.config.enable_model_warmup,
                    warm_up_iterations=model.config.num_request_iterations_for_warmup,
                    progress=progress,
                ),
                LOAD_SECONDS,
            )
            await worker.open_lanes(self._scheduler.slots + _SPARE_LANES)
        except asyncio.TimeoutError:
            await self._end_worker(served)
            raise ServingError(
                Code.DEADLINE_EXCEEDED, f"The model did not load within {LOAD_SECONDS:.0f} s"
            ) from None
        except BaseException:
            await self._end_worker(served)
            raise
        served.load_seconds = time.monotonic() - started
        worker.ended.add_done_callback(lambda _: self._worker_ended(model, served, worker))
        return worker

    async def _end_worker(self, served: Served) -> None:
        worker, served.worker = served.worker, None
        if worker is not None:
            await worker.stop()

    async def _fail(self, model: Model, served: Served, error: ServingError) -> None:
        served.harness.fail(error)
        self._state(served)
        self.events.add("error", *served.id, code=error.code.name, message=error.message)
        self.events.add("not_loaded", *served.id, code=error.code.name, message=error.message)
        model.refresh_ready()
        self._reconcile(model)

    async def _unload(self, model: Model, served: Served) -> None:
        """Stop giving it requests, let it answer those it has, and end its process."""
        harness = served.harness
        harness.move(_S.QUIESCING)
        assert served.queues is not None
        self.events.add("quiescing", *served.id, pending=served.queues.pending)
        left = await self._scheduler.drain(served.queues, DRAIN_SECONDS)
        if served.replacement is not None and not served.replacement.done():
            # Nobody waits for it any more.
            served.replacement.cancel()
            await asyncio.wait([served.replacement])
        harness.move(_S.QUIESCED)
        self.events.add("quiesced", *served.id, unanswered=left)
        harness.move(_S.UNLOADING)
        self.events.add("unloading", *served.id)
        await self._end_worker(served)
        harness.move(_S.DISABLED)
        self._state(served)
        self.events.add("unloaded", *served.id)
        self._look_again(model)
        self._reconcile(model)

    def _look_again(self, model: Model) -> None:
        """A version is gone: what the source wanted in the meantime may have been put off."""
        if model.name in self._poll_now:
            self._poll_now[model.name].set()

    def _worker_ended(self, model: Model, served: Served, worker: Worker) -> None:
        """A worker that nobody asked to end has ended: its version gets another."""
        if served.worker is not worker or self._stopping:
            return
        served.worker = None
        reason = worker.ended.result()
        self.events.add("worker_exited", *served.id, pid=worker.pid, reason=reason)
        assert served.queues is not None
        self._scheduler.detach(served.queues)
        now = time.monotonic()
        served.deaths = [t for t in served.deaths if now - t < _DEATH_WINDOW_SECONDS] + [now]
        served.replacement = self._start(self._replace_worker(model, served, reason))

    async def _replace_worker(self, model: Model, served: Served, reason: str) -> None:
        """Another worker for a version that serves, or that still has requests to answer."""
        queues = served.queues
        assert queues is not None
        try:
            if len(served.deaths) >= _MAX_DEATHS:
                raise unavailable(
                    f"Its worker process died {len(served.deaths)} times within "
                    f"{_DEATH_WINDOW_SECONDS:.0f} s, last: {reason}"
                )
            worker = await self._start_worker(model, served)
        except ServingError as error:
            if served.harness.state is not _S.READY:
                # It is being unloaded: those who still wait need not wait longer.
                await self._scheduler.drain(queues, 0.0)
                return
            self.events.add("quarantined", *served.id, message=error.message)
            served.harness.fail(error)
            model.refresh_ready()
            await self._scheduler.drain(queues, 0.0)
            self._state(served)
            self.events.add("error", *served.id, code=error.code.name, message=error.message)
            self._reconcile(model)
            return
        self._scheduler.attach(queues, worker)
        self.events.add("worker_replaced", *served.id, pid=worker.pid)
        self._notify()

    # What others ask.

    def find(self, name: str, version: int | None = None, label: str | None = None) -> Served:
        """The version that answers a request: the one asked for by number or by label, else
        the highest that is available.

        Raises:
            ServingError: NOT_FOUND or INVALID_ARGUMENT, with TensorFlow Serving's text.
        """
        model = self.models.get(name)
        if label is not None:
            version = model.config.labels.get(label) if model is not None else None
            if version is None:
                raise invalid_argument(f"Unrecognized servable version label: {label}")
        if version is None:
            if model is not None and model.ready is not None:
                return model.ready
            raise not_found(f"Servable not found for request: Latest({name})")
        served = model.versions.get(version) if model is not None else None
        if served is None or served.harness.state is not _S.READY:
            raise not_found(f"Servable not found for request: Specific({name}, {version})")
        return served

    def hold(self, name: str, resume: Callable[[], None]) -> Callable[[], None] | None:
        """Hold a request for which there is no version just now, if the model's transition does
        that and a version is on its way.

        Args:
            resume: called once when the request may look for a version again.

        Returns:
            What takes the request out again; None where it is not held.

        Raises:
            ServingError: UNAVAILABLE, too many are held already.
        """
        model = self.models.get(name)
        if model is None or self._stopping or not holds(model.config.transition):
            return None
        if not worth_waiting(_view(model)):
            return None
        if not model.held:
            model.held_since = time.monotonic()
        return model.held.add(resume)

    def status(self, name: str, version: int | None = None) -> list[Served]:
        """All versions of a model, highest first, or the one asked for.

        Raises:
            ServingError: NOT_FOUND, with TensorFlow Serving's text.
        """
        model = self.models.get(name)
        listed = model.listed() if model is not None else []
        if version is None:
            if not listed:
                raise not_found(f"Could not find any versions of model {name}")
            return listed
        for served in listed:
            if served.id.version == version:
                return [served]
        raise not_found(f"Could not find version {version} of model {name}")

    @property
    def changed(self) -> asyncio.Event:
        """Set, and replaced by a fresh one, whenever any version may have changed."""
        return self._changed

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _state(self, served: Served) -> None:
        self.events.add(
            "state",
            *served.id,
            state=served.harness.public_state.name,
            harness=served.harness.state.value,
        )
        self._notify()

    def set_slots(self, slots: int) -> None:
        """Run this many batches at once from now on, over all versions."""
        self._scheduler.slots = slots
        for model in self.models.values():
            for served in model.versions.values():
                if served.worker is not None and served.harness.state is _S.READY:
                    self._start(served.worker.open_lanes(slots + _SPARE_LANES))

    def update(self, name: str, **changes: object) -> Model:
        """Change some settings of a model; raises NOT_FOUND for an unknown one."""
        model = self.models.get(name)
        if model is None or model.removed:
            raise not_found(f"Could not find model {name}")
        return self.set_model(replace(model.config, **changes))  # type: ignore[arg-type]

    async def stop(self, drain_seconds: float) -> None:
        """End every version: requests that wait are answered first, as far as time allows."""
        self._stopping = True
        for model in self.models.values():
            model.held.release()
        for job in self._jobs:
            job.cancel()
        if self._jobs:
            await asyncio.wait(self._jobs)
        versions = [s for m in self.models.values() for s in m.versions.values()]

        async def end(served: Served) -> None:
            if served.queues is not None:
                await self._scheduler.drain(served.queues, drain_seconds)
            await self._end_worker(served)

        await asyncio.gather(*(end(s) for s in versions), return_exceptions=True)


def _goes_on(model: Model, poll: Poll) -> bool:
    """Whether what is served goes on although the folder is empty: more often than anybody
    removes every version, a storage is away."""
    return (
        poll.empty
        and model.config.servable_versions_always_present
        and any(served.harness.aspired for served in model.versions.values())
    )


def _view(model: Model) -> list[Version]:
    """The versions as the policies look at them."""
    return [Version(v, s.harness.state, s.harness.aspired) for v, s in model.versions.items()]
