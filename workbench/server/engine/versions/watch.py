"""Watching the folders of models: each is read at intervals, and on request."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from contextlib import suppress

from workbench.server.engine.versions import setting_aside
from workbench.server.engine.versions.decisions import Decisions
from workbench.server.engine.versions.life.renewal import Renewals
from workbench.server.engine.versions.life.shared import Shared
from workbench.server.engine.versions.model import Model
from workbench.server.engine.versions.source import Poll

logger = logging.getLogger(__name__)

_WAITING_SECONDS = 1.0
"""The longest time between two looks at a folder with an incomplete version."""


class FolderWatch:
    """Looks at the folders of models, and passes on what they want.

    Args:
        seconds: the time between two looks at a folder.

    Attributes:
        due: for each model that is watched an event; set, it has the folder looked at now.
    """

    def __init__(
        self, shared: Shared, decisions: Decisions, renewals: Renewals, seconds: float
    ) -> None:
        self._shared = shared
        self._events = shared.events
        self._decisions = decisions
        self._renewals = renewals
        self._seconds = seconds
        self._pollers: dict[str, asyncio.Task[None]] = {}
        self.due: dict[str, asyncio.Event] = {}

    def __contains__(self, name: str) -> bool:
        """Whether a model's folder is watched."""
        return name in self._pollers

    def add(self, model: Model) -> None:
        """Watch a model's folder; the first look follows at once."""
        self.due[model.name] = asyncio.Event()
        self._pollers[model.name] = self._shared.start(self._poll(model))

    def remove(self, name: str) -> None:
        """Stop watching a model's folder."""
        self._pollers.pop(name).cancel()
        self.due.pop(name)

    def look_soon(self, model: Model, complete: Iterable[int] = ()) -> None:
        """Look at a model's folder now, if it is watched; the `complete` versions were put there by
        a rename."""
        for version in complete:
            model.source.trust(version)
        if model.name in self.due:
            self.due[model.name].set()

    async def _poll(self, model: Model) -> None:
        due = self.due[model.name]
        while True:
            due.clear()
            looked = time.monotonic()
            try:
                model.polled = await self._look(model)
            except Exception as error:
                # Whatever happened, the folder is looked at again: if this task ended, the model
                # would stay as it is for ever.
                logger.exception("Looking at the folder of %s failed", model.name)
                self._warn(model, [f"The folder of {model.name} could not be read: {error!r}"])
                model.polled = True
            if model.falling_back:
                model.falling_back = False
                self._decisions.release_held(model)
            self._shared.directory.notify()
            pause = min(self._seconds, setting_aside.next_change(model, looked))
            if model.waiting:
                # Even if folders are looked at only once: the version would be lost for good.
                pause = min(pause, _WAITING_SECONDS)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(due.wait(), pause)

    async def _look(self, model: Model) -> bool:
        """Look at a model's folder.

        Returns:
            Whether the model's versions follow what it wants now.
        """
        avoid, probation = setting_aside.look(model, self._events)
        poll = await asyncio.to_thread(
            model.source.poll, model.config.version_policy, avoid, probation
        )
        _keep_waiting(model, poll)
        kept = _goes_on(model, poll)
        wanted = None if kept else poll.aspired
        if wanted is not None:
            # Before anything is reported: the rest is done in one turn of the loop.
            await self._shared.reservations.look(model.config, wanted)
            poll.warnings += self._renewals.look(model, wanted)
        if kept:
            poll.warnings.append(
                f"The folder of {model.name} is empty, and its versions are still served. Remove "
                "the model, or set servable_versions_always_present to false, to unload them."
            )
        self._report(model, poll)
        if wanted is None:
            return True
        setting_aside.note(model, poll, self._events)
        return self._decisions.aspire(model, wanted)

    def _report(self, model: Model, poll: Poll) -> None:
        kind = "source_unreadable" if poll.aspired is None else "source_error"
        self._warn(model, poll.warnings, kind)
        for version, reason in poll.waiting.items():
            if model.waiting.get(version) != reason:
                self._events.add(
                    "source_waiting",
                    model.name,
                    version,
                    message=f"Version {version} of {model.name} is not complete yet, "
                    f"waiting: {reason}",
                )
            ended = model.ended.get(version)
            if ended is not None and ended.found.damage is not None:
                del model.ended[version]
        model.waiting = poll.waiting
        wanted = poll.aspired or ()
        self._decisions.leave_out(
            model, {v: found for v, found in poll.damaged.items() if found not in wanted}
        )

    def _warn(self, model: Model, warnings: list[str], kind: str = "source_error") -> None:
        for warning in warnings:
            if warning not in model.warnings:
                self._events.add(kind, model.name, message=warning)
        model.warnings = warnings


def _keep_waiting(model: Model, poll: Poll) -> None:
    """Keep wanting a version that serves and whose folder has come back and is not complete yet."""
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
    """Whether versions stay although the folder is empty: its storage is more likely unmounted than
    every version removed."""
    return (
        poll.empty
        and model.config.servable_versions_always_present
        and any(served.harness.aspired for served in model.versions.values())
    )
