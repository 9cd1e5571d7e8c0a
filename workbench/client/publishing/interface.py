"""Asks before a version is published whose signatures break the callers of the one that serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workbench.client.asking.lookup import available_signatures
from workbench.core.signature_changes import compare
from workbench.core.status import Code, Reason, ServingError

_MOST_PHRASES = 4
_CURE = "publish it under another name, or with allow_signature_change=True"

Check = Callable[[Path], None]
"""Called with the folder of a SavedModel; raises a `SignatureChange`."""


class SignatureChange(ServingError):
    """FAILED_PRECONDITION: a version would break the callers of the one that serves.

    Attributes:
        change: what changes, without a cure.
    """

    def __init__(self, change: str, cure: str = _CURE) -> None:
        super().__init__(Code.FAILED_PRECONDITION, f"{change}: {cure}", Reason.SIGNATURE_CHANGE)
        self.change = change


def check_against(about: Mapping[str, Any], version: int) -> Check | None:
    """A check of what is to become `version` of a described model; None if no available version has
    a lower number, so that nobody's callers are concerned."""
    serving = {v: s for v, s in available_signatures(about).items() if v < version}
    if not serving:
        return None
    latest = max(serving)
    tags = tuple(about["tags"]) or ("serve",)

    def check(folder: Path) -> None:
        from workbench.formats.saved_model.signature_file import read_signatures

        signatures = read_signatures(folder, tags)
        if signatures is None:
            return
        broken = compare(serving[latest], signatures).breaking
        if broken:
            phrases = list(broken[:_MOST_PHRASES])
            if len(broken) > _MOST_PHRASES:
                phrases.append(f"and {len(broken) - _MOST_PHRASES} changes more")
            raise SignatureChange(
                f"Version {version} of {about['name']} would break the callers of version "
                f"{latest}: {', '.join(phrases)}"
            )

    return check
