"""Tensors into REST answers.

orjson writes finite numbers straight from the tensor's memory, in the fewest digits that give
the same number back in its own dtype. So white space and digits differ from TensorFlow Serving's
PrettyWriter, and the values do not. What orjson cannot write as TensorFlow Serving does (NaN and
Infinity as bare tokens, text that is not UTF-8) is put in as ready-made fragments.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any

import numpy as np
import orjson

from workbench.core.status import Code, invalid_argument
from workbench.formats.dtypes import BY_NAME, dtype_name

# Outputs of dtype string whose name ends so are bytes, written as base64.
_BYTES_SUFFIX = "_bytes"
_BARE_TOKENS = np.array([b"NaN", b"Infinity", b"-Infinity"], object)


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """One version of a model as the status URL shows it.

    `state` is START, LOADING, AVAILABLE, UNLOADING or END.
    """

    version: int
    state: str
    error_code: Code = Code.OK
    error_message: str = ""


def encode_predict(outputs: Mapping[str, np.ndarray], row_format: bool) -> bytes:
    """The answer to a predict call.

    In row format ``predictions`` is a list with one element an example: the value itself, or with
    several outputs an object. In column format ``outputs`` is the one tensor, or an object of
    tensors by name. Strings are object arrays of `bytes`.

    Raises:
        ServingError: INVALID_ARGUMENT: no outputs, an output that has no batch dimension or
            another batch size (row format), or a dtype that TensorFlow Serving's JSON lacks.
    """
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    if row_format:
        _check_batch_sizes(outputs)
    for array in outputs.values():
        dtype = dtype_name(array.dtype)
        if BY_NAME[dtype].json is None and array.size:
            raise invalid_argument(f"Failed to write JSON value for tensor type: {dtype}")

    answer: Any
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        # An empty batch has no elements whose shape could show.
        answer = [] if row_format and not len(array) else _jsonable(name, array)
    elif row_format:
        batch_size = len(next(iter(outputs.values())))
        answer = [
            # With the ellipsis an element is an array also where it is a scalar.
            {name: _jsonable(name, array[item, ...]) for name, array in outputs.items()}
            for item in range(batch_size)
        ]
    else:
        answer = {name: _jsonable(name, array) for name, array in outputs.items()}
    return _dumps({"predictions" if row_format else "outputs": answer})


def encoding_bytes(outputs: Mapping[str, np.ndarray], row_format: bool = False) -> int:
    """The bytes of numbers that take about as long for `encode_predict` as `outputs` do.

    A string is a call, and so is each value of a row where there are several outputs.
    """
    total = 0
    for array in outputs.values():
        total += array.nbytes
        if array.dtype.kind == "O":
            total += 64 * array.size + sum(map(len, array.flat))
    if row_format and len(outputs) > 1:
        total += 64 * sum(len(array) for array in outputs.values() if array.ndim)
    return total


def _check_batch_sizes(outputs: Mapping[str, np.ndarray]) -> None:
    batch_size = -1
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if batch_size not in (-1, len(array)):
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} "
                f"expecting: {batch_size}"
            )
        batch_size = len(array)


def _jsonable(name: str, array: np.ndarray) -> Any:
    """Something that orjson writes as `array`; a bare value for a scalar."""
    if array.dtype == object:
        as_json = _base64_json if name.endswith(_BYTES_SUFFIX) else _string_json
        return np.frompyfunc(as_json, 1, 1)(array).tolist() if array.ndim else as_json(array.item())
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return _with_bare_tokens(array)
    return np.ascontiguousarray(array) if array.ndim else array[()]


def _dumps(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def _with_bare_tokens(array: np.ndarray) -> orjson.Fragment:
    """`array` as JSON, with NaN and infinities as TensorFlow Serving writes them.

    orjson writes ``null`` for these, in order, and for nothing else in an array of numbers.
    """
    finite, *rest = _dumps(np.ascontiguousarray(array) if array.ndim else array[()]).split(b"null")
    others = array[~np.isfinite(array)]
    # 0 for NaN, 1 and 2 for the infinities: chosen from all at once.
    kinds = np.where(np.isnan(others), 0, np.where(others > 0, 1, 2))
    pieces = map(bytes.__add__, _BARE_TOKENS[kinds].tolist(), rest)
    return orjson.Fragment(finite + b"".join(pieces))


def _string_json(value: bytes) -> orjson.Fragment:
    return orjson.Fragment(_string_text(value))


def _string_text(value: bytes) -> bytes:
    """A JSON string; bytes that are not UTF-8 pass through unchanged."""
    text = encode_basestring(value.decode("utf-8", "surrogateescape"))
    return text.encode("utf-8", "surrogateescape")


def _base64_json(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}


def encode_classify(labels: np.ndarray | None, scores: np.ndarray | None) -> bytes:
    """The answer to a classify call: for each example its ``[label, score]`` pairs.

    `labels` (object array of `bytes`) and `scores` (float32) are [batch, classes]; one of them may
    be None, and then labels are empty and scores 0.

    Raises:
        ServingError: INVALID_ARGUMENT for an empty batch.
    """
    given = labels if labels is not None else scores
    if given is None or not len(given):
        raise invalid_argument("Cannot convert empty ClassificationResults to JSON")
    count, width = given.shape
    if not width:
        return _dumps({"results": [[]] * count})
    names = [b'""'] * given.size if labels is None else map(_string_text, labels.flat)
    if scores is None:
        scores = np.zeros(given.shape, np.float32)
    # All scores are written at once: one at a time costs ten times as much.
    numbers = _dumps(_jsonable("", scores.reshape(-1)))[1:-1].split(b",")
    pairs = [b"[%b,%b]" % pair for pair in zip(names, numbers, strict=True)]
    rows = [b",".join(pairs[at : at + width]) for at in range(0, given.size, width)]
    return b'{"results":[[' + b"],[".join(rows) + b"]]}"


def encode_regress(values: np.ndarray) -> bytes:
    """The answer to a regress call: one number for each example; `values` is float32 [batch].

    Raises:
        ServingError: INVALID_ARGUMENT for an empty batch.
    """
    if not len(values):
        raise invalid_argument("Cannot convert empty RegressionResults to JSON")
    return _dumps({"results": _jsonable("", values)})


def encode_results(results: Mapping[str, np.ndarray]) -> bytes:
    """`encode_regress` of ``values``, or `encode_classify` of ``labels`` and ``scores``."""
    if "values" in results:
        return encode_regress(results["values"])
    return encode_classify(results.get("labels"), results.get("scores"))


def encode_error(message: str) -> bytes:
    """The body of every refusal, laid out as TensorFlow Serving's."""
    text = encode_basestring(message).encode("utf-8", "replace")
    return b'{\n    "error": ' + text + b"\n}"


def encode_model_status(versions: Iterable[VersionStatus]) -> bytes:
    """The answer of the status URL; `versions` in the order to show."""
    entries = [
        {
            "version": str(status.version),
            "state": status.state,
            "status": {
                "error_code": status.error_code.name,
                "error_message": status.error_message,
            },
        }
        for status in versions
    ]
    return (
        json.dumps({"model_version_status": entries}, indent=1, ensure_ascii=False).encode(
            "utf-8", "replace"
        )
        + b"\n"
    )


def encode_metadata(name: str, version: int, signature_def_map_json: bytes) -> bytes:
    """The answer of the metadata URL, around the JSON text of a `SignatureDefMap`.

    That text has a ``signature_def`` of its own, so that the key appears twice, nested.
    """
    spec = json.dumps(
        {"name": name, "version": str(version), "signature_name": ""}, indent=1, ensure_ascii=False
    )
    return (
        b'{\n"model_spec":' + spec.encode("utf-8", "replace")
        + b',\n"metadata": {"signature_def": ' + signature_def_map_json + b"}\n}\n"
    )  # fmt: skip
