"""TensorFlow's dtype names in terms of numpy's, without importing TensorFlow.

Strings are numpy object arrays whose elements are `bytes`. ``bfloat16`` and the 8-bit floats
have no numpy type of their own; they are served through `ml_dtypes`, which TensorFlow
depends on, and imported only when a model uses one.
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


def numpy_dtype(name: str) -> np.dtype:
    """The numpy dtype of a TensorFlow dtype name; raises KeyError for one without any."""
    try:
        return _NUMPY[name]
    except KeyError:
        if name == "bfloat16":
            import ml_dtypes

            dtype: np.dtype = np.dtype(ml_dtypes.bfloat16)
            _NUMPY[name], _NAMES[dtype] = dtype, name
            return dtype
        raise


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
        if dtype.name == "bfloat16":
            numpy_dtype("bfloat16")
            return _NAMES[dtype]
        raise
