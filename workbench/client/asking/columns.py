"""Tables (a data frame, a list of records) as the inputs of a signature.

Columns are inputs where they have their names, those of the model or those of the data that it was
trained with. Otherwise the columns are the features of the only input. pandas is not imported for a
caller who does not use it.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.client.asking.arrays import to_array
from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import ServingError, invalid_argument

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Table:
    """Columns by name.

    Attributes:
        names: of the columns, in order.
        column: returns the values of one column.
        matrix: returns all columns as one array if they are plain numbers, else None.
    """

    names: Sequence[str]
    column: Callable[[str], Any]
    matrix: Callable[[], np.ndarray | None]


def is_frame(x: Any) -> bool:
    """Whether it is a pandas data frame."""
    return _is_pandas(x) and hasattr(x, "columns")


def is_series(x: Any) -> bool:
    """Whether it is a pandas series, index or array."""
    return _is_pandas(x) and not hasattr(x, "columns") and hasattr(x, "dtype")


def is_records(x: Any) -> bool:
    """Whether it is a list of dictionaries, one for each row."""
    return isinstance(x, (list, tuple)) and bool(x) and all(isinstance(r, Mapping) for r in x)


def of_frame(frame: Any) -> Table:
    """A data frame as a table.

    Raises:
        ServingError: INVALID_ARGUMENT, it has no columns, or two have one name.
    """
    names = [str(name) for name in frame.columns]
    if not names:
        raise invalid_argument("The data frame has no columns: give one for each input or feature")
    labels = dict(zip(names, frame.columns, strict=True))
    if len(labels) < len(names):
        name, count = Counter(names).most_common(1)[0]
        raise invalid_argument(
            f"The data frame has {count} columns {name!r}: give each a name of its own"
        )

    def matrix() -> np.ndarray | None:
        plain = all(not _is_pandas(dtype) and dtype.kind in "biuf" for dtype in set(frame.dtypes))
        return frame.to_numpy() if plain else None

    return Table(names, lambda name: frame[labels[name]], matrix)


def of_records(records: Sequence[Mapping[Any, Any]]) -> Table:
    """A list of records as a table.

    Raises:
        ServingError: INVALID_ARGUMENT, a record lacks what another one has.
    """
    keys = {str(key): key for key in records[0]}
    if not keys:
        raise invalid_argument("The first record is empty: give a value for each input or feature")
    for i, record in enumerate(records):
        if record.keys() != records[0].keys():
            odd = next(iter(record.keys() ^ records[0].keys()))
            lacking = i if odd in records[0] else 0
            raise invalid_argument(
                f"Record {lacking} has no value {odd!r}, which another record has: give all "
                "records the same keys"
            )
    return Table(list(keys), lambda name: [record[keys[name]] for record in records], lambda: None)


def of_structured(array: np.ndarray, names: Sequence[str]) -> Table:
    """A structured numpy array as a table."""
    return Table(names, lambda name: array[name], lambda: None)


def named_inputs(signature: Signature, table: Table) -> dict[str, str]:
    """The column of each input that has one, by the input's original name or its own."""
    there = set(table.names)
    named = {name: (signature.originals.get(name, name), name) for name in signature.inputs}
    columns = {name: [each for each in both if each in there] for name, both in named.items()}
    return {name: found[0] for name, found in columns.items() if found}


def are_features(signature: Signature, table: Table) -> bool:
    """Whether all columns together are the only input. One column may have the input's name, if the
    input takes several values for each row."""
    if len(signature.inputs) != 1:
        return False
    if not named_inputs(signature, table):
        return True
    (info,) = signature.inputs.values()
    count = len(table.names)
    return count > 1 and info.rank == 2 and _width(info) in (-1, count)


def feature_matrix(info: TensorInfo, table: Table, name: str) -> np.ndarray:
    """The columns side by side, as one input.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the column.
    """
    import numpy as np

    if len(table.names) == 1:
        (only,) = table.names
        array = column_array(info, table.column(only), f"Column {only!r}")
        if array.ndim > 1:
            # Each cell is a whole row.
            return array
    width = _width(info)
    if width not in (-1, len(table.names)):
        takes = "1 column" if width == 1 else f"{width} columns"
        raise invalid_argument(
            f"Input {name!r} ({info}) takes {takes}, and the table has {len(table.names)} "
            f"({', '.join(table.names)}): choose the columns that the model was trained with"
        )
    if len(table.names) == 1:
        return array if info.rank == 1 else array[:, np.newaxis]
    matrix = table.matrix()
    if matrix is not None:
        # Column by column, a wide table would be slow; only errors need the columns' names.
        with contextlib.suppress(ServingError):
            return to_array(info, matrix, f"Input {name!r}")
    columns = [column_array(info, table.column(n), f"Column {n!r}") for n in table.names]
    return np.stack(columns, axis=1)


def _width(info: TensorInfo) -> int:
    """The columns that an input takes; -1 for any number."""
    if info.shape is None or info.rank not in (1, 2):
        return -1
    return info.shape[1] if info.rank == 2 else 1


def column_array(info: TensorInfo, column: Any, label: str) -> np.ndarray:
    """A column as an array of the input's dtype.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the column and the cure.
    """
    return to_array(info, column_values(column, info, label), label)


def column_values(column: Any, info: TensorInfo, label: str) -> Any:
    """A column's values; for a series, as a numpy array.

    Raises:
        ServingError: INVALID_ARGUMENT, a value is missing, or they are dates.
    """
    import numpy as np

    if not is_series(column):
        return column
    if not hasattr(column, "to_frame"):
        # A pandas array such as `pd.Categorical`.
        import pandas as pd

        column = pd.Series(column)
    kind = getattr(column.dtype, "kind", "O")
    plain = not _is_pandas(column.dtype)
    # In a plain column of floats NaN may be a value; elsewhere it marks a missing value.
    if plain and (kind in "biu" or (kind in "fc" and _holds_floats(info.dtype))):
        return column.to_numpy()
    if kind in "Mm" or str(column.dtype).startswith("period"):
        what = "durations" if kind == "m" else "dates"
        seconds = ".dt.total_seconds()" if kind == "m" else ".dt.dayofyear, .dt.year ..."
        raise invalid_argument(
            f"{label} holds {what} ({column.dtype}), which a model cannot take ({info}): make "
            f"numbers of it, for example with {seconds}"
        )
    absent = np.asarray(column.isna())
    if absent.any():
        raise invalid_argument(
            f"{label} ({info}) has missing values in {int(absent.sum())} of {len(absent)} rows, "
            f"the first at row {int(absent.argmax())}: fill them with .fillna(...) or leave these "
            "rows out with .dropna()"
        )
    if str(column.dtype) == "category":
        column = column.astype(column.dtype.categories.dtype)
    return column.to_numpy()


def _holds_floats(dtype: str) -> bool:
    from workbench.formats.dtypes import BY_NAME

    return dtype in BY_NAME and BY_NAME[dtype].kind in "fc"


def _is_pandas(x: Any) -> bool:
    """Whether pandas defines its type; true for an extension dtype, false for one of numpy."""
    return type(x).__module__.partition(".")[0] == "pandas"
