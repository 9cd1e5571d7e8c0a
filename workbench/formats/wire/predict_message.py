"""Predict requests of gRPC as bytes, built once and sent many times, and what answers say.

Just what a load generator needs of the messages, without their generated classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.formats.dtypes import STRING, dtype_name
from workbench.formats.wire.protobuf import field, fields, submessage

METHOD = "/tensorflow.serving.PredictionService/Predict"

# `DataType` of types.proto.
# fmt: off
_NUMBERS: dict[str, int] = {
    "float": 1, "double": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, STRING: 7,
    "complex64": 8, "int64": 9, "bool": 10, "bfloat16": 14, "uint16": 17, "complex128": 18,
    "half": 19, "uint32": 22, "uint64": 23,
}
# fmt: on
_SPEC, _INPUTS = 1, 2
_NAME, _VERSION, _SIGNATURE = 1, 2, 3
_DTYPE, _SHAPE, _CONTENT, _STRINGS = 1, 2, 4, 8
_ANSWER_SPEC = 2


def predict_request(model: str, signature: str, inputs: Mapping[str, NDArray[Any]]) -> bytes:
    """A serialised `PredictRequest` for the latest version of the model."""
    spec = field(_NAME, model.encode()) + field(_SIGNATURE, signature.encode())
    message = field(_SPEC, spec)
    for name, array in inputs.items():
        message += field(_INPUTS, field(1, name.encode()) + field(2, _tensor(array)))
    return message


def _tensor(array: NDArray[Any]) -> bytes:
    name = dtype_name(array.dtype)
    shape = b"".join(field(2, field(1, size)) for size in array.shape)
    head = field(_DTYPE, _NUMBERS[name]) + field(_SHAPE, shape)
    if name == STRING:
        texts = (t if isinstance(t, bytes) else str(t).encode() for t in array.ravel().tolist())
        return head + b"".join(field(_STRINGS, text) for text in texts)
    return head + field(_CONTENT, np.ascontiguousarray(array).tobytes())


def answered_version(response: bytes) -> int:
    """The version that a serialised `PredictResponse` names, or 0."""
    version = submessage(submessage(response, _ANSWER_SPEC), _VERSION)
    return next((v for n, v in fields(version) if n == 1 and isinstance(v, int)), 0)
