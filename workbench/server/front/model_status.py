"""The status of a model's versions, for `GetModelStatus` and its REST twin.

As in TensorFlow Serving, a version is listed as soon as it is known. One whose folder is not
complete yet is START, "managed, nothing done". Its code is OK, because nothing has failed, and its
text names what it waits for.
"""

from __future__ import annotations

from workbench.core.status import Code, ServingError
from workbench.core.versions.states import PublicState
from workbench.server.engine.versions.manager import Manager
from workbench.server.front.json.responses import VersionStatus


def model_status(manager: Manager, name: str, version: int | None = None) -> list[VersionStatus]:
    """All versions of a model, highest first, or the one asked for.

    Raises:
        ServingError: NOT_FOUND, with TensorFlow Serving's text.
    """
    model = manager.models.get(name)
    found = {
        number: VersionStatus(number, PublicState.START.name, Code.OK, f"waiting: {reason}")
        for number, reason in (model.waiting if model is not None else {}).items()
        if version is None or number == version
    }
    try:
        listed = manager.status(name, version)
    except ServingError:
        if not found:
            raise
        listed = []
    for served in listed:
        error = served.harness.error
        found[served.id.version] = VersionStatus(
            served.id.version,
            served.harness.public_state.name,
            Code.OK if error is None else error.code,
            "" if error is None else error.message,
        )
    return [found[number] for number in sorted(found, reverse=True)]
