"""The versions of a model: a sequence that reads well in a cell and in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workbench.client.display.version_view import VersionView
from workbench.client.display.versions_table import versions_card


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
        """Sentences about problems of the model's folder."""
        self.waiting = {int(v): reason for v, reason in waiting.items()}
        """The reasons why folders are not loaded yet, by version: they are incomplete."""

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
        return versions_card(self, self.waiting, self.warnings)


def versions_of(about: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> Versions:
    """The versions of a described model, with their memory from the ledger's samples."""
    memory = {s["version"]: s["uss"] for s in samples if s["model"] == about["name"]}
    views = [VersionView.from_json(v, memory) for v in about["versions"]]
    return Versions(views, about["waiting"], about["warnings"])
