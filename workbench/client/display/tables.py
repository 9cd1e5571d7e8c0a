"""Data frames of what a server tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def table_of(
    told: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]],
    columns: Sequence[str],
    whole: Sequence[str] = ("version",),
) -> pd.DataFrame:
    """A data frame of rows, or of columns, in which whole numbers stay exact.

    Args:
        whole: columns of whole numbers, where some may be missing. pandas by itself would make
            floats of those, which round beyond 2^53.
    """
    import pandas as pd

    frame = pd.DataFrame(told, columns=list(columns))
    for name in whole:
        values = list(told[name]) if isinstance(told, Mapping) else [row.get(name) for row in told]
        frame[name] = pd.array(values, dtype="Int64")
    return frame
