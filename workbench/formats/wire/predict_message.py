"""Predict requests of gRPC as bytes, and the version that an answer names.

The load generator builds a request once and sends it many times, and a warm-up file keeps requests;
neither needs the generated classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from numpy.typing import NDArray

from workbench.formats.wire.protobuf import field, fields, submessage
from workbench.formats.wire.tensor_proto import encode_portable

METHOD = "/tensorflow.serving.PredictionService/Predict"

_SPEC, _INPUTS, _OUTPUT_FILTER = 1, 2, 3
_NAME, _VERSION, _SIGNATURE = 1, 2, 3
_ANSWER_SPEC = 2


def predict_request(
    model: str, signature: str, inputs: Mapping[str, NDArray[Any]], outputs: Iterable[str] = ()
) -> bytes:
    """A serialised `PredictRequest` for the latest version of the model; without `outputs` it asks
    for all of them."""
    spec = field(_NAME, model.encode()) + field(_SIGNATURE, signature.encode())
    return b"".join(
        (
            field(_SPEC, spec),
            *(
                field(_INPUTS, field(1, name.encode()) + field(2, encode_portable(array)))
                for name, array in inputs.items()
            ),
            *(field(_OUTPUT_FILTER, name.encode()) for name in outputs),
        )
    )


def answered_version(response: bytes) -> int:
    """The version that a serialised `PredictResponse` names, or 0."""
    version = submessage(submessage(response, _ANSWER_SPEC), _VERSION)
    return next((v for n, v in fields(version) if n == 1 and isinstance(v, int)), 0)
