"""What the client shows of a server: plain objects that read well in a cell and a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.core.signature import Signature


@dataclass(frozen=True)
class VersionView:
    """One version as it was when it was looked at.

    Attributes:
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        error: why it failed, in words; None where it did not.
        memory_bytes: private memory (USS) of its worker, measured; None where it has none.
        load_seconds: from starting its worker to being ready.
        notes: what is unusual about it while it serves, a sentence each: what clients would notice
            of its answers, and why requests do not share batches.
        quarantine: when a version that has failed is tried again, in words; None where it is not
            set aside.
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
        error = data["error"]
        return cls(
            version=data["version"],
            state=data["state"],
            path=data["path"],
            error=None if error is None else f"{error['code']}: {error['message']}",
            size_bytes=data["size_bytes"],
            memory_bytes=memory.get(data["version"]),
            load_seconds=data["load_seconds"],
            signatures={
                name: Signature.from_json(s) for name, s in data.get("signatures", {}).items()
            },
            quarantine=_quarantine(data.get("quarantine")),
            notes=tuple(data.get("notes", ())),
        )

    def __str__(self) -> str:
        memory = "" if self.memory_bytes is None else f"  {self.memory_bytes / 2**20:.0f} MB"
        error = "" if self.error is None else f"  {self.error}"
        aside = "" if self.quarantine is None else f" ({self.quarantine})"
        return f"version {self.version}: {self.state}{memory}{error}{aside}"


def _quarantine(data: Mapping[str, Any] | None) -> str | None:
    if data is None:
        return None
    if data["seconds"] is None:
        return "set aside until its files change"
    return f"set aside, to be tried again in {data['seconds']:.0f} s"


class Versions(Sequence[VersionView]):
    """The versions of a model, highest first; `versions[2]` is version 2."""

    def __init__(
        self,
        views: Sequence[VersionView],
        waiting: Mapping[str, str],
        warnings: Sequence[str] = (),
    ) -> None:
        self._views = list(views)
        self.warnings = tuple(warnings)
        """What a person should know of the model's folder, a sentence each."""
        self.waiting = {int(v): reason for v, reason in waiting.items()}
        """Folders that are not complete yet, by version, with what they lack."""

    def __len__(self) -> int:
        return len(self._views)

    def __iter__(self) -> Iterator[VersionView]:
        return iter(self._views)

    def __getitem__(self, version: Any) -> Any:
        for view in self._views:
            if view.version == version:
                return view
        known = ", ".join(str(view.version) for view in self._views) or "none"
        raise KeyError(f"no version {version} (there are: {known})")

    @property
    def available(self) -> list[int]:
        """The versions that answer requests, highest first."""
        return [view.version for view in self._views if view.state == "AVAILABLE"]

    def __repr__(self) -> str:
        lines = []
        for view in self._views:
            lines += [str(view), *(f"  note: {note}" for note in view.notes)]
        lines += [f"version {v}: waiting, {why}" for v, why in sorted(self.waiting.items())]
        lines = lines or ["no versions"]
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])

    def _repr_html_(self) -> str:
        from workbench.client.display.card import versions_card

        return versions_card(self)


def versions_of(about: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> Versions:
    """A model's versions as the server describes them, with what the ledger measured."""
    memory = {s["version"]: s["uss"] for s in samples if s["model"] == about["name"]}
    views = [VersionView.from_json(v, memory) for v in about["versions"]]
    return Versions(views, about["waiting"], about["warnings"])
