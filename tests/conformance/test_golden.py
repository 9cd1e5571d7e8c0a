"""TensorFlow Serving's own test files: its golden metadata, its models' variants, its
configuration files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Any

import pytest

from tests.conformance.grpc_client import GrpcClient
from tests.conformance.model_server import ModelServer, free_ports
from tests.conformance.process import UPSTREAM, Process
from tests.conformance.test_grpc import floats, spec
from tests.conformance.test_model_server import run

TWO = "saved_model_half_plus_two_2_versions"


@pytest.fixture(scope="module")
def testdata() -> Path:
    if not UPSTREAM.is_dir():
        absent = f"TensorFlow Serving's test files are not in {UPSTREAM}"
        assert "CI" not in os.environ, absent
        pytest.skip(absent)
    return UPSTREAM


# Metadata.


def signatures(metadata: Any) -> dict[str, Any]:
    found: dict[str, Any] = metadata["metadata"]["signature_def"]["signature_def"]
    return found


def test_metadata_of_the_default_model(process: Process) -> None:
    golden = json.loads((UPSTREAM / "half_plus_two_model_metadata.json").read_bytes())
    assert process.ask("GET", "/v1/models/default/metadata").json == golden


def test_metadata_of_one_of_two_versions(process: Process) -> None:
    golden = json.loads((UPSTREAM / f"{TWO}_metadata.json").read_bytes())
    process.add(TWO, UPSTREAM / TWO, version_policy="all")
    try:
        assert process.ask("GET", f"/v1/models/{TWO}/versions/123/metadata").json == golden
        assert process.ask("GET", f"/v1/models/{TWO}/metadata").json["model_spec"] == {
            "name": TWO,
            "version": "124",
            "signature_name": "",
        }
    finally:
        process.remove(TWO)


def test_metadata_of_a_tensorflow_2_model(process: Process) -> None:
    """The golden file is of the server's other runtime, which drops the defaults."""
    golden = json.loads(
        (UPSTREAM / "saved_model_half_plus_two_tf2_2_versions_metadata.json").read_bytes()
    )
    process.add(TWO, UPSTREAM / "saved_model_half_plus_two_tf2_cpu")
    try:
        told = process.ask("GET", f"/v1/models/{TWO}/metadata").json
    finally:
        process.remove(TWO)
    assert signatures(told)["serving_default"]["defaults"]["x"]["float_val"] == [0.0]
    for signature in signatures(told).values():
        signature["defaults"] = {}
    # The golden file leaves out one empty field, which it has in every other signature.
    init = signatures(golden)["__saved_model_init_op"]
    assert "defaults" not in init
    init["defaults"] = {}
    assert told == golden


# Models.


@pytest.mark.parametrize(
    "variant",
    [
        "saved_model_half_plus_two_gpu",
        "saved_model_half_plus_two_gpu_trt",
        "saved_model_half_plus_two_mkl",
        "saved_model_half_plus_two_mlmd",
        "saved_model_half_plus_two_cpu_with_saved_model_config",
        "saved_model_half_plus_two_cpu_with_empty_saved_model_config",
    ],
)
def test_variants(process: Process, grpc_client: GrpcClient, variant: str) -> None:
    """Made for other devices, or with files beside the model that concern other parts."""
    process.add(variant, UPSTREAM / variant)
    try:
        answer = process.predict(variant, {"instances": [1.0, 2.0, 5.0]})
        assert (answer.status, answer.json) == (200, {"predictions": [2.5, 3.0, 4.5]})
        request = f"model_spec {{ name: '{variant}' }}" + floats("x", 2)
        told = grpc_client.call(process.model_server.address, "Predict", request)
        assert told["outputs"]["y"]["float_val"] == [3.0]
        assert told["model_spec"] == spec(variant, 123)
    finally:
        process.remove(variant)


@pytest.mark.parametrize("old", ["bad_half_plus_two", "session_bundle_half_plus_two"])
def test_session_bundles(process: Process, old: str) -> None:
    process.add(old, UPSTREAM / old)
    try:
        (status,) = process.ask("GET", f"/v1/models/{old}").json["model_version_status"]
    finally:
        process.remove(old)
    assert (status["state"], *status["status"].values()) == (
        "END",
        "UNIMPLEMENTED",
        "Session Bundle is deprecated and removed.",
    )


# Configuration files.


def test_good_configuration_files(
    testdata: Path, tmp_path: Path, start: Callable[..., ModelServer]
) -> None:
    config = tmp_path / "good_model_config.txt"
    config.write_text(
        Template((testdata / "good_model_config.txt").read_text()).substitute(
            TEST_HALF_PLUS_TWO_DIR=testdata / "saved_model_half_plus_two_cpu",
            TEST_HALF_PLUS_THREE_DIR=testdata / "saved_model_half_plus_three",
        )
    )
    server = start(
        f"--model_config_file={config}",
        "--enable_batching",
        f"--batching_parameters_file={testdata / 'batching_config.txt'}",
        f"--monitoring_config_file={testdata / 'monitoring_config.txt'}",
    )
    server.wait_for("Exporting HTTP/REST API at")
    for name, expected in (("half_plus_two", 3.0), ("half_plus_three", 4.0)):
        status, body = server.rest(f"/v1/models/{name}:predict", '{"instances": [2.0]}')
        assert (status, json.loads(body)) == (200, {"predictions": [expected]})
    status, body = server.rest(
        "/v1/models/half_plus_two:predict", json.dumps({"instances": [2.0] * 129})
    )
    assert (status, json.loads(body)) == (
        400,
        {"error": "Task size 129 is larger than maximum input batch size 128"},
    )
    status, page = server.rest("/monitoring/prometheus/metrics")
    assert status == 200
    assert ':tensorflow:serving:request_count{model_name="half_plus_two",status="OK"} 1\n' in page
    assert ":tensorflow:serving:batching_session:wrapped_run_count{} 2\n" in page


def test_a_bad_configuration_file(testdata: Path) -> None:
    file = testdata / "bad_model_config.txt"
    code, output = run(f"--port={free_ports(1)[0]}", f"--model_config_file={file}")
    last = output.splitlines()[-1]
    assert code == 255
    assert last.startswith(
        f"Failed to start server. Error: INVALID_ARGUMENT: Invalid protobuf file: '{file}'"
    )
