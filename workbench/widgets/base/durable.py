"""Outputs that outlive the kernel: beside the live widget, the same as a picture and text.

A widget needs its kernel; a saved notebook, nbconvert's pages and code-hosting sites have none. So
two outputs are written: the widget, and the same as plain HTML. A CSS rule in the second hides it
while the widget is alive, and hides the empty widget afterwards.
"""

from __future__ import annotations

import base64
import html as markup
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ipywidgets as ipw
    import pandas as pd

    from workbench.experiments.figure import Picture

# For JupyterLab and Notebook 7; elsewhere both outputs are shown.
_RULE = (
    ".jp-OutputArea-child:has(.wb-live,.wb-stepper)+"
    ".jp-OutputArea-child:has(.wb-durable){display:none}"
    ".jp-OutputArea-child:has(>.jupyter-widgets):not(:has(.wb-live,.wb-stepper)):"
    "has(+.jp-OutputArea-child .wb-durable){display:none}"
)


@dataclass(frozen=True)
class Lasting:
    """A widget's contents without the kernel.

    Attributes:
        html: without scripts; text: for a terminal and for screen readers.
        png: a figure, if any.
    """

    html: str
    text: str
    png: bytes | None = None

    def bundle(self) -> dict[str, Any]:
        """The MIME bundle of a notebook's output."""
        data: dict[str, Any] = {
            "text/plain": self.text,
            "text/html": f"<div class='wb-durable'><style>{_RULE}</style>{self.html}</div>",
        }
        if self.png is not None:
            data["image/png"] = base64.b64encode(self.png).decode("ascii")
        return data


def lasting(title: str, text: str, table: pd.DataFrame, figure: Picture) -> Lasting:
    """A figure, a table and text, as one.

    Args:
        title: above the figure; text: also the figure's alternative text.
    """
    png = figure._repr_png_()
    drawn = base64.b64encode(png).decode("ascii")
    rows = table.to_html(border=0, index=False, float_format="{:.4g}".format, na_rep="–")
    page = (
        f"<p><b>{markup.escape(title)}</b></p>"
        f'<img alt="{markup.escape(text)}" style="max-width:100%" '
        f'src="data:image/png;base64,{drawn}">'
        f"<details><summary>the same as a table</summary>{rows}</details>"
    )
    return Lasting(page, text, png)


class Output:
    """The lasting output of one display, which can be updated."""

    def __init__(self) -> None:
        self._transient = {"display_id": uuid.uuid4().hex}

    def show(self, what: Lasting, update: bool = False) -> None:
        """Write it; with `update`, replace the last output. Callable from any thread."""
        from IPython.display import publish_display_data

        publish_display_data(what.bundle(), transient=self._transient, update=update)


def display_live(widget: ipw.DOMWidget, kept: Lasting) -> Output:
    """Display a widget and, after it, what remains without its kernel."""
    from IPython.display import publish_display_data

    shown = widget._repr_mimebundle_()
    # anywidget returns metadata, too; ipywidgets' own parts have none.
    data, metadata = shown if isinstance(shown, tuple) else (shown, {})
    data["text/plain"] = kept.text
    publish_display_data(data, metadata)
    output = Output()
    output.show(kept)
    return output
