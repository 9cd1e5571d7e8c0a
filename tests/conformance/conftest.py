"""Real `workbench model-server` processes, called over real sockets."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.grpc_client import GrpcClient
from tests.conformance.process import UPSTREAM, Process

START_SECONDS = 60.0


class ModelServer:
    """A running `workbench model-server`; `output` is all that it has printed."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.port, self.rest_port = free_port(), free_port()
        self._log = folder / f"model-server-{self.port}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "workbench.cli.main",
                    "model-server",
                    f"--port={self.port}",
                    f"--rest_api_port={self.rest_port}",
                    *flags,
                ],
                stdout=log,
                stderr=log,
                env={**os.environ, "JUPYTER_RUNTIME_DIR": str(folder / "runtime")},
            )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str, seconds: float = START_SECONDS) -> None:
        """Wait until it has printed something."""
        end = time.monotonic() + seconds
        while text not in self.output:
            assert time.monotonic() < end, f"no {text!r} in:\n{self.output}"
            assert self.process.poll() is None, f"it has ended:\n{self.output}"
            time.sleep(0.05)

    def rest(self, path: str, body: str | None = None) -> tuple[int, str]:
        """Status and body of a REST request."""
        url = f"http://127.0.0.1:{self.rest_port}{path}"
        request = urllib.request.Request(url, None if body is None else body.encode())
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(15)
        finally:
            self.process.kill()
            self.process.wait()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def process(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One server process with TensorFlow Serving's own test models, where they are at hand."""
    if not UPSTREAM.is_dir():
        absent = f"TensorFlow Serving's test models are not in {UPSTREAM}"
        assert "CI" not in os.environ, absent
        pytest.skip(absent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path_factory.mktemp("home")))
        process = Process(models, tmp_path_factory.mktemp("models"))
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


def put(export: Path, base: Path, version: int) -> Path:
    """Publish a test model as a version: copied beside, then renamed."""
    base.mkdir(exist_ok=True, parents=True)
    shutil.copytree(export, base / f"{version}.tmp")
    return (base / f"{version}.tmp").rename(base / str(version))


def entry(name: str, base: Path, more: str = "") -> str:
    """A `ModelConfig` in text format."""
    return f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" {more} }}\n'


def config_text(*entries: str) -> str:
    return "model_config_list {\n" + "".join(entries) + "}\n"


Call = Callable[..., Any]


@pytest.fixture
def call(all_models: tuple[ModelServer, Path], grpc_client: GrpcClient) -> Call:
    """Calls a method of the module's server: `call(method, request in text format)`."""
    server, _ = all_models

    def call(method: str, request: str, **how: Any) -> Any:
        return grpc_client.call(server.address, method, request, **how)

    return call
