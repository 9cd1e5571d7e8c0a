"""What a client sees of batching, over the sockets of a real model server.

The models tell each row how many rows its batch had. Batches are closed by being full wherever
that is possible, so that nothing depends on how fast the machine is.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.model_server import ModelServer, put
from workbench.client.control_client import ControlClient

Start = Callable[..., ModelServer]
READY = "Exporting HTTP/REST API at"
LONG = "batch_timeout_micros { value: 20000000 }"
"""Twenty seconds: longer than the test, so that only something else closes a batch."""


def serve(start: Start, models: Path, folder: Path, model: str, parameters: str) -> ModelServer:
    put(models / model, folder / model, 1)
    file = folder / "batching.txt"
    file.write_text(parameters)
    server = start(
        f"--model_base_path={folder / model}",
        "--enable_batching",
        f"--batching_parameters_file={file}",
    )
    server.wait_for(READY)
    return server


class Caller:
    """A request in a thread of its own; `answer` waits for status and body."""

    def __init__(
        self, server: ModelServer, signature: str, instances: list[Any], model: str = "default"
    ) -> None:
        self._answer: tuple[int, Any]
        body = json.dumps({"signature_name": signature, "instances": instances})

        def call() -> None:
            status, text = server.rest(f"/v1/models/{model}:predict", body)
            self._answer = (status, json.loads(text))

        self._thread = threading.Thread(target=call)
        self._thread.start()

    def answer(self) -> tuple[int, Any]:
        self._thread.join(60)
        return self._answer

    def rows(self) -> list[int]:
        """For each of its rows, how many rows were in that row's batch."""
        status, body = self.answer()
        assert status == 200, body
        return [row["rows"] for row in body["predictions"]]


@pytest.fixture
def outstanding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Waits until so many requests are accepted and unanswered."""

    def wait(server: ModelServer, count: int) -> None:
        monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
        control = ControlClient(f"model-server-{server.port}")
        end = time.monotonic() + 60
        while control.describe_server()["outstanding"] != count:
            assert time.monotonic() < end, f"there were never {count} requests outstanding"
            time.sleep(0.02)

    return wait


Outstanding = Callable[[ModelServer, int], None]


def test_requests_share_a_batch_that_is_full(models: Path, tmp_path: Path, start: Start) -> None:
    server = serve(start, models, tmp_path, "rows", f"max_batch_size {{ value: 9 }} {LONG}")
    callers = [Caller(server, "count", [1.0] * rows) for rows in (1, 3, 5)]
    assert [caller.rows() for caller in callers] == [[9], [9] * 3, [9] * 5]


def test_a_batch_is_never_larger_than_allowed(
    models: Path, tmp_path: Path, start: Start, outstanding: Outstanding
) -> None:
    """Without splitting a gap is left: 8 and 3 rows do not fit into 10."""
    server = serve(start, models, tmp_path, "rows", f"max_batch_size {{ value: 10 }} {LONG}")
    first = Caller(server, "count", [1.0] * 8)
    outstanding(server, 1)
    second = Caller(server, "count", [1.0] * 3)
    assert first.rows() == [8] * 8
    outstanding(server, 1)
    third = Caller(server, "count", [1.0] * 7)
    assert (second.rows(), third.rows()) == ([10] * 3, [10] * 7)


def test_large_requests_are_split(models: Path, tmp_path: Path, start: Start) -> None:
    server = serve(
        start,
        models,
        tmp_path,
        "rows",
        "max_batch_size { value: 20 } max_execution_batch_size { value: 6 } "
        "enable_large_batch_splitting { value: true } batch_timeout_micros { value: 0 } "
        "num_batch_threads { value: 1 }",
    )
    assert Caller(server, "count", [1.0] * 15).rows() == [6] * 12 + [3] * 3


def test_signatures_and_sets_of_tensors_do_not_mix(
    models: Path, tmp_path: Path, start: Start, outstanding: Outstanding
) -> None:
    server = serve(start, models, tmp_path, "rows", f"max_batch_size {{ value: 2 }} {LONG}")
    alone = Caller(server, "picky", [1.0])
    outstanding(server, 1)
    pair = [Caller(server, "count", [1.0]) for _ in range(2)]
    assert [caller.rows() for caller in pair] == [[2], [2]]
    assert Caller(server, "picky", [2.0]).answer() == (200, {"predictions": [2.0]})
    assert alone.answer() == (200, {"predictions": [1.0]})


def test_padding_to_an_allowed_size_and_of_ragged_inputs(
    models: Path, tmp_path: Path, start: Start
) -> None:
    server = serve(
        start,
        models,
        tmp_path,
        "rows",
        f"max_batch_size {{ value: 4 }} {LONG} allowed_batch_sizes: 4 "
        "pad_variable_length_inputs: true",
    )
    two = [Caller(server, "ragged", [[1.0, 2.0]] * 2), Caller(server, "ragged", [[3.0] * 3] * 2)]
    # A shorter row is filled up with its tensor's first number.
    assert two[0].answer() == (200, {"predictions": [[1.0, 2.0, 1.0]] * 2})
    assert two[1].answer() == (200, {"predictions": [[3.0] * 3] * 2})


def test_without_padding_all_of_a_ragged_batch_fail(
    models: Path, tmp_path: Path, start: Start
) -> None:
    server = serve(start, models, tmp_path, "rows", f"max_batch_size {{ value: 2 }} {LONG}")
    callers = [Caller(server, "ragged", [[1.0] * length]) for length in (2, 3)]
    refusal = (
        "Tensors with name 'ragged:0' from different tasks have different shapes and padding is "
        "turned off. Set pad_variable_length_inputs to true, or ensure that all tensors with the "
        "same name have equal dimensions starting with the first dim."
    )
    assert [caller.answer() for caller in callers] == [(400, {"error": refusal})] * 2


def test_a_bad_row_fails_the_requests_it_was_merged_with(
    models: Path, tmp_path: Path, start: Start
) -> None:
    server = serve(start, models, tmp_path, "rows", f"max_batch_size {{ value: 2 }} {LONG}")
    callers = [Caller(server, "picky", [number]) for number in (1.0, -1.0)]
    answers = [caller.answer() for caller in callers]
    assert answers[0] == answers[1]
    assert answers[0][0] == 400
    assert "x has a negative" in answers[0][1]["error"]


def test_outputs_that_do_not_follow_the_rows(models: Path, tmp_path: Path, start: Start) -> None:
    server = serve(start, models, tmp_path, "rows", "max_batch_size { value: 2 }")
    assert Caller(server, "total", [1.0, 2.0]).answer() == (
        400,
        {"error": "Batched output tensor has 0 dimensions"},
    )
    assert Caller(server, "twice", [1.0, 2.0]).answer() == (
        400,
        {
            "error": "Batched output tensor's 0th dimension does not equal the sum of the 0th "
            "dimension sizes of the input tensors"
        },
    )


def test_a_full_queue_refuses_and_harms_no_other(
    models: Path, tmp_path: Path, start: Start, outstanding: Outstanding
) -> None:
    server = serve(
        start,
        models,
        tmp_path,
        "rows",
        f"max_batch_size {{ value: 2 }} max_enqueued_batches {{ value: 1 }} {LONG}",
    )
    waiting = Caller(server, "count", [1.0])
    outstanding(server, 1)
    assert Caller(server, "count", [1.0, 2.0]).answer() == (
        503,
        {
            "error": "The batch scheduling queue to which this task was submitted is full; "
            "currently 1 batches enqueued and max_enqueued_batches is 1"
        },
    )
    # Another signature's queue has room, and so has this one for what fits into its open batch.
    assert Caller(server, "picky", [1.0, 2.0]).answer() == (200, {"predictions": [1.0, 2.0]})
    assert Caller(server, "count", [1.0]).rows() == [2]
    assert waiting.rows() == [2]


def test_allowed_sizes_must_end_with_the_largest(
    models: Path, tmp_path: Path, start: Start
) -> None:
    put(models / "rows", tmp_path / "rows", 1)
    file = tmp_path / "batching.txt"
    file.write_text("max_batch_size { value: 2 } allowed_batch_sizes: 1 allowed_batch_sizes: 3")
    server = start(
        f"--model_base_path={tmp_path / 'rows'}",
        "--enable_batching",
        f"--batching_parameters_file={file}",
    )
    assert server.process.wait(60) == 255
    assert (
        "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 3; expected 2"
    ) in server.output
