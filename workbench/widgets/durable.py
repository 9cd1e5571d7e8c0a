"""Outputs that outlive the kernel: beside the live widget, what it shows as a picture and text.

A widget needs its kernel; a saved notebook, nbconvert's pages and code-hosting sites have none. So
two outputs are written: the widget, and the same as HTML that needs nothing. A rule in the second
hides it while the widget is alive, and hides the widget's place once it is not.
"""

from __future__ import annotations

from typing import Any

from workbench.widgets.live import LiveWidget

# JupyterLab and Notebook 7; where the rule means nothing, both are shown, which is no harm.
_RULE = (
    ".jp-OutputArea-child:has(.wb-live)+.jp-OutputArea-child:has(.wb-durable){display:none}"
    ".jp-OutputArea-child:has(>.jupyter-widgets):not(:has(.wb-live)):"
    "has(+.jp-OutputArea-child .wb-durable){display:none}"
)


def display_live(widget: LiveWidget, html: str, text: str, png: bytes | None = None) -> None:
    """Show a widget and, after it, what remains of it when its kernel has gone.

    Args:
        html: the same without scripts; text: for a terminal, and for a screen reader.
        png: a figure, where there is one.
    """
    from IPython.display import display, publish_display_data

    display(widget)  # type: ignore[no-untyped-call]
    data: dict[str, Any] = {
        "text/plain": text,
        "text/html": f"<div class='wb-durable'><style>{_RULE}</style>{html}</div>",
    }
    if png is not None:
        data["image/png"] = png
    publish_display_data(data)  # type: ignore[no-untyped-call]


def in_notebook() -> bool:
    """Whether there is a kernel that a widget could talk to: not in a terminal, not in a script."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None
