"""One version of a model: plain data that reads well in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.client.control_answers import error_text
from workbench.core.signature import Signature


@dataclass(frozen=True)
class VersionView:
    """One version at one moment.

    Attributes:
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        error: the reason why it failed, in words; None if it did not.
        memory_bytes: private memory (USS) of its worker, measured; None if it has no worker.
        load_seconds: from the start of its worker until it was ready.
        notes: sentences about unusual behaviour while it serves: changes that clients notice in
            its answers, and reasons why requests do not share batches.
        quarantine: the time, in words, at which a failed version is loaded again; None if it is
            not set aside.
    """

    version: int
    state: str
    path: str
    error: str | None
    size_bytes: int
    memory_bytes: int | None
    load_seconds: float
    signatures: Mapping[str, Signature]
    quarantine: str | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any], memory: Mapping[int, int]) -> VersionView:
        """Read a described version; `memory` has the USS of workers by version."""
        return cls(
            version=data["version"],
            state=data["state"],
            path=data["path"],
            error=error_text(data["error"]),
            size_bytes=data["size_bytes"],
            memory_bytes=memory.get(data["version"]),
            load_seconds=data["load_seconds"],
            signatures=Signature.all_from_json(data),
            quarantine=_quarantine(data.get("quarantine")),
            notes=tuple(data.get("notes", ())),
        )

    @property
    def memory(self) -> str:
        """`memory_bytes` in words; empty if it has no worker."""
        return "" if self.memory_bytes is None else f"{self.memory_bytes / 2**20:.0f} MB"

    @property
    def loaded_in(self) -> str:
        """`load_seconds` in words; empty if it was never ready."""
        return f"{self.load_seconds:.2f} s" if self.load_seconds else ""

    def __str__(self) -> str:
        memory = self.memory and f"  {self.memory}"
        error = "" if self.error is None else f"  {self.error}"
        aside = "" if self.quarantine is None else f" ({self.quarantine})"
        return f"version {self.version}: {self.state}{memory}{error}{aside}"


def _quarantine(data: Mapping[str, Any] | None) -> str | None:
    if data is None:
        return None
    if data["seconds"] is None:
        return "set aside until its files change"
    return f"set aside, loaded again in {data['seconds']:.0f} s"
