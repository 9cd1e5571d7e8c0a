"""The colours, hatching and names of versions, states and close reasons, in figures and in the
browser (`workbench.jupyter.typescript` writes them for the browser)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from workbench.core.batching.queue import CloseReason

VERSIONS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#882255", "#5c4700")
"""After Okabe and Ito, for light grounds. Tests check the contrast of each with the ground, and
that colour-blind readers can distinguish them."""
VERSIONS_DARK = ("#56b4e9", "#ff9f43", "#2bd4a4", "#e85d9e", "#f0e442", "#ffffff")
FAILED, FAILED_DARK = "#b00020", "#ff6b81"
PROCESS, PROCESS_DARK = "#6e7781", "#9aa4ae"
"""Memory that belongs to no version."""

Hatch = Literal["rising", "falling"]
HATCHES: Mapping[Hatch | None, str | None] = {
    "rising": "/////",
    "falling": "\\\\\\\\\\",
    None: None,
}
"""As matplotlib writes them."""


class StateLook(NamedTuple):
    """The opacity and hatching of a bar in its version's colour."""

    opacity: float
    hatch: Hatch | None = None

    def patch(self) -> dict[str, Any]:
        """As arguments of a matplotlib patch."""
        return {"alpha": self.opacity, "hatch": HATCHES[self.hatch]}


STATES: Mapping[str, StateLook] = {
    "START": StateLook(0.15),
    "LOADING": StateLook(0.35, "rising"),
    "AVAILABLE": StateLook(1.0),
    "UNLOADING": StateLook(0.35, "falling"),
}
"""By public state; a version in END has no bar."""

CLOSE_REASONS: Mapping[CloseReason, str] = {
    CloseReason.FULL: "full",
    CloseReason.TIMEOUT: "timeout",
    CloseReason.EXECUTOR_IDLE: "executor idle",
    CloseReason.DRAIN: "version unloading",
    CloseReason.SPLIT: "request split",
}


def version_colour(version: int) -> str:
    """The version's colour, the same in every figure."""
    return VERSIONS[(version - 1) % len(VERSIONS)]
