"""Real `workbench model-server` processes, called over real sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.grpc_client import GrpcClient
from tests.conformance.model_server import ModelServer, config_text, entry, put
from tests.conformance.process import Process
from tests.conformance.reloading import Reloading
from tests.conformance.warmups import WARMUP_FILE, bad_warmups, warmup_records
from tests.shared import beside
from workbench.formats.wire.tfrecord import write_records


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


@pytest.fixture(scope="session")
def all_models(
    models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ModelServer, Path]]:
    """One server of many models, without batching, and the folder that they lie in."""
    folder = tmp_path_factory.mktemp("served")
    names = (
        "counter", "text", "multi", "defaults", "identity", "lookup", "rows", "slow", "tables",
        "shapes", "half_plus_two",
    )  # fmt: skip
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


_LONG = "batch_timeout_micros { value: 60000000 } "
_BATCHED = {
    # For each model its export and its own parameters; empty: not batched.
    "plain": ("half_plus_two", ""),
    "timed": ("rows", "max_batch_size { value: 10 } batch_timeout_micros { value: 100000 }"),
    "untimed": ("rows", "max_batch_size { value: 10 } batch_timeout_micros { value: 0 }"),
    "pairs": ("rows", _LONG + "max_batch_size { value: 2 }"),
    "tight": ("rows", "max_batch_size { value: 4 } allowed_batch_sizes: [1, 3, 4]"),
    "padded": (
        "half_plus_two",
        _LONG + "max_batch_size { value: 2 } pad_variable_length_inputs: true",
    ),
    "splitting": (
        "rows",
        _LONG + "max_batch_size { value: 20 } max_execution_batch_size { value: 6 } "
        "max_enqueued_batches { value: 2 } enable_large_batch_splitting { value: true }",
    ),
    "multi": ("multi", "max_batch_size { value: 4 }"),
    "counter": ("counter", "max_batch_size { value: 4 }"),
    "slow": ("slow", "max_batch_size { value: 1 }"),
    "warm": ("half_plus_two", "max_batch_size { value: 4 } allowed_batch_sizes: 4"),
}
_ALL = "model_version_policy { all {} }"
BAD_PARAMETERS = {
    "max_enqueued_batches { value: 0 } enable_large_batch_splitting { value: true }":
        "max_enqueued_batches must be positive; was 0",
    "max_batch_size { value: 4 } allowed_batch_sizes: [2, 3]":
        "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 3; expected 4",
    "max_batch_size { value: 4 } allowed_batch_sizes: [2] "
    "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 2 }":
        "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 2; expected 4",
    "max_batch_size { value: 4 } allowed_batch_sizes: [4, 2]":
        "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 2; expected 4",
    "max_batch_size { value: 4 } allowed_batch_sizes: [2, 8]":
        "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 8; expected 4",
    "allowed_batch_sizes: 128":
        "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 128; "
        "expected 1000",
    "num_batch_threads { value: 0 }": "num_batch_threads must be positive; was 0",
}  # fmt: skip
"""Parameters that a version cannot be loaded with, and why; they are versions 2, 3 ..."""


@pytest.fixture(scope="session")
def batched(
    models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ModelServer, Path]]:
    """One server with one batch thread, whose models each have their own batching parameters and
    whose versions have warm-up files; and the folder that they lie in."""
    folder = tmp_path_factory.mktemp("batched")
    for name, (export, parameters) in _BATCHED.items():
        version = put(models / export, folder / name, 1)
        if parameters:
            (version / "batching_params.pbtxt").write_text(parameters)
    write_records(str(folder / "warm" / "1" / WARMUP_FILE), list(warmup_records().values()))
    for number, parameters in enumerate(["", *BAD_PARAMETERS], 1):
        version = put(models / "rows", folder / "bad_parameters", number)
        if parameters:
            (version / "batching_params.pbtxt").write_text(parameters)
    put(models / "half_plus_two", folder / "bad_warmup", 1)
    for number, records in enumerate(bad_warmups().values(), 2):
        version = put(models / "half_plus_two", folder / "bad_warmup", number)
        write_records(str(version / WARMUP_FILE), records)
    config, common = folder / "models.config", folder / "batching.txt"
    config.write_text(
        config_text(
            *(entry(name, folder / name) for name in _BATCHED),
            *(entry(name, folder / name, _ALL) for name in ("bad_parameters", "bad_warmup")),
        )
    )
    # All but the threads stands in the versions' own files.
    common.write_text("num_batch_threads { value: 1 } max_batch_size { value: 3 }")
    monitoring = folder / "monitoring.txt"
    monitoring.write_text("prometheus_config { enable: true }")
    server = ModelServer(
        folder,
        f"--model_config_file={config}",
        "--enable_batching",
        "--enable_per_model_batching_parameters",
        f"--batching_parameters_file={common}",
        f"--monitoring_config_file={monitoring}",
        "--max_num_load_retries=0",
    )
    server.wait_for("Exporting HTTP/REST API at")
    yield server, folder
    assert server.stop() == 0


@pytest.fixture(scope="session")
def reloading(
    models: Path, tmp_path_factory: pytest.TempPathFactory, grpc_client: GrpcClient
) -> Iterator[Reloading]:
    """One server whose models the tests replace by reload requests."""
    reloading = Reloading(models, tmp_path_factory.mktemp("reloading"), grpc_client)
    yield reloading
    assert reloading.server.stop() == 0


Call = Callable[..., Any]


@pytest.fixture
def call(all_models: tuple[ModelServer, Path], grpc_client: GrpcClient) -> Call:
    """Calls a method of the module's server: `call(method, request in text format)`."""
    server, _ = all_models

    def call(method: str, request: str, **how: Any) -> Any:
        return grpc_client.call(server.address, method, request, **how)

    return call
