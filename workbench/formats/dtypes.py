"""TensorFlow's dtype names in terms of numpy's, without importing TensorFlow.

Strings are numpy object arrays whose elements are `bytes`. ``bfloat16``, the 8-bit floats and the
integers of 4 and 2 bits have no numpy type of their own; they are served through `ml_dtypes`, which
TensorFlow depends on, and which is imported only when a model uses one.
"""

from __future__ import annotations

import numpy as np

STRING = "string"

_NUMPY: dict[str, np.dtype] = {
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    "half": np.dtype(np.float16),
    "int8": np.dtype(np.int8),
    "int16": np.dtype(np.int16),
    "int32": np.dtype(np.int32),
    "int64": np.dtype(np.int64),
    "uint8": np.dtype(np.uint8),
    "uint16": np.dtype(np.uint16),
    "uint32": np.dtype(np.uint32),
    "uint64": np.dtype(np.uint64),
    "bool": np.dtype(np.bool_),
    "complex64": np.dtype(np.complex64),
    "complex128": np.dtype(np.complex128),
    STRING: np.dtype(object),
}
_NAMES: dict[np.dtype, str] = {dtype: name for name, dtype in _NUMPY.items()}

# Those of `ml_dtypes`, which have the same name there, and numpy's letter for what they hold: their
# own `kind` is mostly "V", which stands for plain bytes.
_KINDS = {
    "bfloat16": "f",
    "float8_e5m2": "f",
    "float8_e4m3fn": "f",
    "float8_e4m3fnuz": "f",
    "float8_e4m3b11fnuz": "f",
    "float8_e5m2fnuz": "f",
    "int4": "i",
    "uint4": "u",
    "int2": "i",
    "uint2": "u",
}


def numpy_dtype(name: str) -> np.dtype:
    """The numpy dtype of a TensorFlow dtype name; raises KeyError for one without any."""
    try:
        return _NUMPY[name]
    except KeyError:
        if name not in _KINDS:
            raise
    import ml_dtypes

    scalar = getattr(ml_dtypes, name, None)
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
        if dtype.name in _KINDS and numpy_dtype(dtype.name) == dtype:
            return dtype.name
        raise


def number_kind(dtype: np.dtype) -> str:
    """`dtype.kind` for numbers, also for those of `ml_dtypes`: ``b``, ``i``, ``u``, ``f`` or ``c``;
    another letter for what holds no numbers."""
    return _KINDS.get(dtype.name, "V") if dtype.kind == "V" else dtype.kind


def integer_limits(dtype: np.dtype) -> tuple[int, int]:
    """The lowest and the highest number of an integer dtype."""
    if dtype.name in _KINDS:
        import ml_dtypes

        small = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
        return int(small.min), int(small.max)
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
