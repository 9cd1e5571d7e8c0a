"""Reloads version numbers whose folders were replaced since they were loaded.

TensorFlow Serving never loads a number twice: the contents of a version do not change. But if
`current` now leads to `release-8/` instead of `release-7/`, both with a folder `1`, the new release
is wanted. So a version whose folder is now another one (`Found.is_other_than`) is loaded again
under its number, like a new version: under `smooth` beside the old contents, which answer until the
new ones can; under the other transitions the old contents go first. With
`reload_replaced_versions=False`, and for files that were changed in place, the loaded contents
stay, and a warning says so.
"""

from __future__ import annotations

import time
from dataclasses import replace

from workbench.core.status import ServingError
from workbench.core.versions.policies import Act, transition_named
from workbench.core.versions.reconcile import begun
from workbench.core.versions.states import Harness, HarnessState
from workbench.server.engine.versions.life.leaving import stop_loading
from workbench.server.engine.versions.life.loading import is_passing
from workbench.server.engine.versions.life.rising import Rising
from workbench.server.engine.versions.life.shared import Shared
from workbench.server.engine.versions.model import Model, Renewal, Served, error_json
from workbench.server.engine.versions.version_folder import Found

RETRY_SECONDS = 60.0
"""The pause after a renewal that failed for a reason that may pass."""


class Renewals:
    """Finds such numbers, and reloads them."""

    def __init__(self, shared: Shared, rising: Rising) -> None:
        self._shared = shared
        self._events = shared.events
        self._rising = rising

    def look(self, model: Model, wanted: list[Found]) -> list[str]:
        """Begin, continue or give up renewals, so that they match the wanted versions.

        Returns:
            Warnings about versions whose folders no longer hold the loaded contents.
        """
        by_version = {found.version: found for found in wanted}
        for version, renewal in list(model.renewals.items()):
            found = by_version.get(version)
            if (
                found is None
                or model.versions.get(version) is not renewal.old
                or renewal.old.harness.state is not HarnessState.READY
                or found.fingerprint != renewal.fresh.found.fingerprint
            ):
                del model.renewals[version]
                if renewal.fresh in model.beside:
                    self._shared.start(self._cancel(model, renewal.fresh))
        warnings = []
        for version, found in sorted(by_version.items()):
            served = model.versions.get(version)
            if served is None or served.outdated or served.harness.state.is_final:
                continue
            if found.is_other_than(served.found):
                warning = self._other(model, served, found)
            else:
                # It may have been moved: a worker that takes another's place finds it there.
                served.found = replace(served.found, place=found.place)
                warning = _changed(model, served, found)
            if warning is not None:
                warnings.append(warning)
        return warnings

    def _other(self, model: Model, served: Served, found: Found) -> str | None:
        """Reload a version whose folder is another one; a warning if that is impossible."""
        if not model.config.reload_replaced_versions:
            return (
                f"{_goes_on(model, served)}: {found.path} is another folder now"
                f"{_where(served, found)}, and a version number is loaded once. To serve what is "
                "there now, give it a higher number."
            )
        if found.damage is not None:
            return _not_renewed(model, served, found, found.damage.message)
        if (
            served.harness.state is HarnessState.READY
            and not transition_named(model.config.transition).makes_way
        ):
            return self._renew(model, served, found)
        if served.harness.state is HarnessState.READY or served.harness.state.is_rising:
            # No policy looks into a folder: it is unloaded, and found again when it is gone.
            served.outdated = True
            served.harness.aspired = False
            self._tell(model, served, found)
        return None

    def _renew(self, model: Model, served: Served, found: Found) -> str | None:
        renewal = model.renewals.get(found.version)
        if renewal is not None:
            error = renewal.error
            if error is None:
                return None
            if not is_passing(error) or time.monotonic() - renewal.failed_at < RETRY_SECONDS:
                return _not_renewed(model, served, found, error.message)
        else:
            self._tell(model, served, found)
        fresh = Served(Harness(served.id), found, holder=object(), replaces=served)
        model.renewals[found.version] = renewal = Renewal(served, fresh)
        fresh.harness.move(begun(Act.LOAD, fresh.harness.state))
        model.beside.append(fresh)
        fresh.loading = self._shared.start(self._load(model, renewal))
        return None

    async def _load(self, model: Model, renewal: Renewal) -> None:
        """Load other contents for a number that serves. What serves goes on until they can be
        asked, and if they cannot be loaded."""
        fresh = renewal.fresh
        try:
            await self._shared.loader.attempts(model, fresh, self._rising.load_once)
        except ServingError as error:
            renewal.error, renewal.failed_at = error, time.monotonic()
            self._events.add("renewal_failed", *fresh.id, **error_json(error))
            await self._drop(model, fresh)
            self._shared.freed(model)

    async def _cancel(self, model: Model, fresh: Served) -> None:
        await stop_loading(fresh)
        if fresh in model.beside:
            await self._drop(model, fresh)
            self._shared.decide(model)

    async def _drop(self, model: Model, fresh: Served) -> None:
        """End contents that will not take their number's place."""
        model.beside.remove(fresh)
        await self._shared.loader.end(fresh)
        self._shared.reservations.release(fresh)

    def _tell(self, model: Model, served: Served, found: Found) -> None:
        self._events.add(
            "folder_replaced",
            *served.id,
            path=found.place.path,
            before=served.found.place.path,
            message=f"{found.path} is another folder now{_where(served, found)}: version "
            f"{found.version} of {model.name} is reloaded",
        )


def _changed(model: Model, served: Served, found: Found) -> str | None:
    """A warning if the folder is the same, and its files are not the loaded ones."""
    if found.contents == served.found.contents:
        return None
    return (
        f"{_goes_on(model, served)}: files in {found.path} were changed since, and a version "
        "number is loaded once. To serve what is there now, give it a higher number."
    )


def _not_renewed(model: Model, served: Served, found: Found, why: str) -> str:
    return (
        f"{_goes_on(model, served)}: {found.path} is another folder now{_where(served, found)}, "
        f"which cannot be loaded: {why}"
    )


def _goes_on(model: Model, served: Served) -> str:
    return f"Version {served.id.version} of servable {model.name} keeps serving what was loaded"


def _where(served: Served, found: Found) -> str:
    """Which folder it really is, if its path leads to another than before."""
    if found.place.path == served.found.place.path:
        return ""
    return f" ({found.place.path}, it was {served.found.place.path})"
