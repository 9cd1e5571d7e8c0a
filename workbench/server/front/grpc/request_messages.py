"""Reads the requests of the gRPC services, and fills their answers.

Predict, the hot path, is read from and written to the wire format without a message object; every
other method uses the messages of `formats.wire.messages`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from workbench.core.signature import DEFAULT_SIGNATURE
from workbench.core.status import Code, ServingError, invalid_argument
from workbench.formats.dtypes import string_array
from workbench.formats.signature_checks import classification, regression
from workbench.formats.wire.messages import message_class
from workbench.formats.wire.protobuf import field, fields
from workbench.formats.wire.tensor_proto import decode_tensor
from workbench.ipc.frames import Tensors
from workbench.server.engine.versions.model import Served


class ModelSpec(NamedTuple):
    """Which version a request is for; `signature_name` has its default filled in."""

    name: str
    version: int | None = None
    label: str | None = None
    signature_name: str = DEFAULT_SIGNATURE


NO_SPEC = ModelSpec("")
"""Stands for the spec that a request lacks: `ModelRuns.find` refuses it."""


def parse(name: str, data: bytes) -> Any:
    """The message `name` that `data` holds; raises a ServingError, INTERNAL."""
    try:
        return message_class(name).FromString(data)
    except DecodeError as error:
        raise unreadable(name) from error


def unreadable(name: str) -> ServingError:
    """The refusal of bytes that are not the message `name`."""
    return ServingError(Code.INTERNAL, f"The request is not a valid {name}")


def read_predict(request: bytes) -> tuple[bytes | None, dict[str, bytes], list[str]]:
    """Model spec, inputs and output filter of a serialised `PredictRequest`:

    PredictRequest { model_spec = 1; map<string, TensorProto> inputs = 2; output_filter = 3 }
    """
    spec: bytes | None = None
    inputs: dict[str, bytes] = {}
    outputs: list[str] = []
    try:
        for number, value in fields(request):
            if isinstance(value, int):
                continue
            if number == 2:
                name, tensor = "", b""
                for part, content in fields(value):
                    if part == 1 and isinstance(content, bytes):
                        name = content.decode()
                    elif part == 2 and isinstance(content, bytes):
                        tensor = content
                inputs[name] = tensor
            elif number == 1:
                # A message that comes in parts is their concatenation.
                spec = value if spec is None else spec + value
            elif number == 3:
                outputs.append(value.decode())
    except ValueError as error:
        raise unreadable("PredictRequest") from error
    return spec, inputs, outputs


def decode_tensors(entries: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    """The arrays of serialised tensors; raises INVALID_ARGUMENT, naming the first bad one."""
    inputs = {}
    for name, message in sorted(entries.items()):
        try:
            inputs[name] = decode_tensor(message)
        except ValueError as error:
            raise invalid_argument(f"tensor parsing error: {name}") from error
    return inputs


@lru_cache(maxsize=256)
def read_spec(data: bytes) -> ModelSpec:
    """A serialised `ModelSpec`. Clients repeat theirs, so most are in the cache."""
    return to_spec(parse("ModelSpec", data))


@lru_cache(maxsize=256)
def write_spec(name: str, version: int, signature: str) -> bytes:
    """A serialised `ModelSpec`; answers repeat theirs."""
    return field(1, name.encode()) + field(2, field(1, version)) + field(3, signature.encode())


def spec_of(request: Any) -> ModelSpec:
    """The `ModelSpec` of a request; `NO_SPEC` if it has none."""
    return to_spec(request.model_spec) if request.HasField("model_spec") else NO_SPEC


def to_spec(message: Any) -> ModelSpec:
    """The fields of a `ModelSpec` message."""
    chosen = message.WhichOneof("version_choice")
    return ModelSpec(
        message.name,
        message.version.value if chosen == "version" else None,
        message.version_label if chosen == "version_label" else None,
        message.signature_name or DEFAULT_SIGNATURE,
    )


def examples_of(message: Any) -> np.ndarray:
    """Serialised examples as a string tensor [batch]; a shared context comes before each."""
    kind = message.WhichOneof("kind")
    if kind == "example_list_with_context":
        listed = message.example_list_with_context
        values = [listed.context + example for example in listed.examples]
    else:
        values = list(message.example_list.examples)
    if not values:
        raise invalid_argument("Input is empty.")
    return string_array(values)


def fill_spec(message: Any, spec: ModelSpec, served: Served) -> None:
    """Fill the `ModelSpec` of an answer."""
    message.name = spec.name
    message.version.value = served.id.version
    message.signature_name = spec.signature_name


def fill_result(method: str, message: Any, tensors: Tensors, examples: int) -> None:
    """Fill a `ClassificationResult` or `RegressionResult` from a model's outputs."""
    if method == "regress":
        for value in regression(tensors, examples).tolist():
            message.regressions.add(value=value)
        return
    labels, scores = classification(tensors, examples)
    width = (labels if labels is not None else scores).shape[1]  # type: ignore[union-attr]
    for row in range(examples):
        classes = message.classifications.add().classes
        for column in range(width):
            one = classes.add()
            if labels is not None:
                one.label = labels[row, column].decode(errors="replace")
            if scores is not None:
                one.score = scores[row, column]
