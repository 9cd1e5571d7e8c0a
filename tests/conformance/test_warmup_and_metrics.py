"""Warm-up files and the page for Prometheus, with the flags of a real model server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conformance.grpc_client import GrpcClient
from tests.conformance.model_server import ModelServer, put
from workbench.formats.wire.tfrecord import write_records
from workbench.server.engine.telemetry.warmup_recorder import prediction_log

Start = Callable[..., ModelServer]
READY = "Exporting HTTP/REST API at"
FILE = "assets.extra/tf_serving_warmup_requests"
GET = '{"signature_name": "get_counter", "inputs": {}}'
BY_TWO = prediction_log("any name", "incr_counter_by", {"delta": np.float32(2.0)}, ())


@pytest.fixture
def counter(models: Path, tmp_path: Path) -> Path:
    """A stateful model with three warm-up requests of two each."""
    version = put(models / "counter", tmp_path / "counter", 1)
    write_records(str(version / FILE), [BY_TWO] * 3)
    return tmp_path / "counter"


def count(server: ModelServer) -> tuple[int, str]:
    status, body = server.rest("/v1/models/default:predict", GET)
    return status, "".join(body.split())


def samples(page: str) -> dict[tuple[Any, ...], float]:
    """The page's values by name and sorted labels.

    The parser gives counters the suffix `_total`, which the original's do not have.
    """
    return {
        (sample.name.removesuffix("_total"), *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("flags", "counted"),
    [
        ([], 6.0),
        (["--num_request_iterations_for_warmup=2"], 12.0),
        (["--enable_model_warmup=false"], 0.0),
    ],
)
def test_recorded_requests_are_run_before_the_version_serves(
    flags: list[str], counted: float, counter: Path, start: Start
) -> None:
    server = start(f"--model_base_path={counter}", *flags)
    server.wait_for(READY)
    assert count(server) == (200, f'{{"outputs":{counted}}}')
    said = "Starting to read warmup data for model at " in server.output
    assert said == (counted > 0)
    assert ("Number of warmup records read: 3." in server.output) == (counted > 0)


def test_a_damaged_file_fails_the_load(counter: Path, start: Start) -> None:
    (counter / "1" / FILE).write_bytes(b"no records, only words")
    server = start(f"--model_base_path={counter}", "--max_num_load_retries=0")
    assert server.process.wait(60) == 255
    assert "Please verify your warmup data is in TFRecord format." in server.output


def test_both_interfaces_are_counted(
    models: Path, tmp_path: Path, start: Start, grpc_client: GrpcClient
) -> None:
    put(models / "half_plus_two", tmp_path / "half", 1)
    monitoring = tmp_path / "monitoring.txt"
    monitoring.write_text("prometheus_config { enable: true }")
    server = start(f"--model_base_path={tmp_path}/half", f"--monitoring_config_file={monitoring}")
    server.wait_for(READY)
    assert server.rest("/v1/models/default:predict", '{"instances": [1.0]}')[0] == 200
    assert server.rest("/v1/models/default:predict", "{}")[0] == 400
    assert server.rest("/v1/models/default")[0] == 200
    inputs = (
        "inputs { key: 'x' value { dtype: DT_FLOAT tensor_shape { dim { size: 1 } } "
        "float_val: 2 } }"
    )
    request = "model_spec { name: 'default' }"
    grpc_client.call(server.address, "Predict", request + inputs)
    grpc_client.call(server.address, "GetModelStatus", request)
    grpc_client.call(server.address, "Predict", request)

    status, page = server.rest("/monitoring/prometheus/metrics")
    assert status == 200
    values = samples(page)
    model, serving = ("model_name", "default"), ":tensorflow:serving:"
    assert values[f"{serving}request_count", model, ("status", "OK")] == 3
    assert values[f"{serving}request_count", model, ("status", "INVALID_ARGUMENT")] == 2
    for api, entrypoint in (("predict", "REST"), ("Predict", "GRPC")):
        labels = (("API", api), ("entrypoint", entrypoint), model)
        assert values[(f"{serving}request_latency_count", *labels)] == 1
    assert (
        values[f"{serving}runtime_latency_count", ("API", "Predict"), model, ("runtime", "TF1")]
        == 2
    )
