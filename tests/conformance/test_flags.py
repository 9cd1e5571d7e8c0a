"""What flags of `workbench model-server` change, seen from outside of a real process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.grpc_client import GrpcClient
from tests.conformance.model_server import ModelServer, entry, free_ports, put
from tests.conformance.process import Answer, ask
from tests.conformance.test_grpc import floats, reload, spec
from workbench.client.control_client import ControlClient

_TOKEN = {"Authorization": "Bearer secret"}
_PAIRS = [["authorization", "Bearer secret"]]
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


@pytest.fixture(scope="module")
def server(
    models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ModelServer, Path]]:
    """One server with many flags whose effects do not meet."""
    folder = tmp_path_factory.mktemp("flags")
    put(models / "tagged", folder / "tagged", 1)
    server = ModelServer(
        folder,
        "--model_name=tagged",
        f"--model_base_path={folder}/tagged",
        "--saved_model_tags=serve,special",
        "--bind=0.0.0.0",
        "--token=secret",
        "--rest_api_enable_cors_support",
        "--file_system_poll_wait_seconds=0",
        "--tensorflow_session_parallelism=3",
        "--tensorflow_intra_op_parallelism=2",
        "--grpc_channel_arguments=grpc.max_receive_message_length=2000,grpc.max_metadata_size=9000",
        "--allow_version_labels_for_unavailable_models",
    )
    server.wait_for("Exporting HTTP/REST API at")
    yield server, folder
    assert server.stop() == 0
    assert "secret" not in server.output


@pytest.fixture
def rest(server: tuple[ModelServer, Path]) -> Callable[..., Answer]:
    def rest(method: str, target: str, body: Any = None, **headers: str) -> Answer:
        return ask(server[0].rest_port, method, target, body, headers)

    return rest


@pytest.fixture
def grpc(server: tuple[ModelServer, Path], grpc_client: GrpcClient) -> Callable[[str, str], Any]:
    def grpc(method: str, request: str) -> Any:
        return grpc_client.call(server[0].address, method, request, metadata=_PAIRS)

    return grpc


def test_the_meta_graph_with_these_tags_is_served(rest: Callable[..., Answer]) -> None:
    answer = rest("POST", "/v1/models/tagged:predict", {"instances": [2.0]}, **_TOKEN)
    assert (answer.status, answer.json) == (200, {"predictions": [5.0]})


def test_the_tags_are_logged(server: tuple[ModelServer, Path]) -> None:
    assert "Reading meta graph with tags { serve special }" in server[0].output


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/v1/models/tagged:predict", {"instances": [2.0]}),
        ("GET", "/v1/models/tagged", None),
        ("GET", "/v1/models/tagged/metadata", None),
        ("GET", "/v1/models", None),
        ("GET", "/elsewhere", None),
    ],
)
@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Basic secret"])
def test_rest_asks_for_the_token(
    rest: Callable[..., Answer], method: str, target: str, body: Any, authorization: str | None
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = rest(method, target, body, **headers)
    assert (answer.status, answer.headers["WWW-Authenticate"], answer.error) == (
        401,
        "Bearer",
        "This server needs its bearer token: send the header 'Authorization: Bearer <token>', or "
        "'X-Workbench-Token: <token>' through a proxy that takes Authorization for itself "
        "(server.token in Python, `workbench status --token NAME` in a terminal).",
    )


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_health_asks_for_no_token(rest: Callable[..., Answer], path: str) -> None:
    assert rest("GET", path).status == 200


@pytest.mark.parametrize(
    ("method", "target", "origin", "status"),
    [
        ("GET", "/v1/models/tagged", "https://lab.example", 200),
        ("GET", "/v1/models/tagged", None, 200),
        ("GET", "/v1/models/none", "http://lab.example", 404),
        ("PUT", "/v1/models/tagged", "http://lab.example", 400),
        ("OPTIONS", "/v1/models/tagged:predict", "https://lab.example", 200),
        ("OPTIONS", "/v1/models/tagged:predict", "http://lab.example", 200),
        ("OPTIONS", "/v1/models/tagged:predict", "lab.example", 400),
        ("OPTIONS", "/v1/models/tagged:predict", None, 400),
    ],
)
def test_cors(
    rest: Callable[..., Answer], method: str, target: str, origin: str | None, status: int
) -> None:
    headers = {**_TOKEN, **({"Origin": origin} if origin else {})}
    answer = rest(method, target, None, **headers)
    assert answer.status == status
    assert {name: answer.headers[name] for name in CORS} == CORS
    assert (answer.body == b"") == (method == "OPTIONS")


@pytest.mark.parametrize(
    ("origin", "status"), [("https://lab.example", 200), ("lab.example", 400), (None, 400)]
)
def test_options_without_cors(
    all_models: tuple[ModelServer, Path], origin: str | None, status: int
) -> None:
    """The answer is the same, but does not let a web page go on."""
    headers = {"Origin": origin} if origin else {}
    port = all_models[0].rest_port
    answer = ask(port, "OPTIONS", "/v1/models/half:predict", None, headers)
    assert (answer.status, answer.body) == (status, b"")
    assert not answer.headers.keys() & CORS.keys()


def test_all_addresses_are_listened_on(
    server: tuple[ModelServer, Path], grpc_client: GrpcClient
) -> None:
    """127.0.0.2 is this machine as well, and not what is listened on without the flag."""
    request = "model_spec { name: 'tagged' }" + floats("x", 2)
    address = f"127.0.0.2:{server[0].port}"
    answer = grpc_client.call(address, "Predict", request, metadata=_PAIRS)
    assert answer["outputs"]["y"]["float_val"] == [5.0]


def test_only_one_address_is_listened_on_without_bind(
    all_models: tuple[ModelServer, Path], grpc_client: GrpcClient
) -> None:
    request = "model_spec { name: 'half' }" + floats("x", 2)
    answer = grpc_client.call(f"127.0.0.2:{all_models[0].port}", "Predict", request)
    assert answer[0] == "UNAVAILABLE"


def test_channel_arguments(grpc: Callable[[str, str], Any]) -> None:
    request = "model_spec { name: 'tagged' }" + floats("x", *range(1000))
    code, text = grpc("Predict", request)
    assert code == "RESOURCE_EXHAUSTED"
    assert "larger than max" in text
    assert text.endswith("vs. 2000)")


def test_threads_of_an_operation(
    server: tuple[ModelServer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The more particular flag goes before the other."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(server[1] / "runtime"))
    control = ControlClient(f"model-server-{server[0].port}")
    told = control.describe_model("tagged")
    assert told["intra_op_threads"] == 2


def test_folders_are_looked_at_once(
    server: tuple[ModelServer, Path], grpc: Callable[[str, str], Any], models: Path
) -> None:
    """And a model that a reload brings is looked at then, for which the original never does."""
    folder = server[1]
    put(models / "tagged", folder / "tagged", 2)
    put(models / "tagged", folder / "later", 3)
    time.sleep(2.5)
    status = grpc("GetModelStatus", "model_spec { name: 'tagged' }")
    assert [told["version"] for told in status["model_version_status"]] == ["1"]
    both = reload(entry("tagged", folder / "tagged"), entry("later", folder / "later"))
    assert grpc("HandleReloadConfigRequest", both) == {"status": {}}
    answer = grpc("Predict", "model_spec { name: 'later' }" + floats("x", 2))
    assert answer["model_spec"] == spec("later", 3)


def test_labels_of_versions_that_are_not_there(
    server: tuple[ModelServer, Path], grpc: Callable[[str, str], Any]
) -> None:
    """A new label may name any version; one that is there may stay, and not move to nowhere."""

    def labelled(**versions: int) -> Any:
        labels = "".join(
            f" version_labels {{ key: '{name}' value: {version} }}"
            for name, version in versions.items()
        )
        config = entry("tagged", server[1] / "tagged", labels)
        return grpc("HandleReloadConfigRequest", reload(config))

    def ask_by(label: str) -> Any:
        request = f"model_spec {{ name: 'tagged' version_label: '{label}' }}" + floats("x", 2)
        return grpc("Predict", request)

    missing = ["NOT_FOUND", "Servable not found for request: Specific(tagged, 9)"]
    assert labelled(new=9) == {"status": {}}
    assert ask_by("new") == missing
    assert labelled(new=9, newer=8) == {"status": {}}
    assert labelled(new=7, newer=8) == [
        "FAILED_PRECONDITION",
        "Request to assign label to version 7 of model tagged, which is not currently available "
        "for inference",
    ]
    assert ask_by("new") == missing


def test_one_port_for_both_interfaces(
    models: Path, tmp_path: Path, start: Callable[..., ModelServer], grpc_client: GrpcClient
) -> None:
    """gRPC has it; REST is left out, and that is said. The model's type is the old spelling."""
    put(models / "half_plus_two", tmp_path / "half", 1)
    config = tmp_path / "models.config"
    config.write_text(
        entry("half", tmp_path / "half")
        .replace('model_platform: "tensorflow"', "model_type: TENSORFLOW")
        .join(["model_config_list { ", " }"])
    )
    (port,) = free_ports(1)
    server = start(f"--port={port}", f"--rest_api_port={port}", f"--model_config_file={config}")
    server.wait_for("Running gRPC ModelServer")
    assert (
        "server_options.http_port cannot be same as grpc_port. Please use different port for "
        "HTTP/REST API. Skipped exporting HTTP/REST API.\n"
    ) in server.output
    request = "model_spec { name: 'half' }" + floats("x", 2)
    answer = grpc_client.call(f"127.0.0.1:{port}", "Predict", request)
    assert answer["outputs"]["y"]["float_val"] == [3.0]
    assert "Exporting HTTP/REST API" not in server.output.replace("Skipped exporting", "")
