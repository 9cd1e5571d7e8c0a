"""Keeping a version alive: a worker process that dies is replaced, unless it dies too often."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import replace

from workbench.core.status import ServingError, unavailable
from workbench.core.versions.outage import Outage
from workbench.core.versions.quarantine import DEATH_WINDOW_SECONDS, MAX_DEATHS
from workbench.core.versions.states import HarnessState
from workbench.server.engine.versions import parking, setting_aside
from workbench.server.engine.versions.life.loading import as_serving_error, is_passing
from workbench.server.engine.versions.life.shared import Shared
from workbench.server.engine.versions.model import Model, Served, error_json
from workbench.server.engine.workers.worker_handle import Worker

_REPLACEMENT_PAUSES = (0.0, 0.2, 1.0)
"""Seconds before each attempt to replace a worker process; the last one repeats."""


class Revival:
    """Watches the worker processes of versions, and replaces those that die."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._events = shared.events

    def watch(self, model: Model, served: Served, worker: Worker) -> None:
        """Replace this worker of a version that serves, should it die."""
        worker.ended.add_done_callback(lambda _: self._worker_ended(model, served, worker))

    def watch_staged(self, model: Model, served: Served, worker: Worker) -> None:
        """Note the death of a staged version's worker: its load then starts from the beginning."""

        def ended(_: object) -> None:
            staged = served.harness.state is HarnessState.STAGED
            if staged and served.worker is worker and not self._shared.directory.stopping:
                self._note_death(model, served, worker)

        worker.ended.add_done_callback(ended)

    def _worker_ended(self, model: Model, served: Served, worker: Worker) -> None:
        """A worker has ended unasked: its version gets another, unless it has answered all that it
        will be asked."""
        stopping = self._shared.directory.stopping
        if served.worker is not worker or stopping or served.harness.state.has_drained:
            return
        queues = served.queues
        assert queues is not None
        # A request that no version could take says nothing against this one.
        counts = not self._shared.scheduler.explain(queues, worker)
        reason, too_many = self._note_death(model, served, worker, counts)
        self._shared.scheduler.detach(queues)
        error = _too_many(model, served, reason) if too_many else None
        # An idle worker was killed from outside: that says nothing against the version.
        own_doing = queues.died_at_work is worker
        served.replacement = self._shared.start(
            self._replace_worker(model, served, reason, error, own_doing)
        )

    def _note_death(
        self, model: Model, served: Served, worker: Worker, counts: bool = True
    ) -> tuple[str, bool]:
        """How a worker ended, and whether its version has lost too many; with `counts` false, this
        one is not held against it."""
        served.worker = None
        reason = worker.ended.result()
        self._events.add("worker_exited", *served.id, pid=worker.pid, reason=reason)
        return reason, counts and model.record(served).died(time.monotonic())

    async def _replace_worker(
        self,
        model: Model,
        served: Served,
        reason: str,
        error: ServingError | None,
        own_doing: bool,
    ) -> None:
        """Start another worker for a version that serves, or that still has requests to answer.

        Args:
            reason: how the last worker ended.
            error: why not to start another worker; None: start one.
            own_doing: whether the last worker died while it ran a request or loaded.
        """
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
                worker = await self._shared.loader.load(model, served)
                break
            except Exception as failure:
                # One failed replacement is one more death, and not yet the end.
                failed = as_serving_error(failure)
                reason, own_doing = failed.message, True
                self._events.add("load_failed", *served.id, **error_json(failed))
                too_many = model.record(served).died(time.monotonic())
                if not is_passing(failed) or served.harness.state is not HarnessState.READY:
                    error = failed
                elif too_many:
                    error = _too_many(model, served, failed.message)
        self.watch(model, served, worker)
        self._shared.scheduler.attach(queues, worker)
        self._events.add("worker_replaced", *served.id, pid=worker.pid)
        self._shared.start(self._shared.reservations.loaded(model, served, worker))
        self._shared.directory.notify()

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
        if served.harness.state is not HarnessState.READY:
            # It is being unloaded: requests that still wait need not wait longer.
            await self._shared.scheduler.drain(served.queues, 0.0)
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
        self._shared.look_at_held(model)
        parking.close(self._shared.scheduler, model, served)
        self._shared.report_state(served)
        self._events.add("error", *served.id, **error_json(error))
        self._shared.decide(model)
        self._shared.freed(model)


def _too_many(model: Model, served: Served, reason: str) -> ServingError:
    deaths = len(model.record(served).deaths)
    if deaths < MAX_DEATHS:
        return unavailable(f"Its worker process died soon after its new start: {reason}")
    return unavailable(
        f"Its worker process died {deaths} times within {DEATH_WINDOW_SECONDS:.0f} s, "
        f"last: {reason}"
    )
