"""Shows results. Results are data; the functions that draw them are registered from above.

`figures` draws a result of `workbench.experiments`, `views` displays it live in a notebook's cell.
Their functions are imported from `workbench.experiments` and `workbench.widgets` when the first
result is shown.
"""

from __future__ import annotations

import base64
import html
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import pandas as pd

    from workbench.experiments.figure import Picture

T = TypeVar("T")


class Shows(Generic[T]):
    """Calls the function that shows results of a type.

    Attributes:
        load: returns these functions by type; called once, when the first result is shown.
    """

    def __init__(self) -> None:
        self.load: Callable[[], Mapping[type, Callable[..., T]]] = dict
        self._by_type: Mapping[type, Callable[..., T]] | None = None

    def __call__(self, result: object, *options: Any) -> T:
        """Show `result`.

        Raises:
            NotImplementedError: nothing is registered for its type. IPython then shows its text.
        """
        if self._by_type is None:
            self._by_type = self.load()
        show = self._by_type.get(type(result))
        if show is None:
            raise NotImplementedError(f"Nothing shows a {type(result).__name__}")
        return show(result, *options)


def in_notebook() -> bool:
    """Whether there is a kernel for widgets, unlike in a terminal or a script."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def html_table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of texts, which are escaped."""

    def cells(kind: str, texts: Iterable[str]) -> str:
        row = "".join(f"<{kind}>{html.escape(text)}</{kind}>" for text in texts)
        return f"<tr>{row}</tr>"

    body = "".join(cells("td", row) for row in rows)
    return f"<table><thead>{cells('th', titles)}</thead><tbody>{body}</tbody></table>"


def html_result(sentence: str, table: pd.DataFrame, picture: Picture) -> str:
    """A result for a cell: the sentence, the figure, and the table folded up below it."""
    rows = table.to_html(border=0, index=False, float_format="{:.4g}".format, na_rep="–")
    return (
        f"<p>{html.escape(sentence)}</p>{html_picture(picture._repr_png_(), sentence)}"
        f"<details><summary>the same as a table</summary>{rows}</details>"
    )


def text_result(sentence: str, table: pd.DataFrame) -> str:
    """A result for a terminal: the sentence and the table."""
    rows = table.to_string(index=False, float_format="{:.4g}".format, na_rep="–")
    return f"{sentence}\n{rows}"


def html_picture(png: bytes, alt: str = "", size: str = 'style="max-width:100%"') -> str:
    """An image that holds its data; `size` is one of its attributes."""
    data = base64.b64encode(png).decode("ascii")
    return f'<img alt="{html.escape(alt)}" {size} src="data:image/png;base64,{data}">'


figures: Shows[Picture] = Shows()
views: Shows[None] = Shows()
