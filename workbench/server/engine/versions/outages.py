"""Models of which nothing serves because a version crashed, by the records of their versions.

A model is out of service for a crash while a version that has served is set aside or started again,
and no other serves. A model that has never served, or whose versions were taken away, is not: its
requests find no version, as in TensorFlow Serving.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from workbench.core.versions.outage import OVERDUE_SECONDS, Outage
from workbench.core.versions.states import HarnessState

if TYPE_CHECKING:
    from workbench.server.engine.versions.model import Model, Served


def outage_of(model: Model, version: int | None = None) -> Outage | None:
    """Why a version does not serve although it did; without a `version`, why none of them does.

    None where it serves, or where its absence has another cause than a crash.
    """
    if model.removed or (version is None and model.ready is not None):
        return None
    crashed = [v for v in model.failing if version in (None, v) and _is_out(model, v)]
    if not crashed:
        return None
    number = max(crashed)
    record = model.failing[number]
    attempt_at = math.inf if record.until is None else record.until
    begun = False
    starting: int | None = number
    coming = _coming(model, version)
    if coming is not None:
        attempt_at, begun, starting = coming.begun_at, True, coming.id.version
    elif version is None and not record.alone and _since(record.aside_at) < OVERDUE_SECONDS:
        # The folder is being looked at for another version.
        attempt_at, begun, starting = record.aside_at, True, None
    return Outage(
        model.name, number, record.reason, attempt_at, begun, record.start_seconds, starting
    )


def to_json(model: Model) -> list[dict[str, Any]]:
    """The outage of each version that is out of service for a crash, with the signatures that it
    has when it is back."""
    told = []
    now = time.monotonic()
    for version in sorted(model.failing):
        # Where nothing serves, another version may be on its way in its place.
        outage = outage_of(model, version)
        if outage is None:
            continue
        refusal = (outage_of(model) or outage).refusal(now)
        served = model.versions.get(version) or model.ended.get(version)
        report = None if served is None else served.report or served.last_report
        told.append(
            {
                "version": version,
                "message": refusal.message,
                "retry_after_seconds": refusal.retry_after_seconds,
                "signatures": {}
                if report is None
                else {name: s.to_json() for name, s in report.signatures.items()},
            }
        )
    return told


def _since(then: float) -> float:
    return time.monotonic() - then


def _is_out(model: Model, version: int) -> bool:
    record = model.failing[version]
    served = model.versions.get(version)
    if served is not None and served.harness.aspired:
        state = served.harness.state
        return record.served and (state.is_coming or state is HarnessState.ERROR)
    # Another version has been chosen in its place, and it is tried again beside that one.
    return record.served and record.until is not None


def _coming(model: Model, version: int | None) -> Served | None:
    """The highest version on its way to serve, or the one asked for."""
    coming = [
        served
        for served in model.versions.values()
        if served.harness.aspired
        and served.harness.state.is_coming
        and version in (None, served.id.version)
    ]
    return max(coming, key=lambda served: served.id.version, default=None)
