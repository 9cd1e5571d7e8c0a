"""REST requests into tensors: the JSON bodies of ``:predict``, ``:classify`` and ``:regress``.

There are two readers with one meaning. `fast_reader` recognises the plain requests that make up
nearly all traffic. Requests that it does not recognise beyond doubt, and all that must be refused,
are read exactly: by `rapidjson`, then here and in `dense_tensors` in the steps of TensorFlow
Serving's json_tensor.cc. So each refusal has the original's text and its place in the order of
checks, and the fast reader can only be right or silent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from workbench.core.setting_kinds import INT64_MAX
from workbench.core.signature import DEFAULT_SIGNATURE, Signature
from workbench.core.status import ServingError, invalid_argument
from workbench.formats.wire.tf_example import Feature, encode_example
from workbench.server.front.json.dense_tensors import (
    decode_base64_object,
    is_base64_object,
    no_inputs,
    tensors_of_inputs,
    tensors_of_instances,
)
from workbench.server.front.json.fast_reader import PredictRequest, decode_plain
from workbench.server.front.json.json_value import Object, Value
from workbench.server.front.json.rapidjson import ParseError, debug_text, parse, type_name

__all__ = ["ExamplesRequest", "PredictRequest", "decode_examples", "decode_plain", "decode_predict"]

# The kind of a feature whose elements have these types.
_KINDS: dict[frozenset[type], Literal["bytes", "float", "int64"]] = {
    frozenset({bytes}): "bytes",
    frozenset({float}): "float",
    frozenset({int}): "int64",
    frozenset({bool}): "int64",
    frozenset({bool, int}): "int64",
}


@dataclass(frozen=True, slots=True)
class ExamplesRequest:
    """The input of a classify or regress call: serialised `tf.Example` messages."""

    signature_name: str
    examples: list[bytes]


def decode_predict(
    body: bytes | bytearray | memoryview, signature_of: Callable[[str], Signature]
) -> PredictRequest:
    """The predict request that `body` states.

    `signature_of` finds the signature of a name (``serving_default`` where the request has none).
    It is called at most once, after the document has been parsed and before its tensors are
    looked at; what it raises is passed on.

    Raises:
        ServingError: with TensorFlow Serving's code and message (its json_tensor.cc).
    """
    data = bytes(body)
    found: list[Signature] = []

    def look_up(name: str) -> Signature:
        if not found:
            found.append(signature_of(name))
        return found[0]

    return decode_plain(data, look_up) or _decode_predict_exactly(data, look_up)


def _decode_predict_exactly(data: bytes, look_up: Callable[[str], Signature]) -> PredictRequest:
    document = _parse_object(data)
    name = _signature_name(document)
    infos = look_up(name or DEFAULT_SIGNATURE).inputs
    if not infos:
        raise invalid_argument(f"Failed to get input map for signature: {name or 'DEFAULT'}")
    row_format = b"instances" in document
    if row_format:
        if b"inputs" in document:
            raise _format_error(
                document,
                "Not formatted correctly expecting only one of 'inputs' or 'instances' keys"
                " to exist ",
            )
        instances = document.get(b"instances")
        if not isinstance(instances, list):
            raise _format_error(document, "Expecting 'instances' to be an list/array")
        if not instances:
            raise _format_error(document, "No values in 'instances' array")
        inputs = tensors_of_instances(instances, infos)
    elif b"inputs" in document:
        inputs = tensors_of_inputs(document.get(b"inputs"), infos)
    else:
        raise no_inputs()
    return PredictRequest(name or DEFAULT_SIGNATURE, inputs, row_format)


def decode_examples(body: bytes | bytearray | memoryview) -> ExamplesRequest:
    """The examples of a classify or regress request, its context merged into each.

    Both methods read the same document, and TensorFlow Serving's message about a missing
    ``examples`` says *classify* for either.

    Raises:
        ServingError: with TensorFlow Serving's code and message (its json_tensor.cc).
    """
    document = _parse_object(bytes(body))
    name = _signature_name(document)
    context = _encode_json_example(document.get(b"context")) if b"context" in document else b""
    if b"examples" not in document:
        raise _format_error(
            document, "When method is classify, key 'examples' is expected and was not found"
        )
    examples = document.get(b"examples")
    if not isinstance(examples, list):
        raise _format_error(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise _format_error(document, "'examples' value is an empty array")
    return ExamplesRequest(
        name or DEFAULT_SIGNATURE, [context + _encode_json_example(value) for value in examples]
    )


def _parse_object(data: bytes) -> Object:
    if not data:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        document = parse(data)
    except ParseError as error:
        raise invalid_argument(f"JSON Parse error: {error}") from None
    if not isinstance(document, Object):
        raise _format_error(document, "Is not object")
    return document


def _signature_name(document: Object) -> str:
    """The name as the request has it: empty for none."""
    name = document.get(b"signature_name", b"")
    if not isinstance(name, bytes):
        raise _format_error(
            document, "not formatted correctly. 'signature_name' key must be a string value."
        )
    return name.decode("utf-8", "replace")


def _format_error(value: Value, complaint: str) -> ServingError:
    return invalid_argument(f"JSON Value: {debug_text(value)} {complaint}")


def _encode_json_example(value: Value) -> bytes:
    """A serialised `tf.Example` with one feature for each member of a JSON object."""
    if not isinstance(value, Object):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_name(value)}")
    return encode_example({name: _feature(name, content) for name, content in value})


def _feature(name: bytes, content: Value) -> Feature:
    elements = content if isinstance(content, list) else [content]
    kind = _KINDS.get(frozenset(map(type, elements)))
    if kind is not None and (kind != "int64" or max(elements) <= INT64_MAX):  # type: ignore[type-var,operator]
        return Feature(kind, elements)  # type: ignore[arg-type]
    feature = Feature(None, [])
    for element in elements:
        _add_to_feature(element, name.decode("utf-8", "replace"), feature)
    return feature


def _add_to_feature(value: Value, name: str, feature: Feature) -> None:
    kind: Literal["bytes", "float", "int64"]
    if isinstance(value, (bool, int)):
        kind = "int64"
    elif isinstance(value, float):
        kind = "float"
    elif isinstance(value, bytes) or is_base64_object(value):
        kind = "bytes"
    else:
        raise invalid_argument(
            f"Feature: {name} has element with unexpected JSON type: {type_name(value)}"
        )
    if feature.kind not in (None, kind):
        raise invalid_argument(
            f"Unexpected element type in feature: {name} expecting type: {feature.kind}"
        )
    if isinstance(value, int) and value > INT64_MAX:
        raise invalid_argument(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    feature.kind = kind
    feature.values.append(decode_base64_object(value) if isinstance(value, Object) else value)  # type: ignore[arg-type]
