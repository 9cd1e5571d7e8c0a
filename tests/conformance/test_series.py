"""The series of TensorFlow Serving's metrics, on the page of a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.grpc_client import GrpcClient
from tests.conformance.model_server import ModelServer
from tests.conformance.process import ask
from tests.conformance.test_batching_facts import Caller
from tests.conformance.test_grpc import floats, task
from tests.conformance.test_grpc_errors import _TWO
from tests.conformance.test_warmup_and_metrics import samples
from tests.conformance.warmups import bad_warmups, warmup_records

PATH = "/monitoring/prometheus/metrics"
S = ":tensorflow:serving:"
B = f"{S}batching_session:"
Page = dict[tuple[Any, ...], float]


@pytest.fixture
def server(batched: tuple[ModelServer, Path]) -> ModelServer:
    return batched[0]


def page(server: ModelServer) -> Page:
    status, text = server.rest(PATH)
    assert status == 200
    return samples(text)


def added(server: ModelServer, work: Callable[[], object]) -> Page:
    """What a piece of work adds to TensorFlow Serving's series, times and buckets left out."""
    before = page(server)
    work()
    changed = {key: value - before.get(key, 0.0) for key, value in page(server).items()}
    return {
        key: value
        for key, value in changed.items()
        if value
        and key[0].startswith(S)
        and not key[0].endswith("_bucket")
        and not key[0].endswith("latency_sum")
    }


def bounds(server: ModelServer, series: str) -> list[str]:
    """The upper bounds of a histogram, of which `series` is the name and any labels."""
    text = server.rest(PATH)[1]
    found = [
        line.partition('le="')[2].partition('"')[0]
        for line in text.splitlines()
        if line.startswith(series)
    ]
    assert found, series
    return found


def exponential(first: float, factor: float, count: int) -> list[str]:
    return [*(f"{first * factor**i:g}" for i in range(count)), "+Inf"]


def name(model: str) -> tuple[str, str]:
    return ("model_name", model)


# Requests.


def test_grpc_requests(server: ModelServer, grpc_client: GrpcClient) -> None:
    """Predict, Classify and Regress are counted; the others are not."""

    def grpc(method: str, request: str) -> Any:
        return grpc_client.call(server.address, method, request)

    plain = "model_spec {{ name: 'plain' signature_name: '{}' }}"
    for method, request in (
        ("Predict", plain.format("") + floats("x", 1)),
        ("Classify", plain.format("classify_x_to_y") + _TWO),
        ("Regress", plain.format("regress_x_to_y") + _TWO),
    ):
        assert added(server, lambda m=method, r=request: grpc(m, r)) == {  # type: ignore[misc]
            (f"{S}request_count", name("plain"), ("status", "OK")): 1,
            (
                f"{S}request_latency_count",
                ("API", method),
                ("entrypoint", "GRPC"),
                name("plain"),
            ): 1,
            (
                f"{S}runtime_latency_count",
                ("API", method),
                name("plain"),
                ("runtime", "TF1"),
            ): 1,
        }
    assert added(server, lambda: grpc("Classify", plain.format("no") + _TWO)) == {
        (f"{S}request_count", name("plain"), ("status", "INVALID_ARGUMENT")): 1
    }
    for method, request in (
        ("GetModelStatus", "model_spec { name: 'plain' }"),
        ("GetModelMetadata", "model_spec { name: 'plain' } metadata_field: 'signature_def'"),
    ):
        assert added(server, lambda m=method, r=request: grpc(m, r)) == {}  # type: ignore[misc]


def test_multi_inference(server: ModelServer, grpc_client: GrpcClient) -> None:
    """It is not in the count of requests, and alone counts its examples."""
    request = (
        task("regress_x_to_y", "tensorflow/serving/regress", "plain")
        + task("classify_x_to_y", "tensorflow/serving/classify", "plain")
        + _TWO
    )
    found = added(server, lambda: grpc_client.call(server.address, "MultiInference", request))
    assert {key: value for key, value in found.items() if "runtime" not in key[0]} == {
        (f"{S}request_example_count_total".removesuffix("_total"), ("model", "plain")): 2,
        (f"{S}request_example_counts_count", ("model", "plain")): 1,
        (f"{S}request_example_counts_sum", ("model", "plain")): 2,
    }
    assert bounds(server, f'{S}request_example_counts_bucket{{model="plain"') == exponential(
        1, 2, 15
    )


@pytest.mark.parametrize(
    ("method", "target", "body", "model", "status", "api"),
    [
        ("POST", "plain:predict", {"instances": [1.0]}, "plain", "OK", "predict"),
        (
            "POST",
            "plain:classify",
            {"signature_name": "classify_x_to_y", "examples": [{"x": 1.0}]},
            "plain",
            "OK",
            "classify",
        ),
        (
            "POST",
            "plain:regress",
            {"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}]},
            "plain",
            "OK",
            "regress",
        ),
        ("GET", "plain", None, "plain", "OK", ""),
        ("GET", "plain/metadata", None, "plain", "OK", ""),
        ("POST", "plain:predict", {}, "plain", "INVALID_ARGUMENT", ""),
        # Whatever clients may ask for, there is no series for it.
        ("GET", "none", None, "", "NOT_FOUND", ""),
        ("POST", "none:predict", {"instances": [1.0]}, "", "NOT_FOUND", ""),
        ("GET", "plain/none", None, "", "INVALID_ARGUMENT", ""),
    ],
)
def test_rest_requests(
    server: ModelServer,
    method: str,
    target: str,
    body: Any,
    model: str,
    status: str,
    api: str,
) -> None:
    found = added(server, lambda: ask(server.rest_port, method, f"/v1/models/{target}", body))
    expected = {(f"{S}request_count", name(model), ("status", status)): 1.0}
    if status == "OK":
        labels = (("API", api), ("entrypoint", "REST"), name(model))
        expected[(f"{S}request_latency_count", *labels)] = 1
    if api:
        labels = (("API", api.capitalize()), name(model), ("runtime", "TF1"))
        expected[(f"{S}runtime_latency_count", *labels)] = 1
    assert found == expected


def test_bounds_of_latencies(server: ModelServer) -> None:
    body = {"instances": [1.0]}
    assert ask(server.rest_port, "POST", "/v1/models/plain:predict", body).status == 200
    for series in (
        'request_latency_bucket{model_name="plain",API="predict",entrypoint="REST"',
        'runtime_latency_bucket{model_name="plain",API="Predict",runtime="TF1"',
    ):
        assert bounds(server, S + series) == exponential(10, 1.8, 33)


# Batches and warm-up.


def test_a_batch(server: ModelServer) -> None:
    """Two rows, padded to three."""
    found = added(server, lambda: Caller(server, "count", [1.0] * 2, "tight").rows())
    assert {key: value for key, value in found.items() if key[0].startswith(B)} == {
        (f"{B}input_batch_size_count",): 1,
        (f"{B}input_batch_size_sum",): 2,
        (f"{B}padding_size_count", ("execution_batch_size", "3")): 1,
        (f"{B}padding_size_sum", ("execution_batch_size", "3")): 1,
        (f"{B}processed_batch_size_count",): 1,
        (f"{B}processed_batch_size_sum",): 3,
        (f"{B}wrapped_run_count",): 1,
        # Its sum is a time, which could be any.
        (f"{B}queuing_latency_count", ("thread_pool_name", "")): 1,
    }
    assert bounds(server, f"{B}queuing_latency_bucket") == exponential(100, 1.2, 52)
    sizes = exponential(1, 2, 14)
    for series in (
        "input_batch_size_bucket",
        "processed_batch_size_bucket",
        'padding_size_bucket{execution_batch_size="3"',
    ):
        assert bounds(server, B + series) == sizes


def test_warm_up(batched: tuple[ModelServer, Path]) -> None:
    server, folder = batched
    found = page(server)
    labels = (("model_path", f"{folder}/warm/1"), ("status", "OK"))
    assert found[(f"{S}model_warmup_records_read", *labels)] == len(warmup_records())
    assert found[(f"{S}model_warmup_latency_count", *labels)] == 1
    series = f'{S}model_warmup_latency_bucket{{model_path="{folder}/warm/1",status="OK"'
    assert bounds(server, series) == exponential(10, 1.8, 33)


def test_warm_ups_that_failed(batched: tuple[ModelServer, Path]) -> None:
    """Counted under what went wrong."""
    server, folder = batched
    found = page(server)
    for version, (code, _) in enumerate(bad_warmups(), 2):
        labels = (("model_path", f"{folder}/bad_warmup/{version}"), ("status", code))
        assert found[(f"{S}model_warmup_latency_count", *labels)] == 1, code


# The page.


def test_a_query_is_refused(server: ModelServer) -> None:
    answer = ask(server.rest_port, "GET", f"{PATH}?x=1")
    assert (answer.status, answer.headers["Content-Type"], answer.body.decode()) == (
        400,
        "text/plain",
        f"Unexpected path: {PATH}?x=1. Should be {PATH}",
    )


def test_layout(server: ModelServer) -> None:
    assert Caller(server, "count", [1.0], "untimed").rows() == [1]
    answer = ask(server.rest_port, "GET", PATH)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain")
    lines = answer.body.decode().split("\n")
    assert lines[-1] == ""
    assert [line for line in lines if line.startswith(f"# TYPE {S}")] == [
        f"# TYPE {S}{about}"
        for about in (
            "batching_session:input_batch_size histogram",
            "batching_session:padding_size histogram",
            "batching_session:processed_batch_size histogram",
            "batching_session:queuing_latency histogram",
            "batching_session:wrapped_run_count counter",
            "mlmd_map gauge",
            "model_warmup_latency histogram",
            "model_warmup_records_read counter",
            "request_count counter",
            "request_example_count_total counter",
            "request_example_counts histogram",
            "request_latency histogram",
            "request_log_count counter",
            "runtime_latency histogram",
        )
    ]
    assert not [line for line in lines if line.startswith(f"# HELP {S}")]
    # A series without labels keeps its braces.
    assert [line for line in lines if line.startswith(f"{B}wrapped_run_count{{}} ")]
    assert json.dumps(answer.headers["Content-Length"]) == f'"{len(answer.body)}"'
