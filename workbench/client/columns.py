"""Tables (a data frame, a list of records) as the inputs of a signature.

Columns are inputs where they have their names, those of the model or those of the data that it was
trained with. Otherwise the columns are the features of the only input. pandas is not imported for a
caller who does not use it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.client.arrays import to_array
from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import invalid_argument

if TYPE_CHECKING:
    import numpy as np

Columns = Mapping[str, Any]


def is_frame(x: Any) -> bool:
    return _is_pandas(x) and hasattr(x, "columns")


def is_series(x: Any) -> bool:
    return _is_pandas(x) and not hasattr(x, "columns") and hasattr(x, "dtype")


def is_records(x: Any) -> bool:
    """Whether it is a list of dictionaries, one for each row."""
    return isinstance(x, (list, tuple)) and bool(x) and all(isinstance(r, Mapping) for r in x)


def frame_columns(frame: Any) -> Columns:
    """The columns of a data frame by name.

    Raises:
        ServingError: INVALID_ARGUMENT, two columns have one name.
    """
    names = [str(name) for name in frame.columns]
    if not names:
        raise invalid_argument("The data frame has no columns: give one for each input or feature")
    for name in names:
        if names.count(name) > 1:
            raise invalid_argument(
                f"The data frame has {names.count(name)} columns {name!r}: give each a name of "
                "its own"
            )
    return {name: frame.iloc[:, i] for i, name in enumerate(names)}


def record_columns(records: Sequence[Mapping[Any, Any]]) -> Columns:
    """The columns of a list of records.

    Raises:
        ServingError: INVALID_ARGUMENT, a record lacks what another one has.
    """
    names = list(records[0])
    if not names:
        raise invalid_argument("The first record is empty: give a value for each input or feature")
    for i, record in enumerate(records):
        if record.keys() != records[0].keys():
            odd = next(iter(record.keys() ^ records[0].keys()))
            lacking = i if odd in records[0] else 0
            raise invalid_argument(
                f"Record {lacking} has no value {odd!r}, which another record has: give all "
                "records the same keys"
            )
    return {str(name): [record[name] for record in records] for name in names}


def named_inputs(signature: Signature, columns: Columns) -> dict[str, str]:
    """The column of each input that has one: by its original name, else by its own."""
    found = {}
    for name in signature.inputs:
        for column in (signature.originals.get(name, name), name):
            if column in columns:
                found[name] = column
                break
    return found


def are_features(signature: Signature, columns: Columns) -> bool:
    """Whether the columns together are the only input, though one may have its name: it takes more
    than one value for each row."""
    if len(signature.inputs) != 1:
        return False
    (info,) = signature.inputs.values()
    if not named_inputs(signature, columns):
        return True
    return len(columns) > 1 and info.shape is not None and len(info.shape) == 2 and (
        info.shape[1] in (-1, len(columns))
    )


def feature_matrix(info: TensorInfo, columns: Columns, name: str) -> np.ndarray:
    """The columns side by side, as one input.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the column.
    """
    import numpy as np

    if len(columns) == 1:
        ((key, column),) = columns.items()
        array = column_array(info, column, f"Column {key!r}")
        # Each of its cells may be a whole row.
        whole = array.ndim > 1 or (info.shape is not None and len(info.shape) == 1)
        return array if whole else array[:, np.newaxis]
    rank = None if info.shape is None else len(info.shape)
    width = 1 if rank == 1 else info.shape[1] if info.shape is not None and rank == 2 else -1
    if width not in (-1, len(columns)):
        takes = "1 column" if width == 1 else f"{width} columns"
        raise invalid_argument(
            f"Input {name!r} ({info}) takes {takes}, and the table has {len(columns)} "
            f"({', '.join(columns)}): choose the columns that the model was trained with"
        )
    arrays = [column_array(info, column, f"Column {key!r}") for key, column in columns.items()]
    return np.stack(arrays, axis=1)


def column_array(info: TensorInfo, column: Any, label: str) -> np.ndarray:
    """A column as an array of the input's dtype.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the column and the cure.
    """
    return to_array(info, column_values(column, info, label), label)


def column_values(column: Any, info: TensorInfo, label: str) -> Any:
    """A column's values; those of a series as numpy takes them.

    Raises:
        ServingError: INVALID_ARGUMENT, a value is missing, or they are dates.
    """
    if not is_series(column):
        return column
    kind = getattr(column.dtype, "kind", "O")
    if kind in "Mm" or str(column.dtype).startswith("period"):
        what = "durations" if kind == "m" else "dates"
        seconds = ".dt.total_seconds()" if kind == "m" else ".dt.dayofyear, .dt.year ..."
        raise invalid_argument(
            f"{label} holds {what} ({column.dtype}), which a model cannot take ({info}): make "
            f"numbers of it, for example with {seconds}"
        )
    absent = column.isna().to_numpy()
    # In a plain column of floats NaN may be a value; elsewhere it says that there is none.
    plain_floats = kind == "f" and not _is_extension(column.dtype) and info.dtype in _FLOATS
    if absent.any() and not plain_floats:
        raise invalid_argument(
            f"{label} ({info}) has missing values in {int(absent.sum())} of {len(absent)} rows, the "
            f"first at row {int(absent.argmax())}: fill them with .fillna(...) or leave these "
            "rows out with .dropna()"
        )
    if str(column.dtype) == "category":
        column = column.astype(column.cat.categories.dtype)
    return column.to_numpy()


_FLOATS = frozenset({"float", "double", "half", "bfloat16", "complex64", "complex128"})


def _is_extension(dtype: Any) -> bool:
    """Whether it is a type of pandas' own and not numpy's."""
    return _is_pandas(dtype)


def _is_pandas(x: Any) -> bool:
    return type(x).__module__.partition(".")[0] == "pandas"
