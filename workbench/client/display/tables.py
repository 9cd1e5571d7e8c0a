"""Data frames from a server's answers, and tables of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text in aligned columns, a line each, for a terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def table_of(
    data: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]],
    columns: Sequence[str],
    whole: Sequence[str] = ("version",),
) -> pd.DataFrame:
    """A data frame from rows, or from columns, in which integers stay exact.

    Args:
        data: the rows or the columns.
        whole: columns of integers, some of which may be missing. pandas itself would convert those
            to floats, which are not exact beyond 2^53.
    """
    import pandas as pd

    frame = pd.DataFrame(data, columns=list(columns))
    for name in whole:
        values = list(data[name]) if isinstance(data, Mapping) else [row.get(name) for row in data]
        frame[name] = pd.array(values, dtype="Int64")
    return frame
