"""Numbers of 63 bits, names with a slash, reflection and MultiInference at a real server, over both
interfaces and by TensorFlow Serving's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from tests.conformance.grpc_client import GrpcClient
from tests.conformance.model_server import ModelServer, config_text, entry, put

LAST = 2**63 - 1
BEFORE = LAST - 1
NAME = "shop/en: v2"
"""What a configuration file may call a model, as the original takes any name."""


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    folder = tmp_path_factory.mktemp("whole")
    base = folder / "large"
    put(models / "half_plus_two", base, BEFORE)
    put(models / "half_plus_three", base, LAST)
    put(models / "heads", folder / "heads", 1)
    policy = f"model_version_policy {{ specific {{ versions: {LAST} versions: {BEFORE} }} }} "
    labels = "".join(
        f'version_labels {{ key: "{label}" value: {version} }} '
        for label, version in (("new", LAST), ("old", BEFORE))
    )
    config = folder / "models.config"
    config.write_text(
        config_text(entry(NAME, base, policy + labels), entry("heads", folder / "heads"))
    )
    server = ModelServer(
        folder, f"--model_config_file={config}", "--enable_grpc_healthcheck_service"
    )
    server.wait_for("Exporting HTTP/REST API at")
    yield server
    assert server.stop() == 0


PATH = f"/v1/models/{quote(NAME, safe='')}"


@pytest.mark.parametrize(
    ("chosen", "value"),
    [
        ("", 4.0),
        (f"/versions/{LAST}", 4.0),
        (f"/versions/{BEFORE}", 3.0),
        ("/labels/new", 4.0),
        ("/labels/old", 3.0),
        (f"/versions/000{LAST}", 4.0),
    ],
)
def test_rest_predict(server: ModelServer, chosen: str, value: float) -> None:
    status, body = server.rest(f"{PATH}{chosen}:predict", '{"instances": [2.0]}')
    assert (status, json.loads(body)) == (200, {"predictions": [value]})


def test_rest_status_and_metadata(server: ModelServer) -> None:
    status, body = server.rest(PATH)
    listed = json.loads(body)["model_version_status"]
    assert (status, [v["version"] for v in listed]) == (200, [str(LAST), str(BEFORE)])
    status, body = server.rest(f"{PATH}/versions/{BEFORE}")
    assert [v["version"] for v in json.loads(body)["model_version_status"]] == [str(BEFORE)]
    status, body = server.rest(f"{PATH}/versions/{LAST}/metadata")
    spec = json.loads(body)["model_spec"]
    assert (spec["name"], spec["version"]) == (NAME, str(LAST))


def test_what_is_no_version(server: ModelServer) -> None:
    assert server.rest(f"{PATH}/versions/{2**63}:predict", "{}") == (400, "")
    assert server.rest(f"{PATH}/versions/{2**53}:predict", '{"instances": [2.0]}') == (
        404,
        json.dumps(
            {"error": f"Servable not found for request: Specific({NAME}, {2**53})"}, indent=4
        ),
    )
    # A slash that is not escaped is one of the path, as in the original.
    status, body = server.rest("/v1/models/shop/en:predict", "{}")
    assert (status, json.loads(body)) == (
        400,
        {"error": "Malformed request: POST /v1/models/shop/en:predict"},
    )


def test_grpc(server: ModelServer, grpc_client: GrpcClient) -> None:
    two = (
        "inputs { key: 'x' value { dtype: DT_FLOAT tensor_shape { dim { size: 1 } } "
        "float_val: 2 } }"
    )
    for chosen, version, value in (
        ("", LAST, 4.0),
        (f"version {{ value: {BEFORE} }}", BEFORE, 3.0),
        ("version_label: 'old'", BEFORE, 3.0),
        ("version_label: 'new'", LAST, 4.0),
    ):
        request = f"model_spec {{ name: '{NAME}' {chosen} }}"
        answer = grpc_client.call(server.address, "Predict", request + two)
        assert answer["model_spec"]["version"] == str(version)
        assert answer["model_spec"]["name"] == NAME
        assert answer["outputs"]["y"]["float_val"] == [value]
    request = f"model_spec {{ name: '{NAME}' }}"
    listed = grpc_client.call(server.address, "GetModelStatus", request)["model_version_status"]
    assert [v["version"] for v in listed] == [str(LAST), str(BEFORE)]
    metadata = grpc_client.call(
        server.address, "GetModelMetadata", request + "metadata_field: 'signature_def'"
    )
    assert metadata["model_spec"]["version"] == str(LAST)


def test_multi_inference_of_a_tensorflow_2_model(
    server: ModelServer, grpc_client: GrpcClient
) -> None:
    def task(signature: str) -> str:
        return (
            f"tasks {{ model_spec {{ name: 'heads' signature_name: '{signature}' }} "
            f"method_name: 'tensorflow/serving/{signature}' }} "
        )

    feature = "features { feature { key: 'x' value { float_list { value: %d } } } }"
    examples = " ".join(f"examples {{ {feature % x} }}" for x in (1, 3))
    request = task("classify") + task("regress") + f"input {{ example_list {{ {examples} }} }}"

    def scores(*values: float) -> dict[str, Any]:
        return {"classes": [{"score": value} for value in values]}

    assert grpc_client.call(server.address, "MultiInference", request) == {
        "results": [
            {
                "model_spec": {"name": "heads", "version": "1", "signature_name": "classify"},
                "classification_result": {"classifications": [scores(1.0, 2.0), scores(3.0, 6.0)]},
            },
            {
                "model_spec": {"name": "heads", "version": "1", "signature_name": "regress"},
                "regression_result": {"regressions": [{"value": 3.0}, {"value": 5.0}]},
            },
        ]
    }


def test_a_client_that_knows_nothing_predicts(server: ModelServer) -> None:
    """As grpcurl does: it asks what there is, and makes its request of the answer."""
    with grpc.insecure_channel(server.address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert {"tensorflow.serving.PredictionService", "grpc.health.v1.Health"} <= set(
            database.get_services()
        )
        pool = descriptor_pool.DescriptorPool(database)
        method = pool.FindMethodByName("tensorflow.serving.PredictionService.Predict")
        request = message_factory.GetMessageClass(method.input_type)()
        request.model_spec.name = NAME
        request.model_spec.version.value = BEFORE
        tensor = request.inputs["x"]
        tensor.dtype = (
            pool.FindEnumTypeByName("tensorflow.DataType").values_by_name["DT_FLOAT"].number
        )
        tensor.tensor_shape.dim.add(size=1)
        tensor.float_val.append(2.0)
        call = channel.unary_unary(f"/{method.containing_service.full_name}/{method.name}")
        answer = message_factory.GetMessageClass(method.output_type).FromString(
            call(request.SerializeToString(), timeout=30)
        )
        assert list(answer.outputs["y"].float_val) == [3.0]
        assert answer.model_spec.version.value == BEFORE
