"""The manager: keeps the loaded versions in line with the wanted ones.

For each model it watches a folder (`watch`), decides what to do about the versions in it
(`decisions`), and does it (`life.lifecycle`). It decides again whenever something has changed: a
folder appeared, a load ended, a version drained, a worker died. Models do not wait for each other;
a slow or failing load concerns its own model only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.events import EventLog
from workbench.core.memory.memory_limits import MemoryLimits
from workbench.core.model_settings import ModelConfig
from workbench.core.versions.states import HarnessState
from workbench.server.engine.batching.scheduler import BatchScheduler
from workbench.server.engine.memory.gpu import Gpus
from workbench.server.engine.memory.reservations import Reservations
from workbench.server.engine.versions.decisions import Decisions
from workbench.server.engine.versions.directory import Directory
from workbench.server.engine.versions.life.lifecycle import Lifecycle
from workbench.server.engine.versions.life.loading import SPARE_LANES, Loader
from workbench.server.engine.versions.life.shared import Shared
from workbench.server.engine.versions.model import Model, Served
from workbench.server.engine.versions.source import FolderSource
from workbench.server.engine.versions.watch import FolderWatch
from workbench.server.engine.workers.heartbeat import Heartbeat
from workbench.server.engine.workers.zygote_handle import Zygote


class Manager(Directory):
    """Loads and unloads versions of models in worker processes.

    Questions about models are answered by what it inherits from `Directory`.

    Args:
        gpus: the GPUs that a model's `device` can name; None: none.
        cpus: CPUs that `intra_op_threads` are divided from.
        poll_seconds: the time between two looks at each model's folder.
        read_batching: reads the batching parameters from a file in a version's folder; None: there
            are none.
        memory: the limits for all versions together.
    """

    def __init__(
        self,
        events: EventLog,
        zygote: Zygote,
        scheduler: BatchScheduler,
        gpus: Gpus | None = None,
        *,
        cpus: int = 1,
        poll_seconds: float = 1.0,
        read_batching: Callable[[Path], BatchingParameters] | None = None,
        memory: MemoryLimits | None = None,
    ) -> None:
        super().__init__()
        self.events = events
        self._scheduler = scheduler
        loop = asyncio.get_running_loop()
        # These parts call each other, but only once all of them exist.
        self.reservations = Reservations(
            events,
            gpus or Gpus(None),
            lambda: self.models,
            # Later, when the caller is done giving memory back.
            lambda: loop.call_soon(self.decisions.retry_refused),
            memory or MemoryLimits(),
        )
        self.loader = Loader(
            events, zygote, self.reservations, lambda: scheduler.slots, cpus, self.any_serves
        )
        self._shared = Shared(
            events=events,
            directory=self,
            loader=self.loader,
            scheduler=scheduler,
            reservations=self.reservations,
            read_batching=read_batching,
            decide=lambda model: self.decisions.decide(model),
            freed=lambda model: self.watch.look_soon(model),
        )
        lifecycle = Lifecycle(self._shared)
        self._renewals = lifecycle.renewals
        self.decisions = Decisions(self._shared, lifecycle)
        self.watch = FolderWatch(self._shared, self.decisions, self._renewals, poll_seconds)
        self._heartbeat = Heartbeat(self._in_worker, events)
        scheduler.on_stuck = self._heartbeat.end_stuck

    # Models.

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
        if config.name in self.watch:
            self.events.add("model_changed", config.name, config=config.to_json())
            self.decisions.retry_refused()
            self.watch.look_soon(model)
        else:
            # New, or removed and with versions that are still being unloaded.
            model.removed = False
            model.polled = False
            self.events.add("model_added", config.name, config=config.to_json())
            self.watch.add(model)
        return model

    def update(self, name: str, **changes: object) -> Model:
        """Change some settings of a model.

        Raises:
            ServingError: NOT_FOUND, there is no such model.
        """
        return self.set_model(replace(self.get(name).config, **changes))  # type: ignore[arg-type]

    def remove_model(self, name: str) -> None:
        """Un-aspire all versions of a model, and forget it when they are gone.

        Raises:
            ServingError: NOT_FOUND, there is no such model.
        """
        model = self.get(name)
        model.removed = True
        self.watch.remove(name)
        self.events.add("model_removed", name)
        self._renewals.look(model, [])
        self.decisions.aspire(model, [])

    def poll_soon(self, name: str, complete: Iterable[int] = ()) -> None:
        """Look at a model's folder now; the `complete` versions were put there by a rename.

        Raises:
            ServingError: NOT_FOUND, there is no such model.
        """
        self.watch.look_soon(self.get(name), complete)

    # Workers.

    def set_slots(self, slots: int) -> None:
        """Run this many batches at once from now on, over all versions."""
        if slots != self._scheduler.slots:
            self.events.add("slots_changed", slots=slots)
        self._scheduler.slots = slots
        for model in self.models.values():
            for served in model.versions.values():
                if served.worker is not None and served.harness.state is HarnessState.READY:
                    self._shared.start(served.worker.open_lanes(slots + SPARE_LANES))

    def _in_worker(self) -> Iterator[Served]:
        """Versions whose worker can answer a ping: it serves, or is staged and waits, or was asked
        before it began to load. While it loads it has no time to answer."""
        for served in self.everyone():
            queues = served.queues
            serves = queues is not None and queues.worker is served.worker
            asked = served.worker is not None and served.worker.asked_at is not None
            if serves or asked or served.harness.state is HarnessState.STAGED:
                yield served

    async def stop(self, drain_seconds: float) -> None:
        """End every version: requests that wait are answered first, as far as time allows."""
        self.stopping = True
        self._heartbeat.close()
        for model in self.models.values():
            model.held.release()
        await self._shared.stop()

        async def end(served: Served) -> None:
            if served.queues is not None:
                await self._scheduler.drain(served.queues, drain_seconds)
            await self.loader.end(served)

        await asyncio.gather(*map(end, self.everyone()), return_exceptions=True)
