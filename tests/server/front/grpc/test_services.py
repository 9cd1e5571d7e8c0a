"""The methods of the gRPC services on a real serving core, without a socket between."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.servers import Server
from workbench.core.events import Event, log_line
from workbench.core.status import Code, ServingError
from workbench.formats.wire.messages import message_class
from workbench.formats.wire.protobuf import field, submessage, submessages
from workbench.formats.wire.tensor_proto import decode_tensor, encode_tensors
from workbench.ipc.frames import Tensors
from workbench.server.front.grpc import prediction_service, request_messages
from workbench.server.front.grpc.model_service import ModelService
from workbench.server.front.grpc.prediction_service import PredictionService
from workbench.server.front.metrics.prometheus import Metrics
from workbench.server.front.reload import Reloader

_PREDICTION, _MODEL = "/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/"
_WAIT_SECONDS = 60.0


class Client:
    """Calls methods with messages."""

    def __init__(self, server: Server, tensor_content: bool = False) -> None:
        self.server = server
        manager, scheduler = server.core.manager, server.core.scheduler
        self.metrics = Metrics(manager, scheduler)
        self.changes = 0
        reloader = Reloader(manager, self._changed, {"load_retry_seconds": 0.0})
        prediction = PredictionService(
            manager, scheduler, self.metrics, tensor_content=tensor_content
        )
        models = ModelService(manager, reloader, self.metrics)
        self.methods = {**prediction.methods, **models.methods}

    def _changed(self) -> None:
        self.changes += 1

    def raw(self, method: str, request: bytes, seconds: float | None = None) -> bytes:
        async def call() -> bytes:
            return await asyncio.wait_for(self.methods[method](request, seconds), _WAIT_SECONDS)

        return self.server.run(call())

    def call(self, method: str, kind: str, **request: Any) -> Any:
        """The response message `<kind>Response` to `<kind>Request`."""
        message = message_class(f"{kind}Request")(**request)
        data = self.raw(method, message.SerializeToString())
        return message_class(f"{kind}Response").FromString(data)

    def predict(
        self, spec: bytes, inputs: Tensors, *outputs: str, seconds: float | None = None
    ) -> tuple[Tensors, bytes]:
        """Outputs, and the model spec of the response."""
        request = spec + encode_tensors(2, inputs)
        request += b"".join(field(3, name.encode()) for name in outputs)
        data = self.raw(_PREDICTION + "Predict", request, seconds)
        tensors = {
            submessage(entry, 1).decode(): decode_tensor(submessage(entry, 2))
            for entry in submessages(data, 1)
        }
        return tensors, submessage(data, 2)

    def refused(self, method: str, request: bytes) -> ServingError:
        with pytest.raises(ServingError) as error:
            self.raw(method, request)
        return error.value


def spec(name: str, signature: str = "") -> bytes:
    return field(1, field(1, name.encode()) + field(3, signature.encode()))


def full_spec(name: str, version: int, signature: str = "serving_default") -> bytes:
    return field(1, name.encode()) + field(2, field(1, version)) + field(3, signature.encode())


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.fixture
def client(server: Server, tmp_path: Path) -> Client:
    server.run(server.serve(tmp_path / "half", "half_plus_two", name="half"))
    server.run(server.serve(tmp_path / "multi", "multi", name="multi"))
    server.run(server.serve(tmp_path / "inputs", "inputs", name="inputs"))
    return Client(server)


def test_predict(client: Client) -> None:
    tensors, answered = client.predict(spec("half"), {"x": floats(1, 2)})
    assert {name: array.tolist() for name, array in tensors.items()} == {"y": [2.5, 3.0]}
    assert answered == full_spec("half", 1)
    inputs = {"a": floats(1, 2)[None], "b": np.array([3], np.int32)}
    tensors, _ = client.predict(spec("multi"), inputs, "product", seconds=_WAIT_SECONDS)
    assert {name: array.tolist() for name, array in tensors.items()} == {"product": [3.0]}
    page = client.metrics.page().decode()
    for model in ("half", "multi"):
        assert f':tensorflow:serving:request_count{{model_name="{model}",status="OK"}} 1\n' in page
        assert (
            ":tensorflow:serving:request_latency_count"
            f'{{model_name="{model}",API="Predict",entrypoint="GRPC"}} 1\n'
        ) in page


@pytest.mark.parametrize(
    ("request_bytes", "code", "text"),
    [
        (b"\x0a\x05", Code.INTERNAL, "The request is not a valid PredictRequest"),
        (field(1, b"\x0a\x05"), Code.INTERNAL, "The request is not a valid ModelSpec"),
        (b"", Code.INVALID_ARGUMENT, "Missing ModelSpec"),
        (field(1, b""), Code.INVALID_ARGUMENT, "ModelSpec has no name specified."),
        (field(1, field(1, b"half") + field(4, b"x")), Code.INVALID_ARGUMENT,
         "Unrecognized servable version label: x"),
        (spec("half", "no"), Code.FAILED_PRECONDITION, 'Serving signature key "no" not found.'),
        (spec("half") + field(2, field(1, b"x")), Code.INVALID_ARGUMENT, "tensor parsing error: x"),
        (spec("half") + encode_tensors(2, {"x": floats(1)}) + field(3, b"z"),
         Code.INVALID_ARGUMENT, "output tensor alias not found in signature: z Outputs expected "
         "to be in the set {y}."),
    ],
)  # fmt: skip
def test_predict_refusals(client: Client, request_bytes: bytes, code: Code, text: str) -> None:
    refusal = client.refused(_PREDICTION + "Predict", request_bytes)
    assert refusal == ServingError(code, text)


def test_a_spec_in_pieces_is_one(client: Client) -> None:
    request = field(1, field(1, b"half")) + encode_tensors(2, {"x": floats(0)})
    whole = client.raw(_PREDICTION + "Predict", request + field(1, field(2, field(1, 1))))
    assert submessage(whole, 2) == full_spec("half", 1)


def test_what_the_model_refuses(client: Client) -> None:
    with pytest.raises(ServingError) as error:
        client.predict(spec("half"), {"x": np.array(["a"])})
    assert error.value == ServingError(
        Code.INVALID_ARGUMENT, "Expects arg[0] to be float but string is provided"
    )
    assert ':tensorflow:serving:request_count{model_name="half",status="INVALID_ARGUMENT"} 1\n' in (
        client.metrics.page().decode()
    )


def test_a_caller_that_goes_away_is_forgotten(client: Client, tmp_path: Path) -> None:
    server = client.server
    server.run(server.serve(tmp_path / "slow", "slow", name="slow"))
    inputs = {"x": floats(1), "steps": np.array([5000], np.int32)}
    request = spec("slow") + encode_tensors(2, inputs)

    async def give_up() -> None:
        method = client.methods[_PREDICTION + "Predict"]
        calls = [asyncio.ensure_future(method(request, None)) for _ in range(4)]
        await server.until(
            lambda: server.core.scheduler.outstanding == 4, "four requests are in progress"
        )
        for call in calls:
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError] * 4
        await server.until(lambda: server.core.scheduler.outstanding == 0, "nothing is in progress")

    server.run(give_up())
    page = client.metrics.page().decode()
    assert ':tensorflow:serving:request_count{model_name="slow",status="CANCELLED"} 4\n' in page


# Examples. A tf.Example whose feature `x` has the float 1.


def example(value: float) -> bytes:
    feature = field(2, field(1, floats(value).tobytes()))
    return field(1, field(1, field(1, b"x") + field(2, feature)))


def test_classify_and_regress(client: Client) -> None:
    listed = {"example_list": {"examples": [example(1), example(4)]}}
    answer = client.call(
        _PREDICTION + "Classify",
        "Classification",
        model_spec={"name": "half", "signature_name": "classify_x_to_y"},
        input=listed,
    )
    assert [[c.score for c in row.classes] for row in answer.result.classifications] == [
        [2.5],
        [4.0],
    ]
    assert answer.model_spec.SerializeToString() == full_spec("half", 1, "classify_x_to_y")
    with_context = {"example_list_with_context": {"examples": [b""], "context": example(6)}}
    answer = client.call(
        _PREDICTION + "Regress",
        "Regression",
        model_spec={"name": "half", "signature_name": "regress_x_to_y"},
        input=with_context,
    )
    assert [r.value for r in answer.result.regressions] == [5.0]


def test_multi_inference(client: Client) -> None:
    tasks = [
        {
            "model_spec": {"name": "half", "signature_name": f"{method}_x_to_y"},
            "method_name": f"tensorflow/serving/{method}",
        }
        for method in ("classify", "regress")
    ]
    answer = client.call(
        _PREDICTION + "MultiInference",
        "MultiInference",
        tasks=tasks,
        input={"example_list": {"examples": [example(2)]}},
    )
    first, second = answer.results
    assert first.classification_result.classifications[0].classes[0].score == 3.0
    assert second.regression_result.regressions[0].value == 3.0
    assert [r.model_spec.signature_name for r in answer.results] == [
        "classify_x_to_y",
        "regress_x_to_y",
    ]
    page = client.metrics.page().decode()
    assert ':tensorflow:serving:request_example_count_total{model="half"} 1\n' in page


def test_multi_inference_of_signatures_with_inputs_of_their_own(client: Client) -> None:
    answer = client.call(
        _PREDICTION + "MultiInference",
        "MultiInference",
        tasks=[
            {
                "model_spec": {"name": "inputs", "signature_name": name},
                "method_name": "tensorflow/serving/regress",
            }
            for name in ("here", "there")
        ],
        input={"example_list": {"examples": [b"", b"abc"]}},
    )
    values = [[r.value for r in one.regression_result.regressions] for one in answer.results]
    assert values == [[0.0, 3.0], [0.0, 3.0]]


@pytest.mark.parametrize(
    ("tasks", "code", "text"),
    [
        ([], Code.INVALID_ARGUMENT, "ModelSpec has no name specified."),
        ([("", "regress_x_to_y", "regress")], Code.INVALID_ARGUMENT,
         "ModelSpec has no name specified."),
        ([("half", "regress_x_to_y", "regress"), ("", "x", "regress")], Code.INVALID_ARGUMENT,
         "Found ModelSpec with an empty model name."),
        ([("half", "regress_x_to_y", "regress"), ("multi", "x", "regress")],
         Code.INVALID_ARGUMENT,
         "All ModelSpecs in a MultiInferenceRequest must access the same model name."),
        ([("half", "regress_x_to_y", "regress")] * 2, Code.INVALID_ARGUMENT,
         "Duplicate evaluation of signature: regress_x_to_y"),
        ([("half", "no", "regress")], Code.INVALID_ARGUMENT,
         "Requested signature not found in model graph: no"),
        ([("half", "serving_default", "predict")], Code.UNIMPLEMENTED,
         "Unsupported signature method_name: tensorflow/serving/predict"),
    ],
)  # fmt: skip
def test_multi_inference_refusals(client: Client, tasks: Any, code: Code, text: str) -> None:
    request = message_class("MultiInferenceRequest")(
        tasks=[
            {
                "model_spec": {"name": name, "signature_name": signature},
                "method_name": f"tensorflow/serving/{method}",
            }
            for name, signature, method in tasks
        ],
        input={"example_list": {"examples": [example(2)]}},
    )
    method = _PREDICTION + "MultiInference"
    assert client.refused(method, request.SerializeToString()) == ServingError(code, text)
    # Examples are looked at last.
    request.ClearField("input")
    assert client.refused(method, request.SerializeToString()) == ServingError(code, text)


def test_multi_inference_without_examples(client: Client) -> None:
    request = message_class("MultiInferenceRequest")(
        tasks=[
            {
                "model_spec": {"name": "half", "signature_name": "regress_x_to_y"},
                "method_name": "tensorflow/serving/regress",
            }
        ]
    )
    assert client.refused(
        _PREDICTION + "MultiInference", request.SerializeToString()
    ) == ServingError(Code.INVALID_ARGUMENT, "Input is empty.")


def test_what_a_reload_did_to_metrics(client: Client, tmp_path: Path) -> None:
    names = [
        "/tensorflow/serving/request_count",
        ":tensorflow:serving:model_warmup_records_read",
        "/tensorflow/serving/request_latency",
        "/no/such/metric",
    ]
    client.predict(spec("half"), {"x": floats(1)})
    assert client.metrics.first_value(names[0]) == 1
    path = str(tmp_path / "half" / "1")

    def warmed_up(event: Event) -> None:
        # A model that comes with the reload would report so.
        if event.kind == "models_adding":
            client.server.core.events.add(
                "warmup_finished",
                "half",
                1,
                path=f"{path}/assets.extra/tf_serving_warmup_requests",
                records=7,
                micros=12,
            )

    entries = [
        {"name": n, "base_path": str(tmp_path / n), "model_platform": "tensorflow"}
        for n in ("half", "multi", "inputs")
    ]
    stop = client.server.core.events.listen(warmed_up)
    answer = client.call(
        _MODEL + "HandleReloadConfigRequest",
        "ReloadConfig",
        config={"model_config_list": {"config": entries}},
        metric_names=names,
    )
    stop()
    assert answer.HasField("status")
    assert [(m.name, m.int64_value_increase) for m in answer.metric] == list(
        zip(names, [0, 7, 0, 0], strict=True)
    )


def test_what_is_logged_of_a_reload(client: Client, tmp_path: Path) -> None:
    events = client.server.core.events
    before = events.last_seq
    entry = {"name": "half", "base_path": "relative", "model_platform": "tensorflow"}
    request = message_class("ReloadConfigRequest")(
        config={"model_config_list": {"config": [entry]}}
    )
    refusal = client.refused(_MODEL + "HandleReloadConfigRequest", request.SerializeToString())
    text = "Expected model half to have an absolute path or URI; got base_path()=relative"
    assert refusal == ServingError(Code.INVALID_ARGUMENT, text)
    assert [line for e in events.since(before) if (line := log_line(e)) is not None] == [
        "\nConfig entry\n\tindex : 0\n\tpath : relative\n\tname : half\n\tplatform : tensorflow",
        f"ReloadConfig failed: {text}",
    ]
    before = events.last_seq
    entry["base_path"] = str(tmp_path / "half")
    client.call(
        _MODEL + "HandleReloadConfigRequest",
        "ReloadConfig",
        config={"model_config_list": {"config": [entry]}},
    )
    lines = [line for e in events.since(before) if (line := log_line(e)) is not None]
    assert [line for line in lines if line.endswith(("updating models", "updating models."))] == [
        "Adding/updating models.",
        "Finished adding/updating models",
    ]


def test_answers_in_tensor_content(client: Client) -> None:
    client = Client(client.server, tensor_content=True)
    tensors, answered = client.predict(spec("half"), {"x": floats(1, 2)})
    assert {name: array.tolist() for name, array in tensors.items()} == {"y": [2.5, 3.0]}
    assert answered == full_spec("half", 1)


def test_large_messages_are_read_and_written_beside_the_event_loop(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def name() -> str:
        return threading.current_thread().name

    loops = client.server.run(name())
    seen: dict[str, list[str]] = {}

    def note(function: str) -> None:
        module = request_messages if function == "decode_tensor" else prediction_service
        original = getattr(module, function)

        def noting(*arguments: Any) -> Any:
            seen.setdefault(function, []).append(threading.current_thread().name)
            return original(*arguments)

        monkeypatch.setattr(module, function, noting)

    for function in ("read_predict", "decode_tensor", "encode_tensors", "fill_result"):
        note(function)
    x = np.arange(100_000, dtype=np.float32)
    tensors, answered = client.predict(spec("half"), {"x": x})
    np.testing.assert_array_equal(tensors["y"], x / 2 + 2)
    assert answered == full_spec("half", 1)
    examples = {"example_list": {"examples": [example(i) for i in range(10_000)]}}
    model = {"name": "half", "signature_name": "classify_x_to_y"}
    answer = client.call(
        _PREDICTION + "Classify", "Classification", model_spec=model, input=examples
    )
    scores = [row.classes[0].score for row in answer.result.classifications]
    assert scores == [i / 2 + 2 for i in range(10_000)]
    assert set(seen) == {"read_predict", "decode_tensor", "encode_tensors", "fill_result"}
    assert not any(loops in threads for threads in seen.values())
    # What is small is read and written where it arrives, which is sooner.
    seen.clear()
    client.predict(spec("half"), {"x": floats(1)})
    assert set(seen) == {"read_predict", "decode_tensor", "encode_tensors"}
    assert all(threads == [loops] for threads in seen.values())


def test_a_large_message_is_refused_in_the_same_words(client: Client) -> None:
    broken = field(2, field(1, b"x") + field(2, b"\x08\x01" + field(4, b"-" * 300_001)))
    refusal = client.refused(_PREDICTION + "Predict", spec("half") + broken)
    assert refusal == ServingError(Code.INVALID_ARGUMENT, "tensor parsing error: x")
    refusal = client.refused(_PREDICTION + "Predict", b"\x0a\x05" * 200_000)
    assert refusal == ServingError(Code.INTERNAL, "The request is not a valid PredictRequest")


def test_requests_without_a_model_spec_are_counted(client: Client) -> None:
    def counted() -> int:
        line = ':tensorflow:serving:request_count{model_name="",status="INVALID_ARGUMENT"} '
        page = client.metrics.page().decode()
        return int(page.partition(line)[2].partition("\n")[0] or 0)

    before = counted()
    for method in ("Predict", "Classify", "Regress"):
        assert client.refused(_PREDICTION + method, b"") == ServingError(
            Code.INVALID_ARGUMENT, "Missing ModelSpec"
        )
    assert counted() == before + 3


def test_example_refusals(client: Client) -> None:
    method = _PREDICTION + "Classify"
    signature = spec("half", "classify_x_to_y")
    assert client.refused(method, b"") == ServingError(Code.INVALID_ARGUMENT, "Missing ModelSpec")
    assert client.refused(method, signature) == ServingError(
        Code.INVALID_ARGUMENT, "Input is empty."
    )
    assert client.refused(method, b"\x0a\x05") == ServingError(
        Code.INTERNAL, "The request is not a valid ClassificationRequest"
    )


# About models.


def test_metadata(client: Client) -> None:
    answer = client.call(
        _PREDICTION + "GetModelMetadata",
        "GetModelMetadata",
        model_spec={"name": "multi"},
        metadata_field=["signature_def"],
    )
    assert (answer.model_spec.name, answer.model_spec.version.value) == ("multi", 1)
    assert answer.model_spec.signature_name == ""
    packed = answer.metadata["signature_def"]
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    (signature,) = submessages(packed.value, 1)
    assert submessage(signature, 1) == b"serving_default"
    inputs = [submessage(i, 1) for i in submessages(submessage(signature, 2), 1)]
    assert sorted(inputs) == [b"a", b"b"]
    for request, text in (
        (b"", "GetModelMetadataRequest must specify at least one metadata_field"),
        (field(2, b"x"), "Metadata field x is not supported"),
        (field(2, b"signature_def"), "Missing ModelSpec"),
    ):
        refusal = client.refused(_PREDICTION + "GetModelMetadata", request)
        assert refusal == ServingError(Code.INVALID_ARGUMENT, text)


def test_status(client: Client, tmp_path: Path) -> None:
    server = client.server
    server.put(tmp_path / "bad", 3, "bad_graph")

    async def failed() -> None:
        model = server.set_model("bad", tmp_path / "bad")
        await server.until(
            lambda: any(s.harness.error is not None for s in model.listed()), "it has failed"
        )

    server.run(failed())

    def told(name: str) -> list[tuple[int, int, int, bool]]:
        answer = client.call(_MODEL + "GetModelStatus", "GetModelStatus", model_spec={"name": name})
        return [
            (s.version, s.state, s.status.error_code, bool(s.status.error_message))
            for s in answer.model_version_status
        ]

    assert told("half") == [(1, 30, 0, False)]
    ((version, state, code, message),) = told("bad")
    assert (version, state, code > 0, message) == (3, 50, True, True)
    assert client.refused(_MODEL + "GetModelStatus", b"") == ServingError(
        Code.INVALID_ARGUMENT, "Missing ModelSpec"
    )
    assert client.refused(_MODEL + "GetModelStatus", spec("none")) == ServingError(
        Code.NOT_FOUND, "Could not find any versions of model none"
    )


def test_reload(client: Client, tmp_path: Path) -> None:
    listed = {
        "config": [
            {
                "name": "half",
                "base_path": str(tmp_path / "half"),
                "model_platform": "tensorflow",
                "version_labels": {"stable": 1},
            }
        ]
    }
    request = message_class("ReloadConfigRequest")(config={"model_config_list": listed})
    method = _MODEL + "HandleReloadConfigRequest"
    assert client.raw(method, request.SerializeToString()) == field(1, b"")
    assert client.changes == 1
    models = client.server.core.manager.models
    assert models["half"].config.labels == {"stable": 1}
    assert "multi" not in models or models["multi"].removed
    assert client.refused(method, b"") == ServingError(
        Code.INVALID_ARGUMENT,
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList "
        "is currently supported",
    )
    assert client.changes == 1
