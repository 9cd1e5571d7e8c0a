"""Figures that display themselves in a notebook, and the style they share."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_DOTS_PER_INCH = 110
PAGE_WIDTH = 7.0
"""Inches between the margins of a book's page."""
INK = "#333333"
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
    # Text stays text, so it can be searched.
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
"""For `matplotlib.rc_context`: readable in print at the figure's own size."""


class Picture(Figure):
    """A figure outside pyplot, which neither keeps it alive nor needs a backend for it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
        return png(self)


def png(figure: Figure) -> bytes:
    """The figure as a PNG. Its ink is dark, so the ground is white on dark pages too."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, facecolor="white")
    return buffer.getvalue()


def write(axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
    """Write at a place of the panel, from 0 to 1 in both directions."""
    axes.text(x, y, text, transform=axes.transAxes, **look)


def head(axes: Axes, title: str, detail: str, pad: float = 14.0) -> None:
    """A panel's title, `pad` points above it, and its finding below that."""
    axes.set_title(title, loc="left", fontweight="bold", pad=pad)
    write(axes, 0, 1.02, detail, fontsize=7.5, va="bottom")
