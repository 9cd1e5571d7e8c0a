"""The manager: brings what is loaded in line with what is aspired, one decision at a time.

For each model it asks the transition policy what to do next, does it, and asks again when
anything has changed: a folder appeared, a load ended, a version drained, a worker died.
Models do not wait for each other; a slow or failing load concerns its own model only.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.events import EventLog
from workbench.core.model_settings import ModelConfig
from workbench.core.status import invalid_argument, not_found
from workbench.core.versions.holding import worth_waiting
from workbench.core.versions.policies import Act, Action, Version, holds
from workbench.core.versions.reconcile import forgotten, reconcile
from workbench.core.versions.states import (
    Harness,
    HarnessState,
    ServableId,
)
from workbench.server.engine.batching.scheduler import BatchScheduler
from workbench.server.engine.memory.gpu import Gpus
from workbench.server.engine.memory.reservations import MemorySettings, Reservations, is_refused
from workbench.server.engine.versions import setting_aside
from workbench.server.engine.versions.lifecycle import Lifecycle
from workbench.server.engine.versions.loading import LOAD_SECONDS, SPARE_LANES, Loader
from workbench.server.engine.versions.model import Model, Served
from workbench.server.engine.versions.outages import outage_of
from workbench.server.engine.versions.renewal import Renewals
from workbench.server.engine.versions.source import FolderSource, Poll
from workbench.server.engine.versions.version_folder import Found
from workbench.server.engine.workers.heartbeat import Heartbeat
from workbench.server.engine.workers.worker_handle import Worker
from workbench.server.engine.workers.zygote_handle import Zygote

_S = HarnessState

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
_WAITING_POLL_SECONDS = 1.0
"""How often, at least, a folder with an incomplete version is looked at."""
_ENDED_KEPT = 16
_REMOVED_KEPT = 1000
"""Models that are removed, whose versions are still reported as ended; the latest of them."""


class Manager:
    """Loads and unloads versions of models in worker processes.

    Args:
        cpus: what `intra_op_threads` is divided from.
        poll_seconds: how often each model's folder is looked at.
        read_batching: reads the parameters that a version's folder has for itself.
        gpus: where `device` finds them; None: there are none.
        memory: the limits for all versions together.
        load_seconds: the longest that a load may take.
    """

    def __init__(
        self,
        events: EventLog,
        zygote: Zygote,
        scheduler: BatchScheduler,
        cpus: int,
        poll_seconds: float = POLL_SECONDS,
        read_batching: Callable[[Path], BatchingParameters] | None = None,
        load_seconds: float = LOAD_SECONDS,
        gpus: Gpus | None = None,
        memory: MemorySettings | None = None,
    ) -> None:
        self.models: dict[str, Model] = {}
        # What is left to say of models that have been removed: their versions have ended.
        self._removed: dict[str, dict[int, Served]] = {}
        self.events = events
        self.reservations = Reservations(
            events,
            gpus or Gpus(None),
            lambda: self.models,
            self._retry_soon,
            memory or MemorySettings(),
        )
        self._scheduler = scheduler
        self._poll_seconds = poll_seconds
        self._pollers: dict[str, asyncio.Task[None]] = {}
        self._poll_now: dict[str, asyncio.Event] = {}
        self._changed = asyncio.Event()
        self.loader = Loader(
            events,
            zygote,
            lambda: scheduler.slots,
            cpus,
            load_seconds,
            self._any_serves,
            self.reservations,
        )
        self._lifecycle = Lifecycle(
            events,
            self.loader,
            scheduler,
            self.reservations,
            decide=self._reconcile,
            freed=self._look_again,
            notify=self._notify,
            read_batching=read_batching,
        )
        self._renewals = Renewals(events, self._lifecycle)
        self._heartbeat = Heartbeat(self._serving, events)
        scheduler.on_stuck = self._end_stuck

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
            self.retry_refused()
            self.poll_soon(config.name)
        else:
            # Also a model that was removed and still has versions to unload.
            model.removed = False
            model.polled = False
            self.events.add("model_added", config.name, config=config.to_json())
            self._poll_now[config.name] = asyncio.Event()
            self._pollers[config.name] = self._lifecycle.start(self._poll(model))
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
        self._renewals.look(model, [])
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
            looked = time.monotonic()
            try:
                model.polled = await self._poll_once(model)
            except Exception as error:
                # Whatever it was, the folder is looked at again: a poller that ended would leave
                # the model as it is for ever.
                logger.exception("Looking at the folder of %s failed", model.name)
                self._warn(model, [f"The folder of {model.name} could not be read: {error!r}"])
                model.polled = True
            if model.falling_back:
                model.falling_back = False
                self._release_held(model)
            self._notify()
            pause = min(self._poll_seconds, setting_aside.next_change(model, looked))
            if model.waiting:
                # Also where folders are looked at once: it was there, and would be lost for good.
                pause = min(pause, _WAITING_POLL_SECONDS)
            try:
                await asyncio.wait_for(wake.wait(), pause)
            except asyncio.TimeoutError:
                pass

    async def _poll_once(self, model: Model) -> bool:
        """Look at a model's folder; whether what it wants has been taken up."""
        avoid, probation = setting_aside.look(model, self.events)
        poll = await asyncio.to_thread(
            model.source.poll, model.config.version_policy, avoid, probation
        )
        _keep_waiting(model, poll)
        kept = _goes_on(model, poll)
        if poll.aspired is not None and not kept:
            # Before anything is told: from here on all is done in one turn of the loop.
            await self.reservations.look(model.config, poll.aspired)
        if kept:
            poll.warnings.append(
                f"What is served of {model.name} goes on being served. Remove the model, or "
                "set servable_versions_always_present to false, to unload it."
            )
        if poll.aspired is not None and not kept:
            poll.warnings += self._renewals.look(model, poll.aspired)
        unreadable = poll.aspired is None
        self._warn(model, poll.warnings, "source_unreadable" if unreadable else "source_error")
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
        self._tell_damaged(model, poll)
        if poll.aspired is not None and not kept:
            setting_aside.note(model, poll, self.events)
            return self._aspire(model, poll.aspired)
        return True

    def _tell_damaged(self, model: Model, poll: Poll) -> None:
        """Versions that are left out because they cannot be loaded as they are: each is told once,
        and has failed, until its files change."""
        for version in poll.waiting:
            ended = model.ended.get(version)
            if ended is not None and ended.found.damage is not None:
                del model.ended[version]
        for version, found in poll.damaged.items():
            ended = model.ended.get(version)
            told = ended is not None and ended.found == found
            if told or version in model.versions or found in (poll.aspired or ()):
                continue
            served = Served(Harness(ServableId(model.name, version)), found)
            self._ended(model, served)
            self._lifecycle.refuse(model, served)

    def _warn(self, model: Model, warnings: list[str], kind: str = "source_error") -> None:
        for warning in warnings:
            if warning not in model.warnings:
                self.events.add(kind, model.name, message=warning)
        model.warnings = warnings

    def _aspire(self, model: Model, wanted: list[Found]) -> bool:
        """The source's word: exactly these versions; all others are not aspired any more.

        False, and nothing changes, while one of them must be gone first to come back.
        """
        by_version = {found.version: found for found in wanted}
        model.falling_back = False
        self._flush(model)
        for version in by_version.keys() & model.versions.keys():
            harness = model.versions[version].harness
            if not harness.aspired and not harness.state.is_revivable:
                # It is being unloaded and wanted back. As in TensorFlow Serving, all of this is
                # put off until it is gone: else, meanwhile, no version would be aspired, and a
                # policy that preserves availability would unload the one that serves.
                return False
        for version, served in model.versions.items():
            found = by_version.get(version)
            if served.harness.aspired and found is None:
                served.harness.aspired = False
                self.events.add("unaspired", model.name, version)
            elif found is not None and not served.harness.aspired and not served.outdated:
                # It comes back before it was gone: a version that still serves just goes on.
                served.harness.aspired = True
                self.events.add("aspired", model.name, version)
            elif (
                found is not None
                and served.harness.state is _S.ERROR
                and (
                    found.fingerprint != served.found.fingerprint
                    or setting_aside.is_due(model, version)
                    or served.fits_now
                )
            ):
                # Somebody has mended its files, its pause is over, or there is memory for it now:
                # it gets another chance.
                served.harness.aspired = False
        self._flush(model)
        for version, found in sorted(by_version.items()):
            if version not in model.versions:
                served = Served(Harness(ServableId(model.name, version)), found)
                model.versions[version] = served
                before = model.ended.pop(version, None)
                self.events.add("aspired", model.name, version, path=found.path)
                setting_aside.try_again(model, served, before, self.events)
                self._lifecycle.tell_state(served)
                if found.damage is not None:
                    self._lifecycle.refuse(model, served)
        self._reconcile(model)
        return True

    # What is done about it.

    def _any_serves(self) -> bool:
        return any(model.ready is not None for model in self.models.values())

    def _flush(self, model: Model) -> None:
        """Forget versions that are not wanted and hold nothing."""
        for action in forgotten(_view(model)):
            self._forget(model, model.versions[action.version])

    def _forget(self, model: Model, served: Served) -> None:
        del model.versions[served.id.version]
        if served.outdated:
            # Its number is about to be loaded anew.
            model.falling_back = True
        if served.harness.state is not _S.NEW:
            self._ended(model, served)

    def _ended(self, model: Model, served: Served) -> None:
        """Keep the final word of a version."""
        model.ended.pop(served.id.version, None)
        model.ended[served.id.version] = served
        while len(model.ended) > _ENDED_KEPT:
            del model.ended[next(iter(model.ended))]

    def _reconcile(self, model: Model) -> None:
        """Take the actions that are to be taken now, until there are none for now."""

        def has_room(version: int) -> bool:
            return self.reservations.refusal(model, model.versions[version]) is None

        while not self._lifecycle.stopping:
            actions = reconcile(_view(model), model.config.transition, has_room)
            if not actions:
                break
            for action in actions:
                self._perform(model, action)
        self._release_held(model)
        if model.removed and not model.versions and not model.beside:
            self.models.pop(model.name, None)
            self._remember_removed(model)
        self._notify()

    def _perform(self, model: Model, action: Action) -> None:
        """Begin an action; it goes on in the background."""
        act, number, why = action
        served = model.versions[number]
        if act.is_of_policy:
            self.events.add("decision", model.name, number, act=act.value, why=why)
        if act is Act.LOAD:
            self._lifecycle.load(model, served)
        elif act is Act.STAGE:
            self._lifecycle.stage(model, served)
        elif act is Act.UNLOAD:
            self._lifecycle.unload(model, served)
        elif act is Act.CANCEL:
            self._lifecycle.cancel(model, served)
        elif act is Act.FORGET:
            self._forget(model, served)
        else:
            self._lifecycle.refuse(model, served, self.reservations.refusal(model, served))

    def _remember_removed(self, model: Model) -> None:
        """Keep the final word on its versions, without what they held."""
        ended = self._removed.pop(model.name, {})
        ended.update((v, Served(s.harness, s.found)) for v, s in model.ended.items())
        while len(ended) > _ENDED_KEPT:
            del ended[next(iter(ended))]
        if ended:
            self._removed[model.name] = ended
        while len(self._removed) > _REMOVED_KEPT:
            del self._removed[next(iter(self._removed))]

    def _retry_soon(self) -> None:
        """Once whoever has freed memory is done with it."""
        asyncio.get_running_loop().call_soon(self.retry_refused)

    def retry_refused(self) -> None:
        """Memory has become free, or may be had in another way: versions that were refused for
        want of it, and would fit now, get another chance."""
        for model in list(self.models.values()):
            if model.removed or self._lifecycle.stopping:
                continue
            for served in model.versions.values():
                if (
                    served.harness.aspired
                    and is_refused(served)
                    and self.reservations.refusal(model, served) is None
                ):
                    # The next look at its folder begins it anew. Until then it is wanted as before:
                    # else no version would be, and the one that serves would be unloaded.
                    served.fits_now = True
                    self._look_again(model)

    def _release_held(self, model: Model) -> None:
        """Let requests go on for which a version has come, or will not."""
        if model.held and (self._lifecycle.stopping or not _worth_waiting(model)):
            waited = time.monotonic() - model.held_since
            released = model.held.release()
            self.events.add("held_released", model.name, requests=released, seconds=waited)

    def _serving(self) -> Iterator[Served]:
        """Versions whose worker serves, or is staged and waits, or was asked before it began to
        load; in the midst of that it has no time to answer."""
        for model in self.models.values():
            for served in model.everyone():
                queues = served.queues
                serves = queues is not None and queues.worker is served.worker
                asked = served.worker is not None and served.worker.asked_at is not None
                if serves or asked or served.harness.state is _S.STAGED:
                    yield served

    def _end_stuck(self, worker: Worker, seconds: float) -> None:
        for served in self._serving():
            if served.worker is worker:
                self.events.add(
                    "worker_hung",
                    *served.id,
                    pid=worker.pid,
                    reason=f"a run takes {seconds:.0f} s already, and nobody waits for it",
                )
                worker.kill()
                return

    def _look_again(self, model: Model) -> None:
        """A version is gone: what the source wanted in the meantime may have been put off."""
        if model.name in self._poll_now:
            self._poll_now[model.name].set()

    # What others ask.

    def find(self, name: str, version: int | None = None, label: str | None = None) -> Served:
        """The version that answers a request: the one asked for by number or by label, else
        the highest that is available.

        Raises:
            ServingError: NOT_FOUND or INVALID_ARGUMENT, with TensorFlow Serving's text.
            OutOfService: it served and crashed, and is not back yet.
        """
        model = self.models.get(name)
        if label is not None:
            version = model.config.labels.get(label) if model is not None else None
            if version is None:
                raise invalid_argument(f"Unrecognized servable version label: {label}")
        if version is None:
            if model is not None and model.ready is not None:
                return model.ready
            _refuse_after_crash(model)
            raise not_found(f"Servable not found for request: Latest({name})")
        served = model.versions.get(version) if model is not None else None
        if served is None or served.harness.state is not _S.READY:
            _refuse_after_crash(model, version)
            raise not_found(f"Servable not found for request: Specific({name}, {version})")
        return served

    def hold(
        self,
        name: str,
        resume: Callable[[], None],
        size: int = 0,
        left_seconds: float = math.inf,
    ) -> Callable[[], None] | None:
        """Hold a request for which there is no version just now: where nothing serves after a
        crash and a version is expected back in time, or where the model's transition holds
        requests and a version is on its way.

        Args:
            resume: called once when the request may look for a version again.
            size: bytes of its body.
            left_seconds: how long it can wait.

        Returns:
            What takes the request out again; None where it is not held.

        Raises:
            ServingError: UNAVAILABLE, too many or too large ones are held already.
        """
        model = self.models.get(name)
        if model is None or self._lifecycle.stopping:
            return None
        outage = outage_of(model)
        if outage is not None:
            now = time.monotonic()
            if outage.expected_at(now) > now + left_seconds:
                return None
        elif not holds(model.config.transition) or not _worth_waiting(model):
            return None
        if not model.held:
            model.held_since = time.monotonic()
        return model.held.add(resume, size)

    def status(self, name: str, version: int | None = None) -> list[Served]:
        """All versions of a model, highest first, or the one asked for.

        As in TensorFlow Serving those of a model that has been removed have ended, and stay so,
        also when it is added again, until a version of the same number is loaded.

        Raises:
            ServingError: NOT_FOUND, with TensorFlow Serving's text.
        """
        model = self.models.get(name)
        known = dict(self._removed.get(name, {}))
        if model is not None:
            known.update((served.id.version, served) for served in model.listed())
        listed = [known[v] for v in sorted(known, reverse=True)]
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

    def set_slots(self, slots: int) -> None:
        """Run this many batches at once from now on, over all versions."""
        self._scheduler.slots = slots
        for model in self.models.values():
            for served in model.versions.values():
                if served.worker is not None and served.harness.state is _S.READY:
                    self._lifecycle.start(served.worker.open_lanes(slots + SPARE_LANES))

    def update(self, name: str, **changes: object) -> Model:
        """Change some settings of a model; raises NOT_FOUND for an unknown one."""
        model = self.models.get(name)
        if model is None or model.removed:
            raise not_found(f"Could not find model {name}")
        return self.set_model(replace(model.config, **changes))  # type: ignore[arg-type]

    async def stop(self, drain_seconds: float) -> None:
        """End every version: requests that wait are answered first, as far as time allows."""
        self._lifecycle.stopping = True
        self._heartbeat.close()
        for model in self.models.values():
            model.held.release()
        await self._lifecycle.stop()
        versions = [s for m in self.models.values() for s in m.everyone()]

        async def end(served: Served) -> None:
            if served.queues is not None:
                await self._scheduler.drain(served.queues, drain_seconds)
            await self.loader.end(served)

        await asyncio.gather(*(end(s) for s in versions), return_exceptions=True)


def _keep_waiting(model: Model, poll: Poll) -> None:
    """A version that serves, and whose folder has come back and is not complete yet, goes on."""
    if poll.aspired is None:
        return
    there = {found.version for found in poll.aspired}
    serves = {
        version: served.found
        for version, served in model.versions.items()
        if served.harness.aspired and version in poll.waiting and version not in there
    }
    chosen = model.config.version_policy.aspired(there | serves.keys())
    poll.aspired += [found for version, found in sorted(serves.items()) if version in chosen]


def _goes_on(model: Model, poll: Poll) -> bool:
    """Whether what is served goes on although the folder is empty: more often than anybody
    removes every version, a storage is away."""
    return (
        poll.empty
        and model.config.servable_versions_always_present
        and any(served.harness.aspired for served in model.versions.values())
    )


def _worth_waiting(model: Model) -> bool:
    comes_back = any(served.outdated for served in model.versions.values())
    return (
        worth_waiting(_view(model))
        or model.falling_back
        or comes_back
        or outage_of(model) is not None
    )


def _refuse_after_crash(model: Model | None, version: int | None = None) -> None:
    """Raise OutOfService where a version is missing because it crashed."""
    outage = None if model is None else outage_of(model, version)
    if outage is not None:
        raise outage.refusal(time.monotonic())


def _view(model: Model) -> list[Version]:
    """The versions as `reconcile` looks at them."""
    return [
        Version(
            number,
            served.harness.state,
            served.harness.aspired,
            refused=is_refused(served) or served.found.damage is not None,
        )
        for number, served in model.versions.items()
    ]
