"""The settings of batching: what is allowed, in TensorFlow Serving's words."""

from __future__ import annotations

import pytest

from workbench.core.batching.parameters import BatchingParameters, next_allowed_batch_size
from workbench.core.status import ServingError, invalid_argument


@pytest.mark.parametrize(
    ("size", "allowed", "expected"),
    [(3, (2, 4, 8), 4), (2, (2, 4, 8), 2), (10, (2, 4, 8), 10), (3, (), 3), (2, (1, 3, 4), 3)],
)
def test_next_allowed_batch_size(size: int, allowed: tuple[int, ...], expected: int) -> None:
    assert next_allowed_batch_size(size, allowed) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_batch_size": 0}, "max_batch_size must be positive; was 0"),
        ({"batch_timeout_micros": -1}, "batch_timeout_micros must be non-negative; was -1"),
        ({"max_enqueued_batches": -1}, "max_enqueued_batches must be non-negative; was -1"),
        (
            {"max_enqueued_batches": 0, "enable_large_batch_splitting": True},
            "max_enqueued_batches must be positive; was 0",
        ),
        ({"num_batch_threads": 0}, "num_batch_threads must be positive; was 0"),
        ({"max_execution_batch_size": 0}, "max_execution_batch_size must be positive; was 0"),
        (
            {
                "max_batch_size": 4,
                "max_execution_batch_size": 8,
                "enable_large_batch_splitting": True,
            },
            "When enable_large_batch_splitting is true, max_batch_size must be greater than or "
            "equal to max_execution_batch_size; they were 4 and 8",
        ),
        (
            {"allowed_batch_sizes": [1, 3], "max_batch_size": 2},
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 3; "
            "expected 2",
        ),
        (
            {"allowed_batch_sizes": [4, 2], "max_batch_size": 4},
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 2; "
            "expected 4",
        ),
        (
            {"allowed_batch_sizes": [2, 8], "max_batch_size": 4},
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 8; "
            "expected 4",
        ),
        (
            {"batch_timeout": 3},
            "Unknown batching parameter 'batch_timeout'; the parameters are max_batch_size, "
            "batch_timeout_micros, max_enqueued_batches, num_batch_threads, "
            "allowed_batch_sizes, pad_variable_length_inputs, enable_large_batch_splitting, "
            "max_execution_batch_size",
        ),
        (
            {"max_batch_size": True},
            "Batching parameter 'max_batch_size' must be an integer; was True",
        ),
        (
            {"max_batch_size": None},
            "Batching parameter 'max_batch_size' must be an integer; was None",
        ),
        (
            {"pad_variable_length_inputs": 1},
            "Batching parameter 'pad_variable_length_inputs' must be true or false; was 1",
        ),
        (
            {"allowed_batch_sizes": "12"},
            "Batching parameter 'allowed_batch_sizes' must be a list of positive integers; was "
            "'12'",
        ),
    ],
)
def test_parameters_that_are_not_allowed(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ServingError) as raised:
        BatchingParameters.from_json(settings)
    assert raised.value == invalid_argument(message)


def test_parameters_as_json() -> None:
    assert BatchingParameters.from_json({}) == BatchingParameters()
    parameters = BatchingParameters(
        max_batch_size=8,
        batch_timeout_micros=200,
        num_batch_threads=3,
        allowed_batch_sizes=(2, 8),
        max_execution_batch_size=4,
        enable_large_batch_splitting=True,
    )
    data = {
        "max_batch_size": 8,
        "batch_timeout_micros": 200,
        "max_enqueued_batches": 10,
        "num_batch_threads": 3,
        "allowed_batch_sizes": [2, 8],
        "pad_variable_length_inputs": False,
        "enable_large_batch_splitting": True,
        "max_execution_batch_size": 4,
    }
    assert parameters.to_json() == data
    assert BatchingParameters.from_json(data) == parameters


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_batch_size": 1.5}, "'max_batch_size' must be an integer; was 1.5"),
        ({"max_batch_size": 2**63}, f"'max_batch_size' must be an integer; was {2**63}"),
        ({"batch_timeout_micros": False}, "'batch_timeout_micros' must be an integer; was False"),
        (
            {"num_batch_threads": True},
            "'num_batch_threads' must be an integer, or None for as many as there are schedulable "
            "CPUs; was True",
        ),
        (
            {"allowed_batch_sizes": (-2, 1000)},
            "'allowed_batch_sizes' must be a list of positive integers; was (-2, 1000)",
        ),
        (
            {"allowed_batch_sizes": (True, 1000)},
            "'allowed_batch_sizes' must be a list of positive integers; was (True, 1000)",
        ),
        (
            {"enable_large_batch_splitting": "no"},
            "'enable_large_batch_splitting' must be true or false; was 'no'",
        ),
    ],
)
def test_types_are_checked_however_they_are_made(settings: dict[str, object], message: str) -> None:
    for make in (lambda: BatchingParameters(**settings), lambda: _from_json(settings)):  # type: ignore[arg-type]
        with pytest.raises(ServingError) as raised:
            make()
        assert raised.value == invalid_argument(f"Batching parameter {message}")


def _from_json(settings: dict[str, object]) -> BatchingParameters:
    return BatchingParameters.from_json(settings)


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(ServingError) as raised:
        BatchingParameters.from_json([1])  # type: ignore[arg-type]
    assert raised.value == invalid_argument("Batching parameters must be an object; were [1]")
