"""Converts a list, an array, a tensor or a series to an array of a given dtype.

Numbers are converted if that loses nothing but precision; text is never read as a number. Any other
value is refused with one sentence.
"""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any

from workbench.core.signature import TensorInfo
from workbench.core.status import ServingError, invalid_argument

if TYPE_CHECKING:
    import numpy as np

# numpy's letters for kinds of values, and the words for errors.
_KINDS = {"M": "dates", "m": "durations", "S": "text", "U": "text", "T": "text", "V": "records"}


def to_array(info: TensorInfo, value: Any, label: str) -> np.ndarray:
    """`value` as a contiguous array of the input's dtype, in its own shape.

    Args:
        info: the input in its signature.
        label: the name of the value in errors (``Input 'x'``).

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    import numpy as np

    from workbench.formats.dtypes import STRING, number_kind, numpy_dtype

    try:
        dtype = numpy_dtype(info.dtype)
    except KeyError:
        raise invalid_argument(
            f"{label} has dtype {info.dtype}, which cannot be sent: ask a signature without it"
        ) from None
    array = _read(value, info, label)
    if info.dtype == STRING:
        return _strings(array, info, label)
    if array.dtype.kind == "f" and isinstance(value, (list, tuple)) and number_kind(dtype) in "iu":
        # numpy reads whole numbers as floats where some are beyond 63 bits and some below 0.
        exact = np.asarray(value, object)
        if all(isinstance(v, int) for v in exact.flat):
            array = exact
    if array.dtype.kind == "O":
        array = _from_objects(array, info, label)
    if array.dtype == dtype:
        # `ascontiguousarray` gives a scalar one dimension.
        return np.ascontiguousarray(array).reshape(array.shape)
    return _converted(array, dtype, info, label)


def missing(label: str, info: TensorInfo, where: str = "") -> ServingError:
    """The error for a missing value."""
    return invalid_argument(
        f"{label} ({info}) has a missing value{where}: fill or drop missing values first"
    )


def unequal_rows(label: str, info: TensorInfo) -> ServingError:
    """The error for rows of unequal lengths in a dense tensor."""
    return invalid_argument(
        f"{label} ({info}) has ragged rows, of unequal lengths: pad them to one length, as the "
        "model takes a dense tensor"
    )


def _read(value: Any, info: TensorInfo, label: str) -> np.ndarray:
    """`value` as numpy reads it."""
    import numpy as np

    from workbench.formats.dtypes import STRING

    # numpy's own type for bytes would drop zeros at their end.
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise missing(label, info, " (masked)")
    kept = info.dtype == STRING and isinstance(value, (list, tuple, bytes, str))
    try:
        array = np.asarray(value, object if kept else None)
        if array.dtype.kind == "O" and array.ndim and _holds_rows(array):
            # The rows are separate objects, as in a column of lists.
            array = np.asarray(_lists(value if kept else array), object if kept else None)
            if _holds_rows(array):
                raise unequal_rows(label, info)
    except ServingError:
        raise
    except Exception as error:
        # A library may raise anything for its own objects, such as tensors on a GPU.
        if isinstance(error, ValueError) and "inhomogeneous" in str(error):
            raise unequal_rows(label, info) from error
        raise invalid_argument(
            f"{label} ({info}) cannot be read as an array from an object of type "
            f"{_type_name(value)}: {str(error).splitlines()[0] if str(error) else repr(error)}"
        ) from error
    return array


def _holds_rows(array: np.ndarray) -> bool:
    import numpy as np

    return any(
        isinstance(v, (list, tuple)) or (isinstance(v, np.ndarray) and v.ndim) for v in array.flat
    )


def _lists(value: Any) -> Any:
    """`value` as nested lists; rows may be arrays."""
    import numpy as np

    if isinstance(value, np.ndarray):
        value = value.tolist()
    return [_lists(v) for v in value] if isinstance(value, (list, tuple)) else value


def _strings(array: np.ndarray, info: TensorInfo, label: str) -> np.ndarray:
    """Text encoded as UTF-8; bytes unchanged."""
    import numpy as np

    if array.dtype.kind not in "SUOT":
        kind = _KINDS.get(array.dtype.kind, f"numbers of type {array.dtype}")
        raise invalid_argument(
            f"{label} must be strings ({info}), not {kind}: convert them with .astype(str)"
        )
    encoded = [_string(v, info, label) for v in array.reshape(-1).tolist()]
    out = np.empty(len(encoded), object)
    out[:] = encoded
    return out.reshape(array.shape)


def _string(value: Any, info: TensorInfo, label: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise invalid_argument(
                f"{label} has the text {_shown(value)}, not valid Unicode: give it as bytes"
            ) from error
    if _is_missing(value) or value != value:
        raise missing(label, info)
    raise invalid_argument(
        f"{label} must be strings or bytes ({info}), not {_type_name(value)}: convert each with "
        "str(...)"
    )


def _from_objects(array: np.ndarray, info: TensorInfo, label: str) -> np.ndarray:
    """Numbers that numpy keeps as objects: whole numbers beyond 64 bits, decimals, a mixture."""
    import numpy as np

    flat = array.reshape(-1).tolist()
    for index, value in enumerate(flat):
        if _is_missing(value):
            raise missing(label, info, f" at position {index}" if array.ndim else "")
        if isinstance(value, (str, bytes)):
            raise _not_numbers(label, info, f"text such as {_shown(value)}")
        if not hasattr(type(value), "__float__") and not isinstance(value, complex):
            raise _not_numbers(label, info, f"an object of type {_type_name(value)}")
    try:
        if all(isinstance(v, (int, np.integer)) for v in flat):
            whole = _whole(flat, info, label)
        elif any(isinstance(v, (complex, np.complexfloating)) for v in flat):
            whole = np.array(flat, np.complex128)
        else:
            whole = np.array([float(v) for v in flat], np.float64)
    except OverflowError as error:
        raise _beyond(label, info, _shown(max(flat, key=abs))) from error
    except (TypeError, ValueError) as error:
        raise _not_numbers(label, info, f"values such as {_shown(flat[0])}") from error
    return whole.reshape(array.shape)


def _whole(flat: list[Any], info: TensorInfo, label: str) -> np.ndarray:
    import numpy as np

    from workbench.formats.dtypes import number_kind, numpy_dtype

    dtype = numpy_dtype(info.dtype)
    if number_kind(dtype) in "iu":
        _check_limits(min(flat, default=0), max(flat, default=0), dtype, info, label)
        return np.array(flat, dtype)
    return np.array([float(v) for v in flat], np.float64)


def _converted(array: np.ndarray, dtype: np.dtype, info: TensorInfo, label: str) -> np.ndarray:
    """Numbers of one type as numbers of another."""
    import numpy as np

    from workbench.formats.dtypes import number_kind

    have, want = number_kind(array.dtype), number_kind(dtype)
    if have not in "biufc":
        kind = _KINDS.get(have, str(array.dtype))
        example = f" such as {_shown(array.flat[0].item())}" if have in "SU" and array.size else ""
        raise _not_numbers(label, info, kind + example)
    if want in "iu" and have == "f":
        if array.size and np.isnan(array.astype(np.float64)).any():
            raise missing(label, info, " (NaN)")
        raise invalid_argument(
            f"{label} must be whole numbers ({info}), not {array.dtype}: convert it with "
            f".astype({dtype.name!r}) if that is meant"
        )
    if have == "c" and want != "c":
        raise invalid_argument(
            f"{label} must be real numbers ({info}), not {array.dtype}: take .real or abs(...)"
        )
    if want == "b" and array.size and not ((array == 0) | (array == 1)).all():
        raise invalid_argument(
            f"{label} must be True or False ({info}), and it has numbers other than 0 and 1: "
            "compare it first, for example with x > 0.5"
        )
    if want in "iu" and have in "iu" and array.size:
        _check_limits(int(array.min()), int(array.max()), dtype, info, label)
    with np.errstate(over="ignore", invalid="ignore"):
        out = array.astype(dtype)
    if want in "fc" and dtype.itemsize <= array.dtype.itemsize:
        lost = ~np.isfinite(out)
        if have in "fc" and lost.any():
            lost &= np.isfinite(array)
        if lost.any():
            raise _beyond(label, info, f"{array[lost].flat[0].item():g}")
    return out


def _check_limits(lowest: int, highest: int, dtype: np.dtype, info: TensorInfo, label: str) -> None:
    from workbench.formats.dtypes import integer_limits

    least, most = integer_limits(dtype)
    if lowest < least or highest > most:
        raise invalid_argument(
            f"{label} ({info}) takes {least} to {most}; it has values from {_shown(lowest)} to "
            f"{_shown(highest)}"
        )


def _beyond(label: str, info: TensorInfo, value: str) -> ServingError:
    return invalid_argument(
        f"{label} has values that {info.dtype} cannot hold, such as {value}: scale it, or export "
        "the model with a wider dtype"
    )


def _not_numbers(label: str, info: TensorInfo, what: str) -> ServingError:
    return invalid_argument(
        f"{label} must be numbers ({info}), not {what}: convert it to numbers first"
    )


def _shown(value: Any) -> str:
    """A value for an error text, shortened if it is long."""
    try:
        return reprlib.repr(value)
    except ValueError:
        # Python does not print integers of more than 4300 digits.
        return f"a number of {value.bit_length()} bits"


def _is_missing(value: Any) -> bool:
    # By name: pandas is not imported for callers who do not use it.
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
