"""Figures that show themselves in a notebook, and stay there when the kernel is gone."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_DOTS_PER_INCH = 110
PAGE_WIDTH = 7.0
"""Inches between the margins of a book's page."""
INK = "#333333"
# Okabe and Ito's colours first, which colour-blind readers tell apart; as in the live views.
VERSION_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#882255", "#5c4700")
FAILED_COLOUR = "#b00020"
STATE_LOOKS: dict[str, dict[str, Any]] = {
    "START": {"alpha": 0.15},
    "LOADING": {"alpha": 0.35, "hatch": "/////"},
    "AVAILABLE": {"alpha": 1.0},
    "UNLOADING": {"alpha": 0.35, "hatch": "....."},
}
"""How a lane shows a version's public state: solid while it serves, hatched while it comes or
goes."""
PRINT_STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "hatch.linewidth": 0.7,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#BBBBBB",
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    # Letters stay letters, to be searched and set in another typeface.
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
"""For `matplotlib.rc_context`: readable in print at the figure's own size."""


def version_colour(version: int) -> str:
    """The same in every figure, whichever versions are shown."""
    return VERSION_COLOURS[(version - 1) % len(VERSION_COLOURS)]


class Picture(Figure):
    """A figure outside pyplot: nothing keeps it alive, and no backend must be chosen for it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        # White behind it also where the page is dark: the ink is dark.
        self.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, facecolor="white")
        return buffer.getvalue()
