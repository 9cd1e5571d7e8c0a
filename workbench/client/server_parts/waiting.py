"""Waits until a version of a model is available, is gone, or has failed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from workbench.client.control_answers import VersionDescription
from workbench.client.control_client import ControlClient
from workbench.client.publishing import saving
from workbench.core.status import Code, ServingError

LOAD_TIMEOUT_SECONDS = 300.0

_STEP_SECONDS = 2.0
"""The longest time between two looks at the folder of a version that is waited for."""
_GONE_STEP_SECONDS = 20.0
_SUCCESSOR_SECONDS = 30.0


def until_available(
    control: ControlClient, model: str, version: int, timeout: float, written: bool
) -> None:
    """Wait until a version is available.

    Args:
        written: whether its folder was there at some time: if it is missing now, it was removed.

    Raises:
        ServingError: the version's own, it failed to load; DEADLINE_EXCEEDED, it took too long;
            CANCELLED, its folder was removed meanwhile.
    """
    end = time.monotonic() + timeout
    base = Path(control.describe_model(model)["base_path"])
    while True:
        left = end - time.monotonic()
        answer = control.wait(model, max(0.0, min(_STEP_SECONDS, left)), version=version)
        found = [v for v in answer["versions"] if v["version"] == version]
        _raise_failure(model, found)
        if any(v["state"] == "AVAILABLE" for v in found):
            return
        if written and base.is_dir() and version not in saving.version_folders(base):
            raise ServingError(
                Code.CANCELLED,
                f"Version {version} of {model} is not there any more: its folder was rolled back, "
                f"or removed from {base}, before it was available",
            )
        if left <= 0:
            reason = answer["waiting"].get(str(version), "it is still loading")
            raise ServingError(
                Code.DEADLINE_EXCEEDED,
                f"Version {version} of {model} is not available after {timeout:.0f} s: {reason}",
            )


def until_gone(control: ControlClient, model: str, version: int, timeout: float) -> None:
    """Wait until a version is unloaded and, where another one loads only then, until that one is
    available or has failed.

    Raises:
        ServingError: DEADLINE_EXCEEDED, the version still serves.
    """
    end = time.monotonic() + timeout
    while (left := end - time.monotonic()) > 0:
        if control.wait(model, min(_GONE_STEP_SECONDS, left), gone=version)["done"]:
            control.wait(model, min(_SUCCESSOR_SECONDS, left))
            return
    raise ServingError(
        Code.DEADLINE_EXCEEDED,
        f"Version {version} of {model} still serves after {timeout:.0f} s: no other version has "
        "become available",
    )


def until_served(control: ControlClient, model: str, timeout: float) -> None:
    """Wait until any version of a model is available.

    Raises:
        ServingError: a version's own, none is available and it failed to load; DEADLINE_EXCEEDED.
    """
    answer = control.wait(model, timeout)
    if any(v["state"] == "AVAILABLE" for v in answer["versions"]):
        return
    _raise_failure(model, answer["versions"])
    waiting = (f"version {v}: {reason}" for v, reason in answer["waiting"].items())
    reasons = "; ".join([*answer["warnings"], *waiting]) or "it is still loading"
    raise ServingError(
        Code.DEADLINE_EXCEEDED, f"{model} is not served after {timeout:.0f} s: {reasons}"
    )


def _raise_failure(model: str, versions: Iterable[VersionDescription]) -> None:
    """Raise the error of the first of these versions that has failed."""
    for v in versions:
        if v["error"] is not None:
            error = {**v["error"], "error": v["error"]["message"]}
            failed = ServingError.from_json(error)
            raise ServingError(
                failed.code,
                f"Version {v['version']} of {model} did not load: {failed.message}",
                failed.reason,
            )
