"""Real `workbench model-server` processes, called over real sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.grpc_client import GrpcClient
from tests.conformance.model_server import ModelServer, config_text, entry, put
from tests.conformance.process import Process
from tests.shared import beside


@pytest.fixture(scope="session")
def process(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One server process with TensorFlow Serving's own test models, where they are at hand."""
    beside("tfserving", "testdata")
    folder = tmp_path_factory.mktemp("conformance")
    with pytest.MonkeyPatch.context() as patch:
        # Where the process enters itself, so that its control plane can be found.
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
        process = Process(models, folder)
        try:
            yield process
        finally:
            process.close()


@pytest.fixture(scope="session")
def grpc_client() -> Iterator[GrpcClient]:
    client = GrpcClient()
    yield client
    client.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ModelServer]]:
    """Starts servers with flags; they end with the test."""
    servers: list[ModelServer] = []

    def start(*flags: str) -> ModelServer:
        servers.append(ModelServer(tmp_path, *flags))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def all_models(
    models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ModelServer, Path]]:
    """One server of many models, without batching, and the folder that they lie in."""
    folder = tmp_path_factory.mktemp("served")
    names = ("counter", "text", "multi", "defaults", "identity", "lookup", "rows", "slow")
    for name in names:
        put(models / name, folder / name, 1)
    put(models / "half_plus_two", folder / "half", 1)
    put(models / "half_plus_three", folder / "half", 2)
    config = folder / "models.config"
    config.write_text(
        config_text(
            *(entry(name, folder / name) for name in names),
            entry("half", folder / "half", "model_version_policy { all {} } "
                  'version_labels { key: "stable" value: 1 }'),
        )
    )  # fmt: skip
    server = ModelServer(
        folder,
        f"--model_config_file={config}",
        "--enable_grpc_healthcheck_service",
        f"--grpc_socket_path={folder}/grpc.sock",
    )
    server.wait_for("Exporting HTTP/REST API at")
    yield server, folder
    assert server.stop() == 0


Call = Callable[..., Any]


@pytest.fixture
def call(all_models: tuple[ModelServer, Path], grpc_client: GrpcClient) -> Call:
    """Calls a method of the module's server: `call(method, request in text format)`."""
    server, _ = all_models

    def call(method: str, request: str, **how: Any) -> Any:
        return grpc_client.call(server.address, method, request, **how)

    return call
