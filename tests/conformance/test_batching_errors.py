"""What batching refuses and in which words, and its finer rules, over a real server's sockets.

All models are in one process (`batched`), each with its own parameters. Batches are closed by
being full wherever that is possible, so that nothing depends on how fast the machine is.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.conftest import BAD_PARAMETERS
from tests.conformance.grpc_client import GrpcClient
from tests.conformance.model_server import ModelServer, config_text, entry, free_ports, put
from tests.conformance.process import ask
from tests.conformance.test_batching_facts import LONG, Caller
from tests.conformance.test_grpc import floats
from tests.conformance.test_model_server import run
from tests.conformance.test_warmup_and_metrics import samples
from workbench.client.control_client import ControlClient

_SPEC = "model_spec {{ name: '{}' signature_name: '{}' }}"


@pytest.fixture
def server(batched: tuple[ModelServer, Path]) -> ModelServer:
    return batched[0]


@pytest.fixture
def outstanding(
    batched: tuple[ModelServer, Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], None]:
    """Waits until so many requests are accepted and unanswered."""
    server, folder = batched
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
    control = ControlClient(f"model-server-{server.port}")

    def wait(count: int) -> None:
        end = time.monotonic() + 60
        while control.describe_server()["outstanding"] != count:
            assert time.monotonic() < end, f"there were never {count} requests outstanding"
            time.sleep(0.02)

    return wait


def closed(server: ModelServer, model: str) -> dict[str, float]:
    """How many batches of a model were closed, by the reason."""
    found = samples(server.rest("/monitoring/prometheus/metrics")[1])
    return {
        dict(labels)["reason"]: value
        for (name, *labels), value in found.items()
        if name == "workbench_batches_closed" and ("model", model) in labels
    }


# When a batch is closed.


def test_an_open_batch_waits_for_its_timeout(server: ModelServer) -> None:
    """It is not full, and its 0.1 s pass although a thread is free."""
    before = closed(server, "timed").get("timeout", 0)
    assert Caller(server, "count", [1.0] * 3, "timed").rows() == [3] * 3
    assert closed(server, "timed") == {"timeout": before + 1}


def test_without_a_timeout_a_free_thread_takes_what_is_there(server: ModelServer) -> None:
    before = closed(server, "untimed").get("executor_idle", 0)
    assert Caller(server, "count", [1.0] * 3, "untimed").rows() == [3] * 3
    assert closed(server, "untimed") == {"executor_idle": before + 1}


@pytest.mark.parametrize("model", ["untimed", "pairs"])
def test_a_request_of_no_rows_is_answered(server: ModelServer, model: str) -> None:
    """In TensorFlow Serving it waits for another request, for ever if none comes."""
    status, body = server.rest(
        f"/v1/models/{model}:predict", '{"signature_name": "count", "inputs": []}'
    )
    assert (status, json.loads(body)) == (200, {"outputs": {"y": [], "rows": []}})


def test_queues_take_turns(server: ModelServer, outstanding: Callable[[int], None]) -> None:
    """One thread: what waits in another queue goes before the rest of this one."""
    order: list[str] = []

    def call(model: str, body: str) -> None:
        status, text = server.rest(f"/v1/models/{model}:predict", body)
        assert status == 200, text
        order.append(model)

    def begin(model: str, body: str) -> threading.Thread:
        thread = threading.Thread(target=call, args=(model, body))
        thread.start()
        return thread

    # The first one takes so long that all others wait when it ends; the rest of its queue takes
    # so long that the callers note their answers in the order in which these were given.
    long = '{"instances": [{"x": 1.0, "steps": %d}]}'
    threads = [begin("slow", long % 10_000)]
    outstanding(1)
    threads += [begin("slow", long % 4_000) for _ in range(2)]
    outstanding(3)
    threads.append(begin("untimed", '{"signature_name": "picky", "instances": [1.0]}'))
    outstanding(4)
    for thread in threads:
        thread.join(60)
    assert sorted(order) == ["slow", "slow", "slow", "untimed"]
    # A queue that is new joins the end of the round: it may be third, and never last.
    assert order[0] == order[-1] == "slow", order


def test_an_output_filter_has_a_queue_of_its_own(
    server: ModelServer, outstanding: Callable[[int], None], grpc_client: GrpcClient
) -> None:
    first = Caller(server, "count", [1.0], "pairs")
    outstanding(1)
    request = _SPEC.format("pairs", "count") + floats("x", 5, 6) + "output_filter: 'y'"
    answer = grpc_client.call(server.address, "Predict", request)
    assert {name: t["float_val"] for name, t in answer["outputs"].items()} == {"y": [5.0, 6.0]}
    # In one queue the two rows would have closed the first request's batch.
    outstanding(1)
    second = Caller(server, "count", [2.0], "pairs")
    assert (first.rows(), second.rows()) == ([2], [2])


# Full queues, large requests.


def test_what_does_not_fit_although_it_would_be_split(
    server: ModelServer, outstanding: Callable[[int], None]
) -> None:
    waiting = Caller(server, "count", [1.0] * 5, "splitting")
    outstanding(1)
    answer = ask(
        server.rest_port,
        "POST",
        "/v1/models/splitting:predict",
        {"signature_name": "count", "instances": [1.0] * 15},
    )
    assert (answer.status, answer.reason, answer.error) == (
        503,
        "Service Unavailable",
        "The batch scheduling queue to which this task was submitted is full; task size is 15 but "
        "scheduling capacity is only 7 (num_enqueued_batches=1, max_enqueued_batches=2, "
        "open_batch_size=5, max_execution_batch_size=6)",
    )
    last = Caller(server, "count", [1.0], "splitting")
    assert (waiting.rows(), last.rows()) == ([6] * 5, [6])


@pytest.mark.parametrize(
    ("model", "rows", "largest"), [("splitting", 21, 20), ("tight", 5, 4), ("pairs", 3, 2)]
)
def test_requests_larger_than_any_batch(
    server: ModelServer, model: str, rows: int, largest: int
) -> None:
    assert Caller(server, "count", [1.0] * rows, model).answer() == (
        400,
        {"error": f"Task size {rows} is larger than maximum input batch size {largest}"},
    )


# Tensors.


@pytest.mark.parametrize(
    ("model", "signature", "inputs", "refusal"),
    [
        ("counter", "get_counter", "", "Batching Run() must have at least one input tensor"),
        (
            "counter",
            "incr_counter_by",
            floats("delta", 1, shape=""),
            "Batching Run() input tensors must have at least one dimension",
        ),
        (
            "multi",
            "",
            floats("a", 1, 2, 3, 4, shape="dim { size: 2 } dim { size: 2 }")
            + "inputs { key: 'b' value { dtype: DT_INT32 tensor_shape { dim { size: 3 } } "
            "int_val: 1 } }",
            "Batching Run() input tensors must have equal 0th-dimension size",
        ),
    ],
)
def test_inputs_that_are_no_batch(
    server: ModelServer,
    grpc_client: GrpcClient,
    model: str,
    signature: str,
    inputs: str,
    refusal: str,
) -> None:
    request = _SPEC.format(model, signature) + inputs
    assert grpc_client.call(server.address, "Predict", request) == ["INVALID_ARGUMENT", refusal]


def test_a_signature_without_inputs_cannot_be_batched(server: ModelServer) -> None:
    body = '{"signature_name": "get_counter", "inputs": {}}'
    status, text = server.rest("/v1/models/counter:predict", body)
    assert (status, json.loads(text)) == (
        400,
        {"error": "Batching Run() must have at least one input tensor"},
    )


@pytest.mark.parametrize(("rows", "run_with"), [(1, 1), (2, 3), (3, 3), (4, 4)])
def test_a_batch_is_padded_to_the_next_allowed_size(
    server: ModelServer, rows: int, run_with: int
) -> None:
    assert Caller(server, "count", [1.0] * rows, "tight").rows() == [run_with] * rows


def nest(value: Any, levels: int) -> Any:
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("instances", "answers"),
    [
        (
            [[[1, 2], [3, 4]], [[1, 2, 3], [4, 5, 6], [7, 8, 9]]],
            [
                # Filled up with the tensor's first element, which shows in the answer.
                [[2.5, 3.0, 2.5], [3.5, 4.0, 2.5], [2.5, 2.5, 2.5]],
                [[2.5, 3.0, 3.5], [4.0, 4.5, 5.0], [5.5, 6.0, 6.5]],
            ],
        ),
        ([[], [1.0]], "Got empty tensor in batch of non-empty tensors."),
        (
            [nest([1.0], 5), nest([1.0, 2.0], 5)],
            "Only tensors with rank from 1 to 6 can be padded.",
        ),
        ([[1.0], [[1.0]]], "Only tensors with rank from 1 to 6 can be padded."),
    ],
    ids=["matrices", "empty", "rank 7", "two ranks"],
)
def test_padding_of_ragged_tensors(server: ModelServer, instances: Any, answers: Any) -> None:
    callers = [Caller(server, "", [instance], "padded") for instance in instances]
    if isinstance(answers, str):
        expected = [(400, {"error": answers})] * 2
    else:
        expected = [(200, {"predictions": [answer]}) for answer in answers]
    assert [caller.answer() for caller in callers] == expected


# Parameters that cannot be.


def test_parameters_of_versions_that_cannot_be(server: ModelServer) -> None:
    """Each fails the load of its own version."""
    listed = json.loads(server.rest("/v1/models/bad_parameters")[1])["model_version_status"]
    told = [(s["version"], s["state"], *s["status"].values()) for s in listed]
    good = ("1", "AVAILABLE", "OK", "")
    expected = [
        (str(version), "END", "INVALID_ARGUMENT", text)
        for version, text in enumerate(BAD_PARAMETERS.values(), 2)
    ]
    assert told == [*reversed(expected), good]


@pytest.mark.parametrize(
    ("parameters", "refusal"),
    [
        ("num_batch_threads { value: 0 }", "num_batch_threads must be positive; was 0"),
        (
            "max_enqueued_batches { value: 0 } enable_large_batch_splitting { value: true }",
            "max_enqueued_batches must be positive; was 0",
        ),
    ],
)
def test_parameters_for_all_that_cannot_be(tmp_path: Path, parameters: str, refusal: str) -> None:
    file = tmp_path / "batching.txt"
    file.write_text(parameters)
    code, output = run(
        f"--port={free_ports(1)[0]}",
        f"--model_base_path={tmp_path}",
        "--enable_batching",
        f"--batching_parameters_file={file}",
    )
    assert (code, output.splitlines()[-1]) == (
        255,
        f"Failed to start server. Error: INVALID_ARGUMENT: {refusal}",
    )


# Deadlines.


def test_deadlines_of_rest(models: Path, tmp_path: Path, start: Callable[..., ModelServer]) -> None:
    """504 where the model runs too long, 429 where the batch is still waited for."""
    put(models / "shapes", tmp_path / "shapes", 1)
    put(models / "slow", tmp_path / "slow", 1)
    parameters = put(models / "rows", tmp_path / "rows", 1) / "batching_params.pbtxt"
    parameters.write_text(f"max_batch_size {{ value: 2 }} {LONG}")
    config = tmp_path / "models.config"
    names = ("shapes", "slow", "rows")
    config.write_text(config_text(*(entry(name, tmp_path / name) for name in names)))
    server = start(
        f"--model_config_file={config}",
        "--enable_batching",
        "--enable_per_model_batching_parameters",
        "--rest_api_timeout_in_ms=300",
    )
    server.wait_for("Exporting HTTP/REST API at")
    examples = {"examples": [{"x": 1.0}]}
    late = (504, "Gateway Time-out", "Timed out waiting for notification")
    for target, body, expected in (
        ("slow:predict", {"instances": [{"x": 1.0, "steps": 1_000_000}]}, late),
        ("shapes:classify", {"signature_name": "late_scores", **examples}, late),
        ("shapes:regress", {"signature_name": "late_outputs", **examples}, late),
        (
            "rows:predict",
            {"signature_name": "count", "instances": [1.0]},
            (429, "Client Error", "Run() timeout exceeded while waiting in batching queue"),
        ),
    ):
        answer = ask(server.rest_port, "POST", f"/v1/models/{target}", body)
        assert (answer.status, answer.reason, answer.error) == expected, target
