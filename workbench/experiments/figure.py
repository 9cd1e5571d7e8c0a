"""Figures that show themselves in a notebook, and stay there when the kernel is gone."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_DOTS_PER_INCH = 110


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
