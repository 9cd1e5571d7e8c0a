"""Aspired versions, and the actions that bring the loaded versions in line with them.

The rules are pure (`core.versions.reconcile`); here they meet the versions of a server.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from workbench.core.versions.policies import Act, Action
from workbench.core.versions.reconcile import forgotten, reconcile
from workbench.core.versions.states import Harness, HarnessState, ServableId
from workbench.server.engine.memory.reservations import is_refused
from workbench.server.engine.versions import setting_aside
from workbench.server.engine.versions.directory import is_worth_waiting, view_of
from workbench.server.engine.versions.life.lifecycle import Lifecycle
from workbench.server.engine.versions.life.shared import Shared
from workbench.server.engine.versions.model import Model, Served
from workbench.server.engine.versions.version_folder import Found


class Decisions:
    """Keeps the versions of each model in line with what its folder wants.

    Args:
        execution: begins the actions; each goes on in the background.
    """

    def __init__(self, shared: Shared, execution: Lifecycle) -> None:
        self._shared = shared
        self._events = shared.events
        self._directory = shared.directory
        self._refusal = shared.reservations.refusal
        self._execution = execution

    # What is wanted.

    def aspire(self, model: Model, wanted: list[Found]) -> bool:
        """Want exactly these versions from now on.

        Returns:
            False, and nothing has changed, while one of them has to be unloaded before it can come
            back.
        """
        by_version = {found.version: found for found in wanted}
        model.falling_back = False
        self._flush(model)
        for version in by_version.keys() & model.versions.keys():
            harness = model.versions[version].harness
            if not harness.aspired and not harness.state.is_revivable:
                # It is being unloaded and wanted back. As in TensorFlow Serving, all of this is
                # put off until it is gone: meanwhile no version would be aspired, and a policy that
                # preserves availability would unload the one that serves.
                return False
        for version, served in model.versions.items():
            self._aspire_again(model, served, by_version.get(version))
        self._flush(model)
        for version, found in sorted(by_version.items()):
            if version not in model.versions:
                self._add(model, found)
        self.decide(model)
        return True

    def _aspire_again(self, model: Model, served: Served, found: Found | None) -> None:
        """Aspire a managed version, or un-aspire it (`found` is None)."""
        harness = served.harness
        if harness.aspired and found is None:
            harness.aspired = False
            self._events.add("unaspired", *served.id)
        elif found is not None and not harness.aspired and not served.outdated:
            # It comes back before it was gone: a version that still serves just goes on.
            harness.aspired = True
            self._events.add("aspired", *served.id)
        elif (
            found is not None
            and harness.state is HarnessState.ERROR
            and (
                found.fingerprint != served.found.fingerprint
                or setting_aside.is_due(model, found.version)
                or served.fits_now
            )
        ):
            # Its files were mended, its pause is over, or there is memory for it now: it is
            # forgotten, and added again.
            harness.aspired = False

    def _add(self, model: Model, found: Found) -> None:
        served = Served(Harness(ServableId(model.name, found.version)), found)
        model.versions[found.version] = served
        before = model.ended.pop(found.version, None)
        self._events.add("aspired", *served.id, path=found.path)
        setting_aside.try_again(model, served, before, self._events)
        self._shared.report_state(served)
        if found.damage is not None:
            self._execution.refuse(model, served, found.damage)

    def leave_out(self, model: Model, damaged: Mapping[int, Found]) -> None:
        """Report versions that are not wanted because they cannot be loaded as they are. Each is
        reported once, and has failed, until its files change."""
        for version, found in damaged.items():
            ended = model.ended.get(version)
            if version in model.versions or (ended is not None and ended.found == found):
                continue
            served = Served(Harness(ServableId(model.name, version)), found)
            model.keep_ended(served)
            self._execution.refuse(model, served, found.damage)

    def retry_refused(self) -> None:
        """Give versions another chance that were refused for want of memory and would fit now."""
        for model in list(self._directory.models.values()):
            if model.removed or self._directory.stopping:
                continue
            for served in model.versions.values():
                if (
                    served.harness.aspired
                    and is_refused(served)
                    and self._refusal(model, served) is None
                ):
                    # The next look at its folder begins it again. Until then it stays wanted:
                    # otherwise no version would be, and the one that serves would be unloaded.
                    served.fits_now = True
                    self._shared.freed(model)

    # What is done about it.

    def decide(self, model: Model) -> None:
        """Take actions until none is left to take for now."""

        def has_room(version: int) -> bool:
            return self._refusal(model, model.versions[version]) is None

        while not self._directory.stopping:
            actions = reconcile(view_of(model), model.config.transition, has_room)
            if not actions:
                break
            for action in actions:
                self._perform(model, action)
        self.release_held(model)
        if model.removed and not model.versions and not model.beside:
            self._directory.forget(model)
        self._directory.notify()

    def _perform(self, model: Model, action: Action) -> None:
        act, number, why = action
        served = model.versions[number]
        if act.is_of_policy:
            self._events.add("decision", *served.id, act=act.value, why=why)
        if act is Act.FORGET:
            self._forget(model, served)
        elif act is Act.REFUSE:
            self._execution.refuse(model, served, self._refusal(model, served))
        else:
            self._execution.begin[act](model, served)

    def _flush(self, model: Model) -> None:
        for action in forgotten(view_of(model)):
            self._perform(model, action)

    def _forget(self, model: Model, served: Served) -> None:
        del model.versions[served.id.version]
        if served.outdated:
            # Its number is about to be loaded again.
            model.falling_back = True
        if served.harness.state is not HarnessState.NEW:
            model.keep_ended(served)

    def release_held(self, model: Model) -> None:
        """Let held requests go on if a version has come, or none will."""
        if model.held and (self._directory.stopping or not is_worth_waiting(model)):
            waited = time.monotonic() - model.held_since
            released = model.held.release()
            self._events.add("held_released", model.name, requests=released, seconds=waited)
