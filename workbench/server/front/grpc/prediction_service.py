"""TensorFlow Serving's PredictionService: from a request's bytes to its answer's.

Order of checks, codes and texts are those of TensorFlow Serving (`predict_util.cc`,
`classifier.cc`, `regressor.cc`, `multi_inference.cc`, `get_model_metadata_impl.cc`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from workbench.core.status import failed_precondition, invalid_argument
from workbench.formats.signature_checks import (
    check_inputs,
    check_method_name,
    check_outputs_exist,
    examples_signature,
    task_method,
)
from workbench.formats.wire.messages import message_class
from workbench.formats.wire.protobuf import field
from workbench.formats.wire.tensor_proto import encode_tensors
from workbench.ipc.frames import Tensors
from workbench.server.engine.batching.scheduler import BatchScheduler
from workbench.server.engine.versions.manager import Manager
from workbench.server.engine.versions.model import Served
from workbench.server.front.grpc.grpc_server import Method
from workbench.server.front.grpc.model_runs import ModelRuns, answer_bytes, aside
from workbench.server.front.grpc.request_messages import (
    NO_SPEC,
    ModelSpec,
    decode_tensors,
    examples_of,
    fill_result,
    fill_spec,
    parse,
    read_predict,
    read_spec,
    spec_of,
    to_spec,
    write_spec,
)
from workbench.server.front.metrics.prometheus import Metrics

_SERVICE = "/tensorflow.serving.PredictionService/"
_SIGNATURE_DEF_MAP = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
_KINDS = {"Classify": "Classification", "Regress": "Regression"}


class PredictionService:
    """The methods, by their full names.

    Args:
        check_method_names: a signature must have been saved for the method that asks for it.
        tensor_content: answer Predict with `tensor_content` instead of typed fields.
    """

    def __init__(
        self,
        manager: Manager,
        scheduler: BatchScheduler,
        metrics: Metrics,
        check_method_names: bool = False,
        tensor_content: bool = False,
    ) -> None:
        self._runs = ModelRuns(manager, scheduler, metrics)
        self._tensor_content = tensor_content
        self._check_method_names = check_method_names
        self.methods: Mapping[str, Method] = {
            _SERVICE + "Predict": self._predict,
            _SERVICE + "Classify": partial(self._examples, "Classify"),
            _SERVICE + "Regress": partial(self._examples, "Regress"),
            _SERVICE + "MultiInference": self._multi_inference,
            _SERVICE + "GetModelMetadata": self._metadata,
        }

    async def _predict(self, request: bytes, seconds: float | None) -> bytes:
        spec_bytes, entries, outputs = await aside(len(request), read_predict, request)
        spec = NO_SPEC if spec_bytes is None else read_spec(spec_bytes)
        return await self._runs.counted(
            "Predict", spec, self._predict_with(spec, entries, outputs, seconds)
        )

    async def _predict_with(
        self, spec: ModelSpec, entries: dict[str, bytes], outputs: list[str], seconds: float | None
    ) -> bytes:
        size = sum(map(len, entries.values()))
        served = await self._runs.find_or_wait(spec, seconds, size)
        signature = served.signatures.get(spec.signature_name)
        if signature is None:
            raise failed_precondition(f'Serving signature key "{spec.signature_name}" not found.')
        if self._check_method_names:
            check_method_name(signature, "predict")
        check_inputs(signature, entries)
        inputs = await aside(size, decode_tensors, entries)
        check_outputs_exist(signature, outputs)
        spec_field = field(2, write_spec(spec.name, served.id.version, spec.signature_name))
        answer: bytes = await self._runs.run(
            "Predict",
            served,
            spec.signature_name,
            inputs,
            tuple(outputs),
            seconds,
            lambda tensors: encode_tensors(1, tensors, self._tensor_content) + spec_field,
        )
        return answer

    async def _examples(self, api: str, request: bytes, seconds: float | None) -> bytes:
        asked = await aside(len(request), partial(parse, _KINDS[api] + "Request"), request)
        spec = spec_of(asked)
        return await self._runs.counted(
            api, spec, self._examples_with(api, spec, asked.input, seconds)
        )

    async def _examples_with(
        self, api: str, spec: ModelSpec, given: Any, seconds: float | None
    ) -> bytes:
        served = await self._runs.find_or_wait(spec, seconds, given.ByteSize())
        method = api.lower()
        outputs = examples_signature(
            served.signatures, spec.signature_name, method, self._check_method_names
        )
        examples = examples_of(given)
        response = message_class(_KINDS[api] + "Response")()

        def encode(tensors: Tensors) -> bytes:
            fill_result(method, response.result, tensors, len(examples))
            fill_spec(response.model_spec, spec, served)
            return bytes(response.SerializeToString())

        answer: bytes = await self._runs.run(
            api, served, spec.signature_name, {"inputs": examples}, outputs, seconds, encode
        )
        return answer

    async def _multi_inference(self, request: bytes, seconds: float | None) -> bytes:
        """Each task is a run of its own, all at once; TensorFlow Serving makes them one run.

        The signatures of a TensorFlow 2 SavedModel have placeholders of their own: each is fed the
        same examples, as the original's one run does.
        """
        asked = await aside(len(request), partial(parse, "MultiInferenceRequest"), request)
        # The model is the first task's; without any there is no name to find it by.
        name = asked.tasks[0].model_spec if asked.tasks else message_class("ModelSpec")()
        served = await self._runs.find_or_wait(to_spec(name), seconds, len(request))
        calls = self._inference_calls(asked.tasks, served)
        examples = examples_of(asked.input)
        self._runs.metrics.examples(served.id.name, len(examples))
        results = await asyncio.gather(
            *(
                self._runs.run(
                    method.capitalize(),
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
                fill_spec(result.model_spec, spec, served)
                kind = "classification" if method == "classify" else "regression"
                fill_result(method, getattr(result, f"{kind}_result"), tensors, len(examples))
            return bytes(response.SerializeToString())

        size = sum(answer_bytes("MultiInference", tensors) for tensors in results)
        return await aside(size, encode, results)

    def _inference_calls(
        self, tasks: Any, served: Served
    ) -> list[tuple[str, ModelSpec, tuple[str, ...]]]:
        """Method, model spec and outputs of each task of a MultiInference request.

        Raises:
            ServingError: INVALID_ARGUMENT or UNIMPLEMENTED, the tasks do not go together.
        """
        calls: list[tuple[str, ModelSpec, tuple[str, ...]]] = []
        for task in tasks:
            spec = to_spec(task.model_spec)
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

    async def _metadata(self, request: bytes, seconds: float | None) -> bytes:
        asked = parse("GetModelMetadataRequest", request)
        if not asked.metadata_field:
            raise invalid_argument(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for name in asked.metadata_field:
            if name != "signature_def":
                raise invalid_argument(f"Metadata field {name} is not supported")
        served = self._runs.find(spec_of(asked))
        assert served.report is not None
        response = message_class("GetModelMetadataResponse")()
        response.model_spec.name = asked.model_spec.name
        response.model_spec.version.value = served.id.version
        packed = response.metadata["signature_def"]
        packed.type_url = _SIGNATURE_DEF_MAP
        packed.value = served.report.signature_def_map
        return bytes(response.SerializeToString())
