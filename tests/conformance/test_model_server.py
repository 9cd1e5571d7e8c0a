"""`workbench model-server` as a process: flags, configuration files, exit codes, signals."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.conformance.grpc_client import GrpcClient
from tests.conformance.model_server import (
    START_SECONDS,
    ModelServer,
    config_text,
    entry,
    free_ports,
    put,
)
from tests.shared import beside
from workbench.client.control_client import ControlClient

Start = Callable[..., ModelServer]
READY = "Exporting HTTP/REST API at"
_HALF = (
    "inputs { key: 'x' value { dtype: DT_FLOAT tensor_shape { dim { size: 1 } } float_val: 2 } }"
)


def run(*flags: str) -> tuple[int, str]:
    """Exit code and output of a server that ends by itself."""
    done = subprocess.run(
        [sys.executable, "-m", "workbench.cli.main", "model-server", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=START_SECONDS,
    )
    return done.returncode, done.stdout


def wait_until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + START_SECONDS
    while not holds():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.05)


@pytest.fixture
def half(models: Path, tmp_path: Path) -> Path:
    put(models / "half_plus_two", tmp_path / "half", 1)
    return tmp_path / "half"


# Starting and ending.


def test_one_model_and_sigterm(half: Path, start: Start) -> None:
    server = start(f"--model_base_path={half}", "--num_load_threads=4", "--no_such_flag=1")
    server.wait_for(READY)
    # Lines of the server process begin with the time of day.
    # A folder that was copied a moment ago is left to settle first, and that is said as well.
    said = [
        line[13:]
        for line in server.output.splitlines()
        if line[:1].isdigit() and "is not complete yet" not in line
    ]
    assert said == [
        "Adding/updating models.",
        " (Re-)adding model: default",
        "Successfully reserved resources to load servable {name: default version: 1}",
        "Approving load for servable version {name: default version: 1}",
        "Loading servable version {name: default version: 1}",
        f"Reading SavedModel from: {half}/1",
        "Reading meta graph with tags { serve }",
        said[7],
        f"No warmup data file found at {half}/1/assets.extra/tf_serving_warmup_requests",
        "Successfully loaded servable version {name: default version: 1}",
        "Finished adding/updating models",
        "Using InsecureServerCredentials",
        f"Running gRPC ModelServer at {server.address} ...",
        f"Exporting HTTP/REST API at:localhost:{server.rest_port} ...",
    ]
    assert said[7].startswith("SavedModel load for tags { serve }; Status: success: OK. Took ")
    assert server.output.splitlines()[:3] == [
        "--num_load_threads has no effect here: each version loads in a process of its own and "
        "blocks no other",
        "unknown argument: --no_such_flag=1",
        "Building single TensorFlow model file config:  "
        f"model_name: default model_base_path: {half}",
    ]
    status, body = server.rest("/v1/models/default:predict", '{"instances": [2.0]}')
    assert (status, json.loads(body)) == (200, {"predictions": [3.0]})
    assert server.stop() == 0
    assert "Server is stopping: SIGTERM" in server.output
    assert os.listdir(half.parent / "runtime") == []


def test_what_waits_is_answered_before_the_end(
    models: Path, tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(models / "slow", tmp_path / "slow", 1)
    server = start(f"--model_base_path={tmp_path}/slow")
    server.wait_for(READY)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    control = ControlClient(f"model-server-{server.port}")
    answers: list[tuple[int, str]] = []
    body = '{"instances": [{"x": 1.0, "steps": 1500}]}'
    caller = threading.Thread(
        target=lambda: answers.append(server.rest("/v1/models/default:predict", body))
    )
    caller.start()
    wait_until(lambda: control.describe_server()["outstanding"] == 1, "the request is in progress")
    assert server.stop() == 0
    caller.join(START_SECONDS)
    assert [(status, json.loads(text)) for status, text in answers] == [
        (200, {"predictions": [1.0]})
    ]


def test_ports_open_when_the_models_have_loaded(
    models: Path, half: Path, tmp_path: Path, start: Start
) -> None:
    config = tmp_path / "models.config"
    policy = "model_version_policy { specific { versions: 1 versions: 4 } }"
    put(models / "half_plus_three", half, 4)
    config.write_text(
        config_text(entry("half", half, policy), entry("wrong", tmp_path / "missing"))
    )
    server = start(f"--model_config_file={config}")
    server.wait_for(READY)
    before = server.output[: server.output.index(READY)]
    for version in (1, 4):
        line = f"Successfully loaded servable version {{name: half version: {version}}}"
        assert line in before
    # A wrong base path harms its own model only, and can be mended.
    assert (
        "FileSystemStoragePathSource encountered a filesystem access error: Could not find base "
        f"path {tmp_path}/missing for servable wrong with error NOT_FOUND: {tmp_path}/missing not "
        "found. Create it, or correct the model's base path."
    ) in before
    assert server.rest("/v1/models/wrong:predict", '{"instances": [2.0]}')[0] == 404
    put(models / "half_plus_two", tmp_path / "missing", 1)
    server.wait_for("Successfully loaded servable version {name: wrong version: 1}")
    assert server.rest("/v1/models/wrong:predict", '{"instances": [2.0]}')[0] == 200


def test_a_model_that_cannot_be_loaded_ends_it(models: Path, tmp_path: Path) -> None:
    put(models / "bad_graph", tmp_path / "bad", 1)
    code, output = run(f"--port={free_ports(1)[0]}", f"--model_base_path={tmp_path}/bad")
    assert code == 255
    last = [line for line in output.splitlines() if line.startswith("Failed to start server.")]
    assert len(last) == 1
    assert last[0].startswith(
        "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: "
        "{{{name: default version: 1} due to error: "
    )


def test_it_serves_on_the_same_ports_after_its_server_process_died(
    half: Path, start: Start, grpc_client: GrpcClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(f"--model_base_path={half}")
    server.wait_for(READY)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(half.parent / "runtime"))
    control = ControlClient(f"model-server-{server.port}")
    pid = control.describe_server()["pid"]
    os.kill(pid, 9)
    wait_until(lambda: server.output.count(READY) == 2, "it is ready again")
    wait_until(
        lambda: server.rest("/v1/models/default:predict", '{"instances": [2.0]}')[0] == 200,
        "the model serves again",
    )
    answer = grpc_client.call(server.address, "Predict", "model_spec { name: 'default' }" + _HALF)
    assert answer["outputs"]["y"]["float_val"] == [3.0]


@pytest.mark.parametrize(
    ("flags", "last"),
    [
        ([], "INVALID_ARGUMENT: Both server_options.model_base_path and "
         "server_options.model_config_file are empty!"),
        (["--model_base_path=rel"], "INVALID_ARGUMENT: Expected model default to have an absolute "
         "path or URI; got base_path()=rel"),
        (["--port=x"], "INVALID_ARGUMENT: Couldn't interpret value x for flag port."),
        (["--enable_batching=maybe"],
         "INVALID_ARGUMENT: Couldn't interpret value maybe for flag enable_batching."),
        (["--model_base_path"],
         "INVALID_ARGUMENT: Flag model_base_path needs a value: --model_base_path=..."),
        (["--model_base_path=/m", "--batching_parameters_file=/b"], "INVALID_ARGUMENT: "
         "server_options.batching_parameters_file is set without setting "
         "server_options.enable_batching to true."),
        (["--use_alts_credentials"], "FAILED_PRECONDITION: --use_alts_credentials is not "
         "supported: the connection would not be protected by ALTS"),
        (["--platform_config_file=/p"], "FAILED_PRECONDITION: --platform_config_file is not "
         "supported: the only platform is tensorflow"),
        (["--mixed_precision=bfloat16"], "FAILED_PRECONDITION: --mixed_precision is not supported: "
         "models run in the precision that they were saved in"),
        (["--model_config_file=/no/such/file"],
         "NOT_FOUND: /no/such/file cannot be read: No such file or directory"),
    ],
)  # fmt: skip
def test_what_cannot_be_started_says_why(flags: list[str], last: str) -> None:
    code, output = run(*flags)
    assert code == 255
    assert output.splitlines()[-1] == f"Failed to start server. Error: {last}"


def test_a_port_that_is_taken(half: Path, start: Start) -> None:
    server = start(f"--model_base_path={half}")
    server.wait_for(READY)
    code, output = run(f"--port={server.port}", "--rest_api_port=0", f"--model_base_path={half}")
    assert code == 255
    assert output.splitlines()[-1] == (
        f"Failed to start server. Error: FAILED_PRECONDITION: Port {server.port} of 127.0.0.1 "
        "cannot be used: Address already in use. Choose another port, or 0 to let the system "
        "choose."
    )


def test_version_and_help() -> None:
    code, output = run("--version")
    assert code == 0
    first, second = output.splitlines()
    assert first.startswith("TensorFlow ModelServer: serving-workbench ")
    assert second.startswith("TensorFlow Library: ")
    code, output = run("--help")
    assert code == 0
    assert "  --port=8500\n        TCP port for gRPC; 0: none.\n" in output


# Who may call.


@pytest.mark.parametrize("cors", [False, True])
def test_preflight_requests(half: Path, start: Start, cors: bool) -> None:
    server = start(f"--model_base_path={half}", f"--rest_api_enable_cors_support={cors}".lower())
    server.wait_for(READY)
    for host in ("127.0.0.1", "elsewhere.example"):
        for origin, status in (
            ("https://lab.example", 200),
            ("http://lab.example", 200),
            ("lab.example", 400),
            (None, 400),
        ):
            headers = {"Host": host, **({} if origin is None else {"Origin": origin})}
            answer, body = ask(server, "OPTIONS", "/v1/models/default:predict", headers)
            assert (answer.status, body) == (status, b"")
            allowed = answer.headers["Access-Control-Allow-Origin"]
            assert allowed == ("*" if cors else None)
    answer, _ = ask(server, "GET", "/v1/models/default", {"Origin": "https://lab.example"})
    assert answer.status == (200 if cors else 403)


@pytest.mark.slow
def test_hosts_and_origins_can_be_allowed(half: Path, start: Start) -> None:
    headers = {"Host": "models.example", "Origin": "https://lab.example"}
    target = "/v1/models/default"
    server = start(f"--model_base_path={half}")
    server.wait_for(READY)
    answer, body = ask(server, "GET", target, headers)
    assert (answer.status, json.loads(body)) == (
        403,
        {
            "error": "Host 'models.example' is not one of this server's names. Call it by the "
            "address it listens on, or allow the name when starting it."
        },
    )
    for hosts, origins in (("models.example", "https://a.example, https://lab.example"), "**"):
        server = start(
            f"--model_base_path={half}",
            f"--allowed_hosts={hosts}",
            f"--allowed_origins={origins}",
        )
        server.wait_for(READY)
        answer, _ = ask(server, "GET", target, headers)
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] is None


def ask(
    server: ModelServer, method: str, target: str, headers: dict[str, str]
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=START_SECONDS)
    try:
        connection.request(method, target, headers=headers)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


# Folders.


def test_a_folder_that_is_looked_at_once(models: Path, tmp_path: Path, start: Start) -> None:
    """A version that was copied a moment ago is not lost, at the start as after a reload."""
    put(models / "half_plus_two", tmp_path / "half", 1)
    config = tmp_path / "models.config"
    config.write_text(config_text(entry("half", tmp_path / "half")))
    server = start(
        f"--model_config_file={config}",
        "--file_system_poll_wait_seconds=0",
        "--model_config_file_poll_wait_seconds=1",
    )
    server.wait_for("Successfully loaded servable version {name: half version: 1}")
    server.wait_for(READY)
    put(models / "half_plus_three", tmp_path / "three", 3)
    config.write_text(
        config_text(entry("half", tmp_path / "half"), entry("three", tmp_path / "three"))
    )
    server.wait_for("Successfully loaded servable version {name: three version: 3}")
    status, body = server.rest("/v1/models/three:predict", '{"instances": [2.0]}')
    assert (status, json.loads(body)) == (200, {"predictions": [4.0]})


@pytest.mark.parametrize("kept", [True, False])
def test_a_folder_that_became_empty(half: Path, start: Start, kept: bool) -> None:
    flags = [] if kept else ["--servable_versions_always_present=false"]
    server = start(f"--model_base_path={half}", *flags)
    server.wait_for(READY)
    shutil.rmtree(half / "1")
    server.wait_for("No versions of servable default found under base path")
    if kept:
        server.wait_for("The folder of default is empty, and its versions are still served.")
    else:
        server.wait_for("Done unloading servable version {name: default version: 1}")
    status, _ = server.rest("/v1/models/default:predict", '{"instances": [2.0]}')
    assert status == (200 if kept else 404)


def test_no_version_at_the_start_may_be_a_failure(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, output = run(
        f"--port={free_ports(1)[0]}",
        f"--model_base_path={tmp_path}/empty",
        "--fail_if_zero_versions_at_startup",
    )
    assert code == 255
    assert (
        "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: "
        "{{{name: default} due to error: NOT_FOUND: No versions of servable default found under "
        f"base path {tmp_path}/empty."
    ) in output


# Configuration files.


def test_a_bad_config_file(tmp_path: Path) -> None:
    config = tmp_path / "bad.config"
    config.write_text("improperly formatted file\n")
    code, output = run(f"--model_config_file={config}")
    assert code == 255
    parsed = "Error parsing text-format tensorflow.serving.ModelServerConfig: 1:1 : Message type"
    assert output.splitlines()[-2].startswith(parsed)
    assert output.splitlines()[-1] == (
        f"Failed to start server. Error: INVALID_ARGUMENT: Invalid protobuf file: '{config}' "
        '(1:1 : Message type "tensorflow.serving.ModelServerConfig" has no field named '
        '"improperly".)'
    )


def test_a_label_in_the_first_config(half: Path, tmp_path: Path) -> None:
    config = tmp_path / "models.config"
    config.write_text(config_text(entry("half", half, "version_labels { key: 'stable' value: 9 }")))
    code, output = run(f"--model_config_file={config}")
    assert (code, output.splitlines()[-1]) == (
        255,
        "Failed to start server. Error: FAILED_PRECONDITION: Request to assign label to version 9 "
        "of model half, which is not currently available for inference",
    )


def test_the_config_file_is_followed(
    models: Path, half: Path, tmp_path: Path, start: Start
) -> None:
    config = tmp_path / "models.config"
    config.write_text(config_text(entry("half", half)))
    server = start(f"--model_config_file={config}", "--model_config_file_poll_wait_seconds=1")
    server.wait_for(READY)
    put(models / "half_plus_three", tmp_path / "three", 3)

    def replace(text: str) -> None:
        beside = tmp_path / "models.config.new"
        beside.write_text(text)
        beside.rename(config)

    replace("nonsense")
    server.wait_for("PollFilesystemAndReloadConfig failed to ReloadConfig: INVALID_ARGUMENT: ")
    assert server.rest("/v1/models/half:predict", '{"instances": [2.0]}')[0] == 200
    replace(config_text(entry("three", tmp_path / "three")))
    server.wait_for("Successfully loaded servable version {name: three version: 3}")
    server.wait_for("Done unloading servable version {name: half version: 1}")
    status, body = server.rest("/v1/models/three:predict", '{"instances": [2.0]}')
    assert (status, json.loads(body)) == (200, {"predictions": [4.0]})


# Batching, monitoring, timeouts, TLS, health.


def rows_of(server: ModelServer, signature: str, values: list[float]) -> tuple[int, Any]:
    body = json.dumps({"signature_name": signature, "instances": values})
    status, text = server.rest("/v1/models/default:predict", body)
    return status, json.loads(text)


def test_without_batching_every_request_runs_alone(
    models: Path, tmp_path: Path, start: Start
) -> None:
    put(models / "rows", tmp_path / "rows", 1)
    server = start(f"--model_base_path={tmp_path}/rows")
    server.wait_for(READY)
    answers: list[tuple[int, Any]] = []
    callers = [
        threading.Thread(target=lambda: answers.append(rows_of(server, "count", [1.0])))
        for _ in range(16)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(START_SECONDS)
    assert answers == [(200, {"predictions": [{"y": 1.0, "rows": 1}]})] * 16
    assert server.rest("/monitoring/prometheus/metrics")[0] == 404


def test_batching_with_parameters_and_monitoring(
    models: Path, tmp_path: Path, start: Start
) -> None:
    put(models / "rows", tmp_path / "rows", 1)
    batching, monitoring = tmp_path / "batching.txt", tmp_path / "monitoring.txt"
    batching.write_text(
        "max_batch_size { value: 4 } batch_timeout_micros { value: 0 } "
        "allowed_batch_sizes: 3 allowed_batch_sizes: 4 num_batch_threads { value: 2 }"
    )
    monitoring.write_text('prometheus_config: { enable: true, path: "/metrics" }')
    server = start(
        f"--model_base_path={tmp_path}/rows",
        "--enable_batching",
        f"--batching_parameters_file={batching}",
        f"--monitoring_config_file={monitoring}",
    )
    server.wait_for(READY)
    wrapped = "Wrapping session to perform batch processing"
    assert wrapped in server.output
    lines = server.output.splitlines()
    (at,) = [i for i, line in enumerate(lines) if line.endswith(wrapped)]
    assert "SavedModel load for tags { serve }" in lines[at - 1]
    assert "No warmup data file found at" in lines[at + 1]
    # One row is padded to three, which each row is told.
    assert rows_of(server, "count", [1.0]) == (200, {"predictions": [{"y": 1.0, "rows": 3}]})
    assert rows_of(server, "count", [1.0] * 5) == (
        400,
        {"error": "Task size 5 is larger than maximum input batch size 4"},
    )
    status, page = server.rest("/metrics")
    assert status == 200
    assert ':tensorflow:serving:request_count{model_name="default",status="OK"} 1\n' in page


def test_each_version_has_its_own_batching_parameters(
    models: Path, tmp_path: Path, start: Start
) -> None:
    """A version without the file is not batched; the global file gives the threads alone."""
    with_file = put(models / "rows", tmp_path / "rows", 1)
    put(models / "rows", tmp_path / "rows", 2)
    (with_file / "batching_params.pbtxt").write_text(
        "max_batch_size { value: 2 } batch_timeout_micros { value: 0 } allowed_batch_sizes: 2"
    )
    common = tmp_path / "batching.txt"
    common.write_text("max_batch_size { value: 64 } num_batch_threads { value: 1 }")
    config = tmp_path / "models.config"
    config.write_text(
        config_text(entry("default", tmp_path / "rows", "model_version_policy { all {} }"))
    )
    server = start(
        f"--model_config_file={config}",
        "--enable_batching",
        f"--batching_parameters_file={common}",
        "--enable_per_model_batching_parameters",
    )
    server.wait_for(READY)

    def ask(version: int, values: list[float]) -> tuple[int, Any]:
        body = json.dumps({"signature_name": "count", "instances": values})
        status, text = server.rest(f"/v1/models/default/versions/{version}:predict", body)
        return status, json.loads(text)

    assert ask(1, [1.0]) == (200, {"predictions": [{"y": 1.0, "rows": 2}]})
    assert ask(1, [1.0] * 3) == (
        400,
        {"error": "Task size 3 is larger than maximum input batch size 2"},
    )
    assert ask(2, [1.0]) == (200, {"predictions": [{"y": 1.0, "rows": 1}]})
    assert ask(2, [1.0] * 65)[0] == 200


def test_batching_parameters_of_a_version_that_cannot_be_read(
    models: Path, tmp_path: Path, start: Start
) -> None:
    file = put(models / "rows", tmp_path / "rows", 1) / "batching_params.pbtxt"
    file.write_text("max_batch_size: many")
    server = start(
        f"--model_base_path={tmp_path}/rows",
        "--enable_batching",
        "--enable_per_model_batching_parameters",
    )
    assert server.process.wait(START_SECONDS) == 255
    (last,) = [line for line in server.output.splitlines() if "Failed to start server" in line]
    assert f"Invalid protobuf file: '{file}'" in server.output
    assert last.startswith("Failed to start server. Error: UNKNOWN: ")


def test_signatures_are_asked_for_their_own_method_alone(
    half: Path, start: Start, grpc_client: GrpcClient
) -> None:
    server = start(f"--model_base_path={half}", "--enable_signature_method_name_check")
    server.wait_for(READY)
    example = '"examples": [{"x": 2.0}]}'

    def rest(method: str, signature: str) -> tuple[int, Any]:
        body = f'{{"signature_name": "{signature}", {example}'
        status, text = server.rest(f"/v1/models/default:{method}", body)
        return status, json.loads(text)

    assert rest("classify", "classify_x_to_y") == (200, {"results": [[["", 3.0]]]})
    assert rest("regress", "regress_x_to_y") == (200, {"results": [3.0]})
    assert rest("classify", "regress_x_to_y") == (
        400,
        {
            "error": "Expected classification signature method_name to be "
            "tensorflow/serving/classify. Was: tensorflow/serving/regress"
        },
    )
    assert rest("regress", "serving_default") == (
        400,
        {
            "error": "Expected regression signature method_name to be tensorflow/serving/regress. "
            "Was: tensorflow/serving/predict"
        },
    )
    request = (
        "model_spec { name: 'default' signature_name: 'regress_x_to_y' } input { example_list { } }"
    )
    assert grpc_client.call(server.address, "Classify", request) == [
        "INVALID_ARGUMENT",
        "Expected classification signature method_name to be tensorflow/serving/classify. Was: "
        "tensorflow/serving/regress",
    ]
    # Prediction takes signatures of all three methods.
    assert server.rest("/v1/models/default:predict", '{"instances": [2.0]}')[0] == 200
    answer = grpc_client.call(server.address, "Predict", "model_spec { name: 'default' }" + _HALF)
    assert answer["outputs"]["y"]["float_val"] == [3.0]


def test_serialization_as_tensor_content(half: Path, start: Start, grpc_client: GrpcClient) -> None:
    """gRPC's answers change their form; REST, which ends the original, does not."""
    server = start(f"--model_base_path={half}", "--enable_serialization_as_tensor_content")
    server.wait_for(READY)
    answer = grpc_client.call(server.address, "Predict", "model_spec { name: 'default' }" + _HALF)
    output = answer["outputs"]["y"]
    assert "float_val" not in output
    content = base64.b64decode(output["tensor_content"])
    assert struct.unpack("<f", content) == (3.0,)
    status, body = server.rest("/v1/models/default:predict", '{"instances": [2.0]}')
    assert (status, json.loads(body)) == (200, {"predictions": [3.0]})


@pytest.mark.parametrize("verify", [False, True])
def test_tls(
    verify: bool, half: Path, tmp_path: Path, start: Start, grpc_client: GrpcClient
) -> None:
    ours, theirs = trustme.CA(), trustme.CA()
    issued = ours.issue_cert("localhost", "127.0.0.1")
    key, certificate = _pem(issued)
    config = tmp_path / "ssl.config"
    config.write_text(
        f"server_key: {json.dumps(key)} server_cert: {json.dumps(certificate)} "
        f"custom_ca: {json.dumps(theirs.cert_pem.bytes().decode())} "
        f"client_verify: {str(verify).lower()}"
    )
    server = start(f"--model_base_path={half}", f"--ssl_config_file={config}")
    server.wait_for("Running gRPC ModelServer")
    request = "model_spec { name: 'default' }" + _HALF

    def call(**how: Any) -> Any:
        answer = grpc_client.call(server.address, "Predict", request, **how)
        return answer[0] if isinstance(answer, list) else answer["outputs"]["y"]["float_val"]

    trusted = ours.cert_pem.bytes().decode()
    identity = list(_pem(theirs.issue_cert("client")))
    assert call(authority=trusted, identity=identity) == [3.0]
    assert call(authority=trusted) == ("UNAVAILABLE" if verify else [3.0])
    assert call() == "UNAVAILABLE"


def _pem(issued: trustme.LeafCert) -> tuple[str, str]:
    """A certificate's key, and the certificate with those that it rests on."""
    chain = "".join(pem.bytes().decode() for pem in issued.cert_chain_pems)
    return issued.private_key_pem.bytes().decode(), chain


# Upstream's own models.


@pytest.fixture(scope="module")
def testdata() -> Path:
    """TensorFlow Serving's own test models, where they are at hand."""
    return beside("tfserving", "testdata")


def test_upstreams_models_over_both_interfaces(
    testdata: Path, tmp_path: Path, start: Start, grpc_client: GrpcClient
) -> None:
    names = {
        "one": "saved_model_half_plus_two_cpu",
        "two": "saved_model_half_plus_two_2_versions",
        "tf2": "saved_model_half_plus_two_tf2_cpu",
        "matrix": "matrix_half_plus_two",
        "counter": "saved_model_counter",
        "three": "saved_model_half_plus_three",
    }
    config = tmp_path / "models.config"
    config.write_text(
        config_text(
            *(
                entry(name, testdata / folder, "model_version_policy { all {} }")
                for name, folder in names.items()
            )
        )
    )
    server = start(f"--model_config_file={config}")
    server.wait_for(READY)

    def grpc(name: str, signature: str = "", inputs: str = _HALF) -> Any:
        request = f"model_spec {{ name: '{name}' signature_name: '{signature}' }}" + inputs
        answer = grpc_client.call(server.address, "Predict", request)
        (output,) = answer["outputs"].values()
        return output["float_val"]

    for name, expected in (("one", 3.0), ("two", 3.0), ("tf2", 3.0), ("three", 4.0)):
        assert grpc(name) == [expected]
        status, body = server.rest(f"/v1/models/{name}:predict", '{"instances": [2.0]}')
        assert (status, json.loads(body)) == (200, {"predictions": [expected]})
    # The TF2 model's input has a default, over gRPC only.
    assert grpc("tf2", inputs="") == [2.0]
    assert grpc("matrix") == [3.0]
    assert [grpc("counter", s, "") for s in ("incr_counter", "incr_counter", "get_counter")] == [
        [1.0], [2.0], [2.0],
    ]  # fmt: skip
