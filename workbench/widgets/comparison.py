"""The result of comparing two versions, live: examples to look through, and actions."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from workbench.client.display.exact_numbers import version_of
from workbench.client.publishing import saving
from workbench.client.server import ServerClient
from workbench.core.status import Code, ServingError, failed_precondition
from workbench.experiments.versions.example_images import example_png, images_of
from workbench.experiments.versions.version_comparison import VersionComparison
from workbench.widgets.base.live import LiveWidget, view

PAGE = 12
"""Examples on one page of the gallery."""
_INTERVAL_SECONDS = 2.0
_QUANTILES = 200
_LONGEST = 60


class ComparisonWidget(LiveWidget):
    """A comparison: measures, latency, slices by class, and a gallery of the examples that are
    answered differently; with controls that let one of the two versions serve.

    Attributes:
        found: the comparison.
    """

    face = view("comparison")

    def __init__(self, found: VersionComparison) -> None:
        self.found = found
        self._server = None if found.server is None else ServerClient(found.server, found.model)
        self._policy: dict[str, Any] | None = None
        self._groups = found.groups
        self._classes = [] if self._groups is None else list(np.unique(self._groups))
        self._images = images_of(found.inputs)
        orders = {
            "gallery": self._on_gallery,
            "promote": lambda asked: self.promote(version_of(asked["version"])),
            "label": lambda asked: self.label(version_of(asked["version"]), str(asked["label"])),
            "undo": lambda _: self.undo(),
        }
        name = found.server or ""
        super().__init__(name, found.model, self._about(), orders, _INTERVAL_SECONDS)

    def promote(self, version: int) -> str:
        """Let a version serve: the highest by the policy *latest*, another one by its number. The
        version policy before is kept for `undo`.

        Raises:
            ServingError: NOT_FOUND, the server has ended; FAILED_PRECONDITION, the version's
                folder is missing; or the error with which it failed to load.
        """
        server = self._served()
        folders = saving.version_folders(server.base_path)
        if version not in folders:
            raise failed_precondition(
                f"Version {version} is not in {server.base_path} any more: publish it again"
            )
        newest = version == max(folders)
        before = server.version_policy
        server.version_policy = {"latest": 1} if newest else {"specific": [version]}
        if self._policy is None:
            self._policy = before
        server.control.poll(server.model, [version])
        server.wait_for(version)
        if newest:
            return f"Version {version} serves. The next version that is published replaces it."
        return (
            f"Version {version} serves, pinned by its number. Versions published later do not "
            "serve until version_policy is 'latest' again (Undo)."
        )

    def undo(self) -> str:
        """Restore the version policy from before `promote`.

        Raises:
            ServingError: FAILED_PRECONDITION, nothing was promoted.
        """
        if self._policy is None:
            raise failed_precondition("Nothing was promoted here, so there is nothing to undo")
        server = self._served()
        server.version_policy = self._policy
        said = ", ".join(f"{name} {value}" for name, value in self._policy.items())
        self._policy = None
        return f"The version policy is {said} again."

    def label(self, version: int, label: str) -> str:
        """Label a serving version: requests for the label go to it from now on.

        Raises:
            ServingError: the label is not allowed, or the version does not serve.
            ValueError: the label is empty.
        """
        label = label.strip()
        if not label:
            raise ValueError("Name the label, such as stable or canary.")
        server = self._served()
        server.labels = {**server.labels, label: version}
        return f"Requests for the label {label} go to version {version}."

    def _served(self) -> ServerClient:
        if self._server is None or not self._server.running:
            raise ServingError(Code.NOT_FOUND, "The server of this comparison has stopped")
        return self._server

    def news(self, marks: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The serving versions, labels and version policy."""
        if self.found.server is None:
            raise ServingError(Code.NOT_FOUND, "This comparison was kept without its server's name")
        about = self._control.describe_model(self.found.model)
        available = [v["version"] for v in about["versions"] if v["state"] == "AVAILABLE"]
        serving = {
            "kind": "serving",
            "available": sorted(available),
            "labels": about["labels"],
            "policy": about["version_policy"],
            "undo": self._policy is not None,
        }
        return serving, {"known": True}

    def gallery(self, page: int = 0, slice_: int | None = None) -> dict[str, Any]:
        """A page of the examples that are answered differently, the furthest apart first.

        Args:
            slice_: only of this class, a row of `found.by_class`; by default of all.
        """
        table = self.found.disagreements
        if slice_ is not None and self._groups is not None:
            mine = self._groups[table["example"].to_numpy()] == self._classes[slice_]
            table = table[mine]
        shown = table.iloc[page * PAGE : (page + 1) * PAGE]
        items = [self._item(row) for row in shown.to_dict("records")]
        return {"page": page, "slice": slice_, "total": len(table), "items": items}

    def _item(self, row: Mapping[Any, Any]) -> dict[str, Any]:
        place = int(row["example"])
        said = [row[f"version {v}"] for v in self.found.versions]
        classes = self.found.labels is not None and self.found.classes is not None
        item: dict[str, Any] = {
            "example": place,
            "said": [_words(each) for each in said],
            "label": _words(row["label"]) if "label" in row else None,
            "right": [bool(each == row["label"]) for each in said] if classes else None,
            "difference": None if row["difference"] != row["difference"] else row["difference"],
        }
        if self._images is not None:
            png = example_png(self._images[place])
            item["png"] = base64.b64encode(png).decode("ascii")
        else:
            item["input"] = "; ".join(
                f"{name} {_words(values[place])}" for name, values in self.found.inputs.items()
            )
        return item

    def _on_gallery(self, asked: Mapping[str, Any]) -> str:
        page = self.gallery(max(0, int(asked["page"])), asked.get("slice"))
        self.send({"kind": "gallery", **page})
        return ""

    def _about(self) -> dict[str, Any]:
        found = self.found
        at = np.linspace(0, 100, _QUANTILES + 1)
        slices = None
        if self._groups is not None:
            slices = {
                "kind": found.by_class.index.name,
                "columns": list(found.by_class.columns),
                "rows": [
                    {"name": _words(name), "values": [float(v) for v in row]}
                    for name, row in found.by_class.iterrows()
                ],
            }
        return {
            "title": f"Versions {found.versions[0]} and {found.versions[1]} of {found.model}",
            "server": found.server,
            "versions": list(found.versions),
            "sentences": found.sentences(),
            "measures": [
                {"name": name, "values": [None if v != v else float(v) for v in row]}
                for name, row in found.frame.iterrows()
            ],
            "latency": (np.percentile(found.seconds, at, axis=0).T * 1e3).tolist(),
            "slices": slices,
            "gallery": self.gallery(),
            "pageSize": PAGE,
        }

    def __repr__(self) -> str:
        return str(self.found)


def _words(value: Any) -> str:
    """A value as a short text."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
