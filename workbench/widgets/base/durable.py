"""Outputs that outlive the kernel: beside the live widget, the same as a picture and text.

A widget needs its kernel; a saved notebook, nbconvert's pages and code-hosting sites have none. So
two outputs are written: the widget, and the same as plain HTML. A CSS rule in the second hides it
while the widget is alive, and hides the empty widget afterwards.
"""

from __future__ import annotations

import base64
import html as markup
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.experiments.showing import in_notebook

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
    rows = table.to_html(border=0, index=False, float_format="{:.4g}".format, na_rep="–")
    page = (
        f"<p><b>{markup.escape(title)}</b></p>{image(png, text)}"
        f"<details><summary>the same as a table</summary>{rows}</details>"
    )
    return Lasting(page, text, png)


def image(png: bytes, text: str) -> str:
    """A figure as HTML, with its alternative text."""
    drawn = base64.b64encode(png).decode("ascii")
    return (
        f'<img alt="{markup.escape(text)}" style="max-width:100%" '
        f'src="data:image/png;base64,{drawn}">'
    )


class Output:
    """The lasting output of one display, which can be updated."""

    def __init__(self) -> None:
        self._transient = {"display_id": uuid.uuid4().hex}

    def show(self, what: Lasting, update: bool = False) -> None:
        """Write it; with `update`, replace the last output. Callable from any thread."""
        from IPython.display import publish_display_data

        # Publishing would make a shell of IPython where there is none any more.
        if in_notebook() or not update:
            publish_display_data(what.bundle(), transient=self._transient, update=update)


def display_live(widget: ipw.DOMWidget, kept: Lasting) -> Output:
    """Display a widget and, after it, what remains without its kernel."""
    from IPython.display import publish_display_data

    shown = widget._repr_mimebundle_()
    # anywidget returns metadata, too; ipywidgets' own parts have none.
    data, metadata = shown if isinstance(shown, tuple) else (shown, {})
    # Where there are no widgets, as on nbconvert's pages, the second output is enough.
    data["text/plain"] = ""
    publish_display_data(data, metadata)
    output = Output()
    output.show(kept)
    return output


class Durable:
    """The display of a widget: live with a lasting output in a notebook, text elsewhere."""

    _output: Output | None = None

    def lasting(self) -> Lasting:
        """Its contents for a notebook without the kernel."""
        raise NotImplementedError

    def _renew(self) -> None:
        """Update the lasting output, if the widget is displayed."""
        if self._output is not None:
            self._output.show(self.lasting(), update=True)

    def _ipython_display_(self) -> None:
        if in_notebook():
            self._output = display_live(self, self.lasting())
        else:
            print(self)


def show_result(found: Any, view: Callable[[Any], ipw.DOMWidget]) -> None:
    """Display the result of an experiment, live in the notebook and lasting in its file.

    Raises:
        NotImplementedError: there is no notebook; IPython then shows its text.
    """
    if not in_notebook():
        raise NotImplementedError
    kept = Lasting(found._repr_html_(), str(found), found.plot()._repr_png_())
    display_live(view(found), kept)
