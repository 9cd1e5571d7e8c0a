"""The colours of versions in figures that last: those of the live views on a light ground."""

from __future__ import annotations

# As in `charts/theme.ts`, where tests hold them apart for colour-blind readers.
VERSIONS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#882255", "#5c4700")
FAILED = "#b00020"


def version_colour(version: int) -> str:
    """The same in every figure, whichever versions are shown."""
    return VERSIONS[(version - 1) % len(VERSIONS)]
