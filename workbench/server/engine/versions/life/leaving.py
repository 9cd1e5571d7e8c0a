"""A version on its way out: it is unloaded, cancelled before it served, or replaced under its
number."""

from __future__ import annotations

from workbench.core.status import Code, ServingError
from workbench.core.versions.policies import Act
from workbench.core.versions.reconcile import begun
from workbench.core.versions.states import HarnessState
from workbench.server.engine.versions.life.shared import DRAIN_SECONDS, Shared, cancelled
from workbench.server.engine.versions.model import Model, Served

_S = HarnessState


class Leaving:
    """Unloads and cancels versions. A version's state moves at once if the next decision depends on
    it; the rest goes on in the background."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._events = shared.events

    def unload(self, model: Model, served: Served) -> None:
        """Send a version no new requests, let it answer those it has, and end its process."""
        served.harness.move(begun(Act.UNLOAD, served.harness.state))
        self._shared.report_state(served)
        model.refresh_ready()
        self._shared.start(self._unload(model, served))

    async def _unload(self, model: Model, served: Served) -> None:
        harness = served.harness
        harness.move(_S.QUIESCING)
        assert served.queues is not None
        self._events.add("quiescing", *served.id, pending=served.queues.pending)
        left = await self._drain(served)
        harness.move(_S.QUIESCED)
        self._events.add("quiesced", *served.id, unanswered=left)
        harness.move(_S.UNLOADING)
        self._events.add("unloading", *served.id)
        await self._shared.resting.rest(
            lambda: model.ready is not None and not self._shared.reservations.waited_for()
        )
        await self._shared.loader.end(served)
        harness.move(_S.DISABLED)
        self._shared.report_state(served)
        self._events.add("unloaded", *served.id)
        self._shared.freed(model)
        self._shared.decide(model)

    async def _drain(self, served: Served) -> int:
        """Wait until accepted requests are answered, and give up replacing its worker.

        Returns:
            How many requests were not answered in time.
        """
        left = 0
        if served.queues is not None:
            left = await self._shared.scheduler.drain(served.queues, DRAIN_SECONDS)
        if served.replacement is not None and not served.replacement.done():
            # Nobody waits for it any more.
            await cancelled(served.replacement)
        return left

    def cancel(self, model: Model, served: Served) -> None:
        """Give up a version that is not wanted any more and has never served. Its process is ended
        in the middle of whatever it does: a load can take long, and nobody waits for this one."""
        if served.failed_loads:
            self._events.add("load_retry_cancelled", *served.id)
        self._events.add("load_cancelled", *served.id)
        served.harness.move(begun(Act.CANCEL, served.harness.state))
        self._shared.report_state(served)
        self._shared.start(self._cancel(model, served))

    async def _cancel(self, model: Model, served: Served) -> None:
        await stop_loading(served)
        await self._shared.loader.end(served)
        served.harness.error = ServingError(Code.CANCELLED, "Loading of servable cancelled")
        served.harness.move(_S.DISABLED)
        self._shared.report_state(served)
        self._shared.freed(model)
        self._shared.decide(model)

    def replace(self, model: Model, old: Served, fresh: Served) -> None:
        """From now on a number is answered by its new contents; the old ones leave."""
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
        self._shared.start(self._retire(model, old))

    async def _retire(self, model: Model, old: Served) -> None:
        """Let contents that have lost their number answer what they have accepted, and end their
        process."""
        serves = old.harness.state is _S.READY
        for state in (_S.UNLOAD_REQUESTED, _S.QUIESCING) if serves else ():
            old.harness.move(state)
        await self._drain(old)
        await self._shared.loader.end(old)
        for state in (_S.QUIESCED, _S.UNLOADING, _S.DISABLED) if serves else ():
            old.harness.move(state)
        model.beside.remove(old)
        self._shared.reservations.release(old)
        self._shared.freed(model)
        self._shared.decide(model)


async def stop_loading(served: Served) -> None:
    """Cancel the load of a version, and wait until it has ended."""
    if served.loading is not None:
        await cancelled(served.loading)
