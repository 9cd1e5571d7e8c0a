"""The table of TensorFlow's dtypes, and their numpy types, without importing TensorFlow.

Everything that depends on a dtype is derived from `DTYPES`: a new dtype is a new row there.
Strings are numpy object arrays whose elements are `bytes`. ``bfloat16``, the 8-bit floats and the
integers of 4 and 2 bits have no numpy type of their own. They are served through `ml_dtypes`, on
which TensorFlow depends, and which is imported only when a model uses one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

STRING = "string"

JsonKind: TypeAlias = Literal["number", "int32", "int64", "uint32", "uint64", "bool", "string"]


class Dtype(NamedTuple):
    """One dtype.

    Attributes:
        name: TensorFlow's short name (`DataTypeString`).
        number: its `DataType` in types.proto.
        scalar: the name of its numpy type, or of its type in `ml_dtypes`.
        kind: numpy's letter for what it holds. The types of `ml_dtypes` themselves mostly say
            ``V``, which stands for plain bytes.
        field: the number of the field of `TensorProto` that holds its values.
        json: the JSON values that TensorFlow Serving's REST API takes for it, and writes; None
            where it has no JSON. Narrow integers are checked as int32: they travel in int32 fields
            and wrap around.
    """

    name: str
    number: int
    scalar: str
    kind: str
    field: int
    json: JsonKind | None = None


DTYPES = (
    Dtype("float", 1, "float32", "f", 5, "number"),
    Dtype("double", 2, "float64", "f", 6, "number"),
    Dtype("int32", 3, "int32", "i", 7, "int32"),
    Dtype("uint8", 4, "uint8", "u", 7, "int32"),
    Dtype("int16", 5, "int16", "i", 7, "int32"),
    Dtype("int8", 6, "int8", "i", 7, "int32"),
    Dtype(STRING, 7, "object", "O", 8, "string"),
    Dtype("complex64", 8, "complex64", "c", 9),
    Dtype("int64", 9, "int64", "i", 10, "int64"),
    Dtype("bool", 10, "bool", "b", 11, "bool"),
    Dtype("bfloat16", 14, "bfloat16", "f", 13),
    Dtype("uint16", 17, "uint16", "u", 7),
    Dtype("complex128", 18, "complex128", "c", 12),
    Dtype("half", 19, "float16", "f", 13),
    Dtype("uint32", 22, "uint32", "u", 16, "uint32"),
    Dtype("uint64", 23, "uint64", "u", 17, "uint64"),
    Dtype("float8_e5m2", 24, "float8_e5m2", "f", 18),
    Dtype("float8_e4m3fn", 25, "float8_e4m3fn", "f", 18),
    Dtype("float8_e4m3fnuz", 26, "float8_e4m3fnuz", "f", 18),
    Dtype("float8_e4m3b11fnuz", 27, "float8_e4m3b11fnuz", "f", 18),
    Dtype("float8_e5m2fnuz", 28, "float8_e5m2fnuz", "f", 18),
    Dtype("int4", 29, "int4", "i", 7),
    Dtype("uint4", 30, "uint4", "u", 7),
    Dtype("int2", 31, "int2", "i", 7),
    Dtype("uint2", 32, "uint2", "u", 7),
)

BY_NAME = {dtype.name: dtype for dtype in DTYPES}
BY_NUMBER = {dtype.number: dtype for dtype in DTYPES}
_BY_SCALAR = {dtype.scalar: dtype for dtype in DTYPES}
_NUMPY: dict[str, np.dtype] = {
    dtype.name: np.dtype(dtype.scalar) for dtype in DTYPES if dtype.scalar in np.sctypeDict
}
_NAMES: dict[np.dtype, str] = {dtype: name for name, dtype in _NUMPY.items()}


def numpy_dtype(name: str) -> np.dtype:
    """The numpy dtype of a TensorFlow dtype name; raises KeyError for one without any."""
    try:
        return _NUMPY[name]
    except KeyError:
        scalar_name = BY_NAME[name].scalar
    import ml_dtypes

    scalar = getattr(ml_dtypes, scalar_name, None)
    if scalar is None:
        raise KeyError(name)
    dtype: np.dtype = np.dtype(scalar)
    _NUMPY[name], _NAMES[dtype] = dtype, name
    return dtype


def dtype_name(dtype: np.dtype) -> str:
    """TensorFlow's name of a numpy dtype; text and bytes arrays are ``string``.

    Raises:
        KeyError: no TensorFlow dtype corresponds (``datetime64``, structured types ...).
    """
    if dtype.kind in "SUO":
        return STRING
    try:
        return _NAMES[dtype]
    except KeyError:
        known = _BY_SCALAR.get(dtype.name)
        if known is not None and numpy_dtype(known.name) == dtype:
            return known.name
        raise


def string_array(values: Sequence[bytes]) -> np.ndarray:
    """A vector of dtype string."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def number_kind(dtype: np.dtype) -> str:
    """`dtype.kind` for numbers, also for those of `ml_dtypes`: ``b``, ``i``, ``u``, ``f`` or ``c``;
    another letter for what holds no numbers."""
    if dtype.kind != "V":
        return dtype.kind
    known = _BY_SCALAR.get(dtype.name)
    return "V" if known is None else known.kind


def integer_limits(dtype: np.dtype) -> tuple[int, int]:
    """The lowest and the highest number of an integer dtype."""
    if dtype.kind in "iu":
        return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    import ml_dtypes

    small = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
    return int(small.min), int(small.max)
