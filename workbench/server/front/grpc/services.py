"""TensorFlow Serving's two gRPC services: from a request's bytes to its answer's.

Predict, the hot path, is read from and written to the wire format without a message object;
every other method uses the messages of `grpc_messages`. Order of checks, codes and texts are
those of TensorFlow Serving (`predict_util.cc`, `classifier.cc`, `regressor.cc`,
`multi_inference.cc`, `get_model_metadata_impl.cc`, `get_model_status_impl.cc`).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from google.protobuf.message import DecodeError

from workbench.core.signature import DEFAULT_SIGNATURE
from workbench.core.status import Code, ServingError, failed_precondition, invalid_argument
from workbench.core.versions.outage import OutOfService
from workbench.core.versions.states import PublicState
from workbench.formats.signature_checks import (
    check_inputs,
    check_method_name,
    check_outputs_exist,
    classification,
    examples_signature,
    regression,
    task_method,
)
from workbench.formats.wire.messages import message_class
from workbench.formats.wire.protobuf import field, fields
from workbench.formats.wire.tensor_proto import decode_tensor, encode_tensors
from workbench.ipc.frames import Tensors
from workbench.server.engine.batching.scheduler import BatchScheduler
from workbench.server.engine.batching.tasks import Task, now_micros
from workbench.server.engine.versions.manager import Manager
from workbench.server.engine.versions.model import Served
from workbench.server.front.json.responses import encoding_bytes
from workbench.server.front.metrics.prometheus import Metrics
from workbench.server.front.model_status import model_status
from workbench.server.front.reload import Reloader
from workbench.server.front.rest.rest import HELD_TOO_LONG

Method = Callable[[bytes, "float | None"], Awaitable[bytes]]
"""Answers one request. The second argument is its time limit in seconds, None for none."""

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")

_NEVER = 2**62
_ASIDE_BYTES = 256 * 1024
"""Requests and outputs beyond this are read and written in a thread."""
_HOLD_SECONDS = 30.0
"""How long a request without a deadline waits for a version, where requests are held."""
_SIGNATURE_DEF_MAP = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
_KINDS = {"Classify": "Classification", "Regress": "Regression"}
_APIS = {"classify": "Classify", "regress": "Regress"}


_RELOADS_TOLD = 20
"""How many reload requests are told in the event log a second, at most."""

# The version that the request of this task goes to; each request is a task of its own.
_version: ContextVar[int | None] = ContextVar("version", default=None)


class ModelSpec(NamedTuple):
    """Which version a request is for; `signature_name` has its default filled in."""

    name: str
    version: int | None = None
    label: str | None = None
    signature_name: str = DEFAULT_SIGNATURE


_NO_SPEC = ModelSpec("")
"""Of a request that has none: refused, and counted without a model's name."""


class GrpcService:
    """The methods of PredictionService and ModelService, by their full names.

    Args:
        check_method_names: a signature must have been saved for the method that asks for it.
        tensor_content: answer Predict with `tensor_content` instead of typed fields.
    """

    def __init__(
        self,
        manager: Manager,
        scheduler: BatchScheduler,
        reloader: Reloader,
        metrics: Metrics,
        check_method_names: bool = False,
        tensor_content: bool = False,
    ) -> None:
        self._reloads_told: deque[float] = deque(maxlen=_RELOADS_TOLD)
        self._tensor_content = tensor_content
        self._check_method_names = check_method_names
        self._manager = manager
        self._scheduler = scheduler
        self._reloader = reloader
        self._metrics = metrics
        prediction = "/tensorflow.serving.PredictionService/"
        model = "/tensorflow.serving.ModelService/"
        self.methods: Mapping[str, Method] = {
            prediction + "Predict": self._predict,
            prediction + "Classify": self._classify,
            prediction + "Regress": self._regress,
            prediction + "MultiInference": self._multi_inference,
            prediction + "GetModelMetadata": self._metadata,
            model + "GetModelStatus": self._status,
            model + "HandleReloadConfigRequest": self._reload,
        }

    # Predict.

    async def _predict(self, request: bytes, seconds: float | None) -> bytes:
        spec_bytes, entries, outputs = await _aside(len(request), _read_predict, request)
        spec = _NO_SPEC if spec_bytes is None else _read_spec(spec_bytes)
        return await self._counted(
            "Predict", spec, self._predict_with(spec, entries, outputs, seconds)
        )

    async def _predict_with(
        self, spec: ModelSpec, entries: dict[str, bytes], outputs: list[str], seconds: float | None
    ) -> bytes:
        if spec is _NO_SPEC:
            raise invalid_argument("Missing ModelSpec")
        size = sum(map(len, entries.values()))
        served = await self._find_or_wait(spec, seconds, size)
        signature = served.signatures.get(spec.signature_name)
        if signature is None:
            raise failed_precondition(f'Serving signature key "{spec.signature_name}" not found.')
        if self._check_method_names:
            check_method_name(signature, "predict")
        check_inputs(signature, entries)
        inputs = await _aside(size, _decode_tensors, entries)
        check_outputs_exist(signature, outputs)
        spec_field = field(2, _write_spec(spec.name, served.id.version, spec.signature_name))
        answer: bytes = await self._run(
            "Predict",
            served,
            spec.signature_name,
            inputs,
            tuple(outputs),
            seconds,
            lambda tensors: encode_tensors(1, tensors, self._tensor_content) + spec_field,
        )
        return answer

    async def _counted(self, api: str, spec: ModelSpec, work: Awaitable[bytes]) -> bytes:
        """Wait for the answer to a request, and enter it in the metrics."""
        started, code = now_micros(), Code.CANCELLED
        try:
            answer = await work
            code = Code.OK
            return answer
        except ServingError as error:
            code = error.code
            raise
        except Exception:
            code = Code.INTERNAL
            raise
        finally:
            micros = now_micros() - started
            self._metrics.request(spec.name, api, "GRPC", code, micros, _version.get())

    async def _run(
        self,
        api: str,
        served: Served,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        outputs: tuple[str, ...],
        seconds: float | None,
        encode: Callable[[Tensors], Any],
    ) -> Any:
        """What `encode` makes of the outputs, which it gets as views that hold only meanwhile, or
        of copies in a thread where they are large."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answer(result: Tensors | ServingError) -> None:
            if future.done():
                return
            if isinstance(result, ServingError):
                future.set_exception(result)
                return
            self._metrics.runtime(served.id.name, api, now_micros() - task.arrived)
            try:
                if _answer_bytes(api, result) <= _ASIDE_BYTES:
                    future.set_result(encode(result))
                else:
                    copies = {name: array.copy() for name, array in result.items()}
                    future.set_result(future.get_loop().run_in_executor(None, encode, copies))
            except Exception as error:
                future.set_exception(error)

        assert served.queues is not None
        deadline = _NEVER if seconds is None else now_micros() + round(seconds * 1e6)
        task = Task(served.queues, signature, inputs, outputs, deadline, answer)
        self._scheduler.submit(task)
        try:
            encoded = await future
        except asyncio.CancelledError:
            self._scheduler.cancel(task)
            raise
        return await encoded if asyncio.isfuture(encoded) else encoded

    def _find(self, spec: ModelSpec) -> Served:
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        return self._manager.find(spec.name, spec.version, spec.label)

    async def _find_or_wait(self, spec: ModelSpec, seconds: float | None, size: int) -> Served:
        """The version that answers a request of `size` bytes; where requests are held, after the
        gap in which there is none.

        Raises:
            ServingError: DEADLINE_EXCEEDED, none came in time; or as `_find`.
        """
        end = time.monotonic() + (_HOLD_SECONDS if seconds is None else seconds)
        while True:
            try:
                served = self._find(spec)
                _version.set(served.id.version)
                return served
            except ServingError as error:
                latest = spec.version is None and spec.label is None
                absent = error.code is Code.NOT_FOUND and latest
                if not absent and not isinstance(error, OutOfService):
                    raise
                come: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                left = max(0.0, end - time.monotonic())
                remove = self._manager.hold(spec.name, partial(_come, come), size, left)
                if remove is None:
                    raise
                try:
                    await asyncio.wait_for(come, left)
                except asyncio.TimeoutError:
                    raise ServingError(Code.DEADLINE_EXCEEDED, HELD_TOO_LONG) from None
                finally:
                    remove()

    # Classify, Regress, MultiInference.

    async def _classify(self, request: bytes, seconds: float | None) -> bytes:
        return await self._examples("Classify", request, seconds)

    async def _regress(self, request: bytes, seconds: float | None) -> bytes:
        return await self._examples("Regress", request, seconds)

    async def _examples(self, api: str, request: bytes, seconds: float | None) -> bytes:
        asked = await _aside(len(request), partial(_parse, _KINDS[api] + "Request"), request)
        spec = _to_spec(asked.model_spec) if asked.HasField("model_spec") else _NO_SPEC
        return await self._counted(api, spec, self._examples_with(api, spec, asked.input, seconds))

    async def _examples_with(
        self, api: str, spec: ModelSpec, given: Any, seconds: float | None
    ) -> bytes:
        if spec is _NO_SPEC:
            raise invalid_argument("Missing ModelSpec")
        served = await self._find_or_wait(spec, seconds, given.ByteSize())
        method = api.lower()
        outputs = examples_signature(
            served.signatures, spec.signature_name, method, self._check_method_names
        )
        examples = _examples_of(given)
        response = message_class(_KINDS[api] + "Response")()

        def encode(tensors: Tensors) -> bytes:
            _fill_result(method, response.result, tensors, len(examples))
            _fill_spec(response.model_spec, spec, served)
            data: bytes = response.SerializeToString()
            return data

        answer: bytes = await self._run(
            api, served, spec.signature_name, {"inputs": examples}, outputs, seconds, encode
        )
        return answer

    async def _multi_inference(self, request: bytes, seconds: float | None) -> bytes:
        """Each task is a run of its own, all at once; TensorFlow Serving makes them one run.

        The signatures of a TensorFlow 2 SavedModel have placeholders of their own: each is fed the
        same examples, as the original's one run does.
        """
        asked = await _aside(len(request), partial(_parse, "MultiInferenceRequest"), request)
        # The model is the first task's; without any there is no name to find it by.
        name = asked.tasks[0].model_spec if asked.tasks else message_class("ModelSpec")()
        served = await self._find_or_wait(_to_spec(name), seconds, len(request))
        calls = self._inference_calls(asked.tasks, served)
        examples = _examples_of(asked.input)
        self._metrics.examples(served.id.name, len(examples))
        results = await asyncio.gather(
            *(
                self._run(
                    _APIS[method],
                    served,
                    spec.signature_name,
                    {"inputs": examples},
                    outputs,
                    seconds,
                    lambda tensors: {name: array.copy() for name, array in tensors.items()},
                )
                for method, spec, outputs in calls
            )
        )

        def encode(results: list[Tensors]) -> bytes:
            response = message_class("MultiInferenceResponse")()
            for (method, spec, _), tensors in zip(calls, results, strict=True):
                result = response.results.add()
                _fill_spec(result.model_spec, spec, served)
                kind = "classification" if method == "classify" else "regression"
                _fill_result(method, getattr(result, f"{kind}_result"), tensors, len(examples))
            data: bytes = response.SerializeToString()
            return data

        size = sum(_answer_bytes("MultiInference", tensors) for tensors in results)
        return await _aside(size, encode, results)

    def _inference_calls(
        self, tasks: Any, served: Served
    ) -> list[tuple[str, ModelSpec, tuple[str, ...]]]:
        """Method, model spec and outputs of each task of a MultiInference request.

        Raises:
            ServingError: INVALID_ARGUMENT or UNIMPLEMENTED, the tasks do not go together.
        """
        calls: list[tuple[str, ModelSpec, tuple[str, ...]]] = []
        for task in tasks:
            spec = _to_spec(task.model_spec)
            if not spec.name:
                raise invalid_argument("Found ModelSpec with an empty model name.")
            if spec.name != tasks[0].model_spec.name:
                raise invalid_argument(
                    "All ModelSpecs in a MultiInferenceRequest must access the same model name."
                )
            name = spec.signature_name
            if any(name == before.signature_name for _, before, _ in calls):
                raise invalid_argument(f"Duplicate evaluation of signature: {name}")
            if name not in served.signatures:
                raise invalid_argument(f"Requested signature not found in model graph: {name}")
            method = task_method(task.method_name)
            outputs = examples_signature(served.signatures, name, method, self._check_method_names)
            calls.append((method, spec, outputs))
        return calls

    # About the model.

    async def _metadata(self, request: bytes, seconds: float | None) -> bytes:
        asked = _parse("GetModelMetadataRequest", request)
        if not asked.metadata_field:
            raise invalid_argument(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for name in asked.metadata_field:
            if name != "signature_def":
                raise invalid_argument(f"Metadata field {name} is not supported")
        served = self._find(_spec_of(asked))
        assert served.report is not None
        response = message_class("GetModelMetadataResponse")()
        response.model_spec.name = asked.model_spec.name
        response.model_spec.version.value = served.id.version
        packed = response.metadata["signature_def"]
        packed.type_url = _SIGNATURE_DEF_MAP
        packed.value = served.report.signature_def_map
        data: bytes = response.SerializeToString()
        return data

    async def _status(self, request: bytes, seconds: float | None) -> bytes:
        asked = _parse("GetModelStatusRequest", request)
        if not asked.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        # As in TensorFlow Serving a label chooses nothing here.
        spec = asked.model_spec
        version = spec.version.value if spec.HasField("version") else None
        response = message_class("GetModelStatusResponse")()
        for each in model_status(self._manager, spec.name, version):
            told = response.model_version_status.add()
            told.version = each.version
            told.state = PublicState[each.state]
            told.status.error_code = each.error_code
            told.status.error_message = each.error_message
        data: bytes = response.SerializeToString()
        return data

    async def _reload(self, request: bytes, seconds: float | None) -> bytes:
        asked = _parse("ReloadConfigRequest", request)
        if asked.config.WhichOneof("config") != "model_config_list":
            refused = invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only "
                "ModelConfigList is currently supported"
            )
            if self._may_tell():
                self._manager.events.add("reload_failed", message=refused.message)
            raise refused
        events, metrics, tell = self._manager.events, self._metrics, self._may_tell()
        for index, entry in enumerate(asked.config.model_config_list.config if tell else ()):
            events.add(
                "config_entry",
                index=index,
                path=entry.base_path,
                name=entry.name,
                platform=entry.model_platform,
            )
        before = {name: metrics.first_value(name) for name in asked.metric_names}
        try:
            await self._reloader.reload(asked.config)
        except ServingError as error:
            if tell:
                events.add("reload_failed", message=error.message)
            raise
        response = message_class("ReloadConfigResponse")()
        # A status of OK has the default in every field; but it is there.
        response.status.SetInParent()
        for name, value in before.items():
            increase = metrics.first_value(name) - value
            response.metric.add(name=name, int64_value_increase=increase)
        data: bytes = response.SerializeToString()
        return data

    def _may_tell(self) -> bool:
        """Whether this reload is told in the event log: a flood of them must not push out of it
        what has happened to versions."""
        now, told = time.monotonic(), self._reloads_told
        if len(told) == _RELOADS_TOLD and now - told[0] < 1.0:
            return False
        told.append(now)
        return True


# Requests.


async def _aside(size: int, work: Callable[[_Given], _Made], given: _Given) -> _Made:
    """Read something of `size` bytes: in a thread where that may take long.

    It shares the interpreter with the event loop, a few milliseconds in turn.
    """
    return work(given) if size <= _ASIDE_BYTES else await asyncio.to_thread(work, given)


def _answer_bytes(api: str, outputs: Tensors) -> int:
    """The bytes of numbers in a Predict answer that take as long to write as `outputs` do."""
    # Of classes and regressions each is a message.
    return encoding_bytes(outputs) * (1 if api == "Predict" else 16)


def _decode_tensors(entries: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    inputs = {}
    for name, message in sorted(entries.items()):
        try:
            inputs[name] = decode_tensor(message)
        except ValueError as error:
            raise invalid_argument(f"tensor parsing error: {name}") from error
    return inputs


def _parse(name: str, data: bytes) -> Any:
    try:
        return message_class(name).FromString(data)
    except DecodeError as error:
        raise _unreadable(name) from error


def _unreadable(name: str) -> ServingError:
    return ServingError(Code.INTERNAL, f"The request is no {name}")


def _read_predict(request: bytes) -> tuple[bytes | None, dict[str, bytes], list[str]]:
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
        raise _unreadable("PredictRequest") from error
    return spec, inputs, outputs


@lru_cache(maxsize=256)
def _read_spec(data: bytes) -> ModelSpec:
    """A serialised `ModelSpec`. Clients repeat theirs, so few are ever read twice."""
    return _to_spec(_parse("ModelSpec", data))


@lru_cache(maxsize=256)
def _write_spec(name: str, version: int, signature: str) -> bytes:
    return field(1, name.encode()) + field(2, field(1, version)) + field(3, signature.encode())


def _spec_of(request: Any) -> ModelSpec:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    return _to_spec(request.model_spec)


def _to_spec(message: Any) -> ModelSpec:
    chosen = message.WhichOneof("version_choice")
    return ModelSpec(
        message.name,
        message.version.value if chosen == "version" else None,
        message.version_label if chosen == "version_label" else None,
        message.signature_name or DEFAULT_SIGNATURE,
    )


def _examples_of(message: Any) -> np.ndarray:
    """Serialised examples as a string tensor [batch]; a shared context comes before each."""
    kind = message.WhichOneof("kind")
    if kind == "example_list_with_context":
        listed = message.example_list_with_context
        values = [listed.context + example for example in listed.examples]
    else:
        values = list(message.example_list.examples)
    if not values:
        raise invalid_argument("Input is empty.")
    examples = np.empty(len(values), object)
    examples[:] = values
    return examples


# Answers.


def _fill_spec(message: Any, spec: ModelSpec, served: Served) -> None:
    message.name = spec.name
    message.version.value = served.id.version
    message.signature_name = spec.signature_name


def _fill_result(method: str, message: Any, tensors: Tensors, examples: int) -> None:
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


def _come(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
