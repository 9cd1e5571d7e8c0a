"""Which versions of a model are set aside, tried again, or on probation: applies the rules of
`core.versions.quarantine` to a model's versions, with real time and events."""

from __future__ import annotations

import time

from workbench.core.events import EventLog
from workbench.core.versions.policies import transition_named
from workbench.core.versions.quarantine import Record
from workbench.server.engine.versions.model import Model, Served
from workbench.server.engine.versions.source import Poll

# Never look at a folder more often than this because of a version's record.
_LEAST_SECONDS = 0.05


def look(model: Model, events: EventLog) -> tuple[dict[int, int], frozenset[int]]:
    """Versions to avoid, with their fingerprints, and versions on probation."""
    now = time.monotonic()
    avoid: dict[int, int] = {}
    probation = set()
    for version, record in list(model.failing.items()):
        if record.is_proven(now):
            message = f"Version {version} of {model.name} has proved itself and serves alone again"
            events.add("quarantine_over", model.name, version, message=message)
            del model.failing[version]
        elif record.on_probation(now) or is_due(model, version):
            probation.add(version)
        elif record.until is not None and (
            record.returns or (model.config.fall_back and _nothing_serves(model, version))
        ):
            avoid[version] = record.fingerprint
    return avoid, frozenset(probation)


def is_due(model: Model, version: int) -> bool:
    """Whether to try a version again now.

    If there is memory for one version only, the one that serves is not given up for it.
    """
    record = model.failing.get(version)
    if record is None or not record.returns or not record.is_due(time.monotonic()):
        return False
    beside = not transition_named(model.config.transition).makes_way
    return beside or _nothing_serves(model, version)


def note(model: Model, poll: Poll, events: EventLog) -> None:
    """Update the records after a look at the folder: some versions were replaced, some are gone."""
    for version, record in list(model.failing.items()):
        if version not in poll.present:
            del model.failing[version]
        elif version in poll.replaced and not record.replaced:
            record.replaced = True
            others = ", ".join(str(found.version) for found in poll.aspired or ())
            events.add(
                "set_aside",
                model.name,
                version,
                message=f"Version {version} of {model.name} is set aside for version {others}: "
                f"{record.reason}",
            )


def try_again(model: Model, served: Served, before: Served | None, events: EventLog) -> None:
    """A version is added again; `before` is how it ended the last time, if that is known."""
    version, fingerprint = served.id.version, served.found.fingerprint
    record = model.failing.get(version)
    if record is None:
        return
    if record.fingerprint != fingerprint or not record.returns:
        del model.failing[version]
        if record.served:
            # Its files were changed after it crashed. Its failures are forgotten; that it served,
            # and is missed, is not.
            model.failing[version] = Record(
                fingerprint,
                reason=record.reason,
                served=True,
                start_seconds=record.start_seconds,
            )
        return
    if record.served:
        served.succeed(before)
    if record.until is not None:
        record.try_again()
        events.add("quarantine_retry", model.name, version, attempt=record.failures)


def is_alone(model: Model, version: int) -> bool:
    """Whether no other version could serve in place of one that is set aside."""
    aside = {v for v, record in model.failing.items() if record.until is not None}
    others = model.source.chosen_without(model.config.version_policy, aside | {version})
    return not others and _nothing_serves(model, version)


def next_change(model: Model, looked: float) -> float:
    """Seconds until the state of some version's record changes, counted from when the records were
    `looked` at (monotonic seconds): no change since then is missed."""
    changes = (record.next_change() for record in model.failing.values() if record.returns)
    soonest = min((at for at in changes if at > looked), default=float("inf"))
    return max(_LEAST_SECONDS, soonest - time.monotonic())


def _nothing_serves(model: Model, version: int) -> bool:
    """Whether no other version serves or is on its way to."""
    return not any(
        other != version and served.harness.aspired and not served.harness.state.is_final
        for other, served in model.versions.items()
    ) and (model.ready is None or model.ready.id.version == version)
