"""Loads a version in a worker process: in one go, or staged first and finished later.

A load that fails for a reason that may go away by itself is tried again. The number of loads at
once is limited, and so is the time of each. A staged version that waits for its turn counts for
neither.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from workbench.core.events import EventLog
from workbench.core.status import Code, ServingError, unavailable
from workbench.server.engine.memory.reservations import Reservations
from workbench.server.engine.versions.model import Model, Served, error_json
from workbench.server.engine.workers.worker_handle import (
    LoadOrder,
    Progress,
    StageReport,
    Worker,
)
from workbench.server.engine.workers.zygote_handle import Zygote

T = TypeVar("T")

LOAD_SECONDS = 600.0
"""The longest time that staging a version may take, and loading it."""
# A lane whose answer is being handed out cannot take the next batch: that one takes the spare.
SPARE_LANES = 1
_PASSING = frozenset(
    {Code.UNAVAILABLE, Code.INTERNAL, Code.UNKNOWN, Code.ABORTED, Code.RESOURCE_EXHAUSTED}
)
"""Codes of failures that may go away by themselves; others are final until files change."""
_SCARCE = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC, errno.ENOBUFS}
)

logger = logging.getLogger(__name__)


def is_passing(error: ServingError) -> bool:
    """Whether a failure may go away by itself."""
    return error.code in _PASSING


def _worth_another(error: ServingError) -> bool:
    """Whether the next attempt may succeed. Missing memory will hardly be free soon: TensorFlow's
    allocator has waited ten seconds for it already."""
    return is_passing(error) and error.code is not Code.RESOURCE_EXHAUSTED


def as_serving_error(error: Exception) -> ServingError:
    """Any exception of a load as a ServingError, so an unforeseen one does not leave the version
    loading for ever."""
    if isinstance(error, ServingError):
        return error
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _SCARCE):
        return unavailable(f"Not enough memory or file descriptors to load this version: {error}")
    logger.error("Loading a version failed", exc_info=error)
    return ServingError(Code.INTERNAL, f"Loading failed: {error!r}")


@dataclass(eq=False)
class Loader:
    """Starts worker processes and loads versions in them.

    Attributes:
        reservations: where a version's memory is, and what limits it.
        slots: how many batches a worker runs at once.
        cpus: CPUs that `intra_op_threads` are divided from.
        quiet: whether to load at low priority, because a version serves.
    """

    events: EventLog
    zygote: Zygote
    reservations: Reservations
    slots: Callable[[], int]
    cpus: int
    quiet: Callable[[], bool]

    def __post_init__(self) -> None:
        # Loading is mostly one thread's work: more at once than CPUs only slows each.
        self._at_once = asyncio.Semaphore(max(2, self.cpus))

    async def attempts(
        self, model: Model, served: Served, step: Callable[[Model, Served], Awaitable[T]]
    ) -> T:
        """Take a step of loading, again and again while it fails for passing reasons.

        Raises:
            ServingError: that of the last attempt.
        """
        attempt = 0
        while True:
            try:
                async with self._at_once:
                    return await step(model, served)
            except Exception as failure:
                error = as_serving_error(failure)
                served.failed_loads += 1
                self.events.add("load_failed", *served.id, **error_json(error))
                worth_it = _worth_another(error) or model.config.retry_all_load_errors
                if not served.harness.aspired or not worth_it:
                    raise error from failure
                if attempt >= model.config.max_load_retries:
                    self.events.add("load_retries_exhausted", *served.id, retries=attempt)
                    raise error from failure
            attempt += 1
            await asyncio.sleep(model.config.load_retry_seconds)
            self.events.add("load_retry", *served.id, attempt=attempt)

    async def stage(self, model: Model, served: Served) -> StageReport:
        """A new worker process that has prepared this version, and still has to load it.

        Raises:
            ServingError: what went wrong; the process is gone.
        """
        started = time.monotonic()
        worker = await self._spawn(model, served)
        # It answers before it begins: one that is silent now is ended by the heartbeat.
        worker.ping()
        staging = worker.stage(self._order(model, served), self._progress(served))
        report = await self._bounded(served, staging, "was not staged")
        # Now, and not in the moment in which nothing serves.
        await self._open_lanes(served, worker)
        served.staged_seconds = time.monotonic() - started
        return report

    async def load(self, model: Model, served: Served) -> Worker:
        """A worker process that has loaded this version: a new one, or the one that staged it.

        Raises:
            ServingError: what went wrong; the process is gone.
        """
        started = time.monotonic()
        worker = served.worker or await self._spawn(model, served)
        worker.ping()
        loading = worker.load(
            self._order(model, served),
            self._progress(served),
            warm_up=model.config.enable_model_warmup,
            warm_up_iterations=model.config.num_request_iterations_for_warmup,
        )
        served.report = await self._bounded(served, loading, "did not load")
        served.breakdown |= served.report.seconds
        await self._open_lanes(served, worker)
        served.load_seconds = served.staged_seconds + time.monotonic() - started
        worker.on_first_run = partial(self._first_run, served)
        return worker

    async def end(self, served: Served) -> None:
        """End the version's process, if it has one."""
        worker, served.worker = served.worker, None
        if worker is not None:
            await worker.stop()

    async def _spawn(self, model: Model, served: Served) -> Worker:
        started = time.monotonic()
        worker = await Worker.spawn(self.zygote)
        served.worker = worker
        served.staged_seconds = 0.0
        served.first_run_seconds = None
        served.spawn_seconds = time.monotonic() - started
        served.breakdown = {"spawn": served.spawn_seconds}
        self.events.add("worker_started", *served.id, pid=worker.pid)
        await self._guarded(served, self.reservations.spawned(model, served, worker))
        return worker

    async def _open_lanes(self, served: Served, worker: Worker) -> None:
        started = time.monotonic()
        await self._guarded(served, worker.open_lanes(self.slots() + SPARE_LANES))
        before = served.breakdown.get("lanes", 0.0)
        served.breakdown["lanes"] = before + time.monotonic() - started

    def _first_run(self, served: Served, seconds: float) -> None:
        served.first_run_seconds = seconds
        self.events.add("first_run", *served.id, seconds=seconds)

    async def _bounded(self, served: Served, work: Awaitable[T], failing: str) -> T:
        try:
            return await self._guarded(served, asyncio.wait_for(work, LOAD_SECONDS))
        except asyncio.TimeoutError:
            raise ServingError(
                Code.DEADLINE_EXCEEDED, f"The model {failing} within {LOAD_SECONDS:.0f} s"
            ) from None

    async def _guarded(self, served: Served, work: Awaitable[T]) -> T:
        """Await some work on a version, and end its process if the work fails or is cancelled."""
        try:
            return await work
        except BaseException:
            await self.end(served)
            raise

    def _progress(self, served: Served) -> Progress:
        real, named = served.found.place.path, served.found.path

        def progress(kind: str, data: dict[str, Any]) -> None:
            path = data.get("path", "")
            if path == real or path.startswith(real + os.sep):
                data = {**data, "path": named + path[len(real) :]}
            self.events.add(kind, *served.id, **data)
            if kind == "loaded_saved_model" and served.batched:
                self.events.add("session_wrapped", *served.id)

        return progress

    def _order(self, model: Model, served: Served) -> LoadOrder:
        config, memory = model.config, served.memory
        return LoadOrder(
            # Links may be swapped meanwhile: all of a version comes from one folder.
            path=served.found.place.path,
            tags=config.tags,
            intra_op_threads=config.intra_op_threads or max(1, self.cpus // self.slots()),
            quiet=self.quiet(),
            device=("host", 0.0) if memory is None else (memory.device, memory.gpu_fraction),
            gpu_memory_fraction=config.gpu_memory_fraction,
            op_libraries=config.op_libraries,
        )
