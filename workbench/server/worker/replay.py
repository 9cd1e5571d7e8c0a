"""Warm-up: recorded requests that a version must answer before it is made available.

The first run of a signature is slow: TensorFlow prunes and places the graph, initialises
libraries, compiles. TensorFlow Serving therefore replays the requests of the file
`assets.extra/tf_serving_warmup_requests`, a TFRecord file of `PredictionLog` messages
(`saved_model_warmup_util.cc`, `saved_model_warmup.cc`). So do we, with its limit and its texts.

The messages that only TensorFlow Serving's own package defines are read field by field:

    PredictionLog { oneof { ClassifyLog = 2; RegressLog = 3; MultiInferenceLog = 4;
                            SessionRunLog = 5; PredictLog = 6; PredictStreamedLog = 7 } }
    each Log      { request = 1 }
    a request     { ModelSpec = 1; PredictRequest: map inputs = 2, output_filter = 3;
                    ClassificationRequest, RegressionRequest, MultiInferenceRequest: Input = 2 }
    ModelSpec     { signature_name = 3 }
    Input         { ExampleList = 1; ExampleListWithContext = 2 }
    ExampleList   { repeated Example = 1 }, with context { repeated Example = 1; Example = 2 }
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from workbench.core.signature import DEFAULT_SIGNATURE
from workbench.core.status import Code, ServingError, invalid_argument
from workbench.formats.dtypes import string_array
from workbench.formats.saved_model.saved_model_file import WARMUP_FILE
from workbench.formats.signature_checks import (
    check_inputs,
    check_outputs_exist,
    examples_signature,
    task_method,
)
from workbench.formats.wire.protobuf import fields, submessage, submessages
from workbench.ipc.frames import Tensors
from workbench.server.worker.loaded_model import LoadedModel, translate

MAX_RECORDS = 1000
_CLASSIFY, _REGRESS, _MULTI_INFERENCE, _SESSION_RUN, _PREDICT, _PREDICT_STREAMED = range(2, 8)

Progress = Callable[[str, dict[str, Any]], None]


class Call(NamedTuple):
    """One run of a signature. `method` is ``predict``, ``classify`` or ``regress``."""

    method: str
    signature: str
    inputs: Tensors
    outputs: tuple[str, ...] = ()


def warm_up(model: LoadedModel, path: str, iterations: int, progress: Progress) -> None:
    """Run the warm-up requests that lie with the version in the folder `path`, if any do.

    Args:
        iterations: how often each is run; 0 means once.

    Raises:
        ServingError: the file cannot be read, has too many records, or the model refuses one.
    """
    file = os.path.join(path, WARMUP_FILE)
    if not os.path.exists(file):
        progress("warmup_absent", {"path": file})
        return
    from tensorflow.python.lib.io import tf_record

    options = f"num_request_iterations {{ value: {iterations} }}" if iterations else ""
    progress("warmup_started", {"path": file, "options": options})
    started = time.monotonic()
    records = 0

    def about() -> dict[str, Any]:
        micros = round((time.monotonic() - started) * 1e6)
        return {"path": file, "records": records, "micros": micros}

    try:
        for record in tf_record.tf_record_iterator(file):
            calls = _parse(record, file)
            for _ in range(max(1, iterations)):
                for call in calls:
                    _run(model, call)
            records += 1
            if records > MAX_RECORDS:
                raise invalid_argument(
                    f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {file}"
                )
    except Exception as error:
        failure = error if isinstance(error, ServingError) else _failure(error)
        progress("warmup_failed", {**about(), "code": failure.code.name})
        raise failure from error
    progress("warmup_finished", about())


def decode(record: bytes) -> list[Call]:
    """The runs that one `PredictionLog` asks for; none if it holds no request.

    Raises:
        ValueError: it is no `PredictionLog`.
        ServingError: UNIMPLEMENTED, a kind of log that cannot be replayed; INVALID_ARGUMENT, a
            tensor that cannot be read.
    """
    kind, log = 0, b""
    for number, value in fields(record):
        if _CLASSIFY <= number <= _PREDICT_STREAMED:
            if isinstance(value, int):
                raise ValueError(f"field {number} holds a number")
            kind, log = number, value
    if kind in (_SESSION_RUN, _PREDICT_STREAMED):
        raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
    request = submessage(log, 1)
    if kind == _PREDICT:
        outputs = tuple(name.decode() for name in submessages(request, 3))
        return [Call("predict", _signature(submessage(request, 1)), _tensors(request), outputs)]
    examples = _examples(submessage(request, 2))
    if kind == _MULTI_INFERENCE:
        return [_task(task, examples) for task in submessages(request, 1)]
    if kind in (_CLASSIFY, _REGRESS):
        method = "classify" if kind == _CLASSIFY else "regress"
        return [Call(method, _signature(submessage(request, 1)), {"inputs": examples})]
    return []


def _signature(model_spec: bytes) -> str:
    return submessage(model_spec, 3).decode() or DEFAULT_SIGNATURE


def _task(task: bytes, examples: np.ndarray) -> Call:
    """InferenceTask { ModelSpec = 1; method_name = 2 }"""
    method = task_method(submessage(task, 2).decode())
    return Call(method, _signature(submessage(task, 1)), {"inputs": examples})


def _tensors(request: bytes) -> dict[str, np.ndarray]:
    from tensorflow.core.framework.tensor_pb2 import TensorProto
    from tensorflow.python.framework import tensor_util

    tensors = {}
    for entry in submessages(request, 2):
        name = submessage(entry, 1).decode()
        proto = TensorProto.FromString(submessage(entry, 2))
        try:
            tensors[name] = tensor_util.MakeNdarray(proto)
        except (TypeError, ValueError) as error:
            raise invalid_argument(f"tensor parsing error: {name}") from error
    return tensors


def _examples(message: bytes) -> np.ndarray:
    """Serialised examples as a string tensor [batch]; a shared context comes before each."""
    listed = [*submessages(submessage(message, 1), 1)]
    with_context = submessage(message, 2)
    context = submessage(with_context, 2)
    listed += [context + example for example in submessages(with_context, 1)]
    return string_array(listed)


def _parse(record: bytes, file: str) -> list[Call]:
    from google.protobuf.message import DecodeError

    try:
        return decode(record)
    except (ValueError, DecodeError):
        shown = record.decode(errors="replace")
        raise invalid_argument(f"Failed to parse warmup record: {shown} from {file}") from None


def _run(model: LoadedModel, call: Call) -> None:
    outputs = call.outputs
    if call.method == "predict":
        signature = model.signatures.get(call.signature)
        if signature is None:
            raise ServingError(
                Code.FAILED_PRECONDITION, f'Serving signature key "{call.signature}" not found.'
            )
        check_inputs(signature, call.inputs)
        check_outputs_exist(signature, outputs)
    else:
        outputs = examples_signature(model.signatures, call.signature, call.method)
        if not len(call.inputs["inputs"]):
            raise invalid_argument("Input is empty.")
    model.run(call.signature, call.inputs, outputs)


def _failure(error: Exception) -> ServingError:
    failure = translate(error)
    if failure.code is not Code.DATA_LOSS:
        return failure
    hint = "Please verify your warmup data is in TFRecord format."
    return ServingError(failure.code, f"{failure.message}. {hint}")
