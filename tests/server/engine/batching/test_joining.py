"""Joining requests into a batch: TensorFlow Serving's rules and texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import ServingError, failed_precondition, invalid_argument
from workbench.server.engine.batching.joining import batch_rows, check_outputs, merge

PAD = BatchingParameters(pad_variable_length_inputs=True)
SIGNATURE = Signature({name: TensorInfo("float", None, f"{name}:0") for name in "abxy"}, {})


def joined(parts: dict[str, list[np.ndarray]]) -> dict[str, list[Any]]:
    return {name: np.concatenate(arrays).tolist() for name, arrays in parts.items()}


def test_rows_are_what_all_inputs_share() -> None:
    assert batch_rows({"a": np.zeros((3, 2)), "b": np.zeros(3)}) == 3
    assert batch_rows({"a": np.zeros((0, 2))}) == 0


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "Batching Run() must have at least one input tensor"),
        (
            {"a": np.zeros(2), "b": np.array(1.0)},
            "Batching Run() input tensors must have at least one dimension",
        ),
        (
            {"a": np.zeros(2), "b": np.zeros(3)},
            "Batching Run() input tensors must have equal 0th-dimension size",
        ),
    ],
)
def test_what_cannot_be_batched(inputs: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ServingError) as raised:
        batch_rows(inputs)
    assert raised.value == invalid_argument(message)


def test_parts_stay_apart_and_in_order() -> None:
    first, second = {"x": np.array([1.0, 2.0])}, {"x": np.array([3.0])}
    parts, padding = merge([first, second], 3, BatchingParameters(), SIGNATURE)
    assert padding == 0
    assert [a is b["x"] for a, b in zip(parts["x"], (first, second), strict=True)] == [True, True]


def test_padded_to_an_allowed_size_with_the_first_row_of_the_last_task() -> None:
    allowed = BatchingParameters(max_batch_size=8, allowed_batch_sizes=(4, 8))
    requests = [
        {"x": np.array([[1, 1], [2, 2]]), "s": np.array([b"a", b"b"], object)},
        {"x": np.array([[3, 3], [4, 4], [5, 5]]), "s": np.array([b"c", b"d", b"e"], object)},
    ]
    parts, padding = merge(requests, 5, allowed, SIGNATURE)
    assert padding == 3
    assert joined(parts) == {
        "x": [[1, 1], [2, 2], [3, 3], [4, 4], [5, 5], [3, 3], [3, 3], [3, 3]],
        "s": [b"a", b"b", b"c", b"d", b"e", b"c", b"c", b"c"],
    }


@pytest.mark.parametrize(("rows", "padding"), [(4, 0), (9, 0)])
def test_an_allowed_size_or_a_larger_batch_is_not_padded(rows: int, padding: int) -> None:
    allowed = BatchingParameters(max_batch_size=8, allowed_batch_sizes=(4, 8))
    assert merge([{"x": np.zeros(rows)}], rows, allowed, SIGNATURE)[1] == padding


def test_different_shapes_are_refused_where_padding_is_off() -> None:
    with pytest.raises(ServingError) as raised:
        merge(
            [{"x": np.zeros((1, 2))}, {"x": np.zeros((1, 3))}], 2, BatchingParameters(), SIGNATURE
        )
    assert raised.value == failed_precondition(
        "Tensors with name 'x:0' from different tasks have different shapes and padding is "
        "turned off. Set pad_variable_length_inputs to true, or ensure that all tensors with the "
        "same name have equal dimensions starting with the first dim."
    )


def test_ragged_inputs_are_padded_with_their_own_first_element() -> None:
    requests = [{"x": np.array([[7, 8]])}, {"x": np.array([[1, 2, 3], [4, 5, 6]])}]
    parts, _ = merge(requests, 3, PAD, SIGNATURE)
    assert joined(parts) == {"x": [[7, 8, 7], [1, 2, 3], [4, 5, 6]]}


def test_padding_is_as_in_upstream_s_own_test() -> None:
    """BatchingSessionTest's example, for half_plus_two: a 2 x 2 beside a 3 x 3."""
    requests = [
        {"x": np.array([[[1.0, 2.0], [3.0, 4.0]]])},
        {"x": np.arange(5.0, 14.0).reshape(1, 3, 3)},
    ]
    parts, padding = merge(requests, 2, PAD, SIGNATURE)
    assert padding == 0
    first, second = (0.5 * part + 2 for part in parts["x"])
    assert first.tolist() == [[[2.5, 3, 2.5], [3.5, 4, 2.5], [2.5, 2.5, 2.5]]]
    assert second.tolist() == [[[4.5, 5, 5.5], [6, 6.5, 7], [7.5, 8, 8.5]]]


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)), min_size=2))
def test_padding_keeps_every_element_in_its_place(shapes: list[tuple[int, int, int]]) -> None:
    arrays = [np.arange(np.prod(s)).reshape(s) + 100 * i for i, s in enumerate(shapes)]
    parts, _ = merge([{"x": a} for a in arrays], sum(s[0] for s in shapes), PAD, SIGNATURE)
    widest = (max(s[1] for s in shapes), max(s[2] for s in shapes))
    for padded, array in zip(parts["x"], arrays, strict=True):
        assert padded.shape == (array.shape[0], *widest)
        inside = tuple(slice(0, n) for n in array.shape)
        assert np.array_equal(padded[inside], array)
        outside = padded.copy()
        outside[inside] = array.flat[0]
        assert np.all(outside == array.flat[0])


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(1, 2), (1, 2, 3)], "Only tensors with rank from 1 to 6 can be padded."),
        (
            [(1, 1, 1, 1, 1, 1, 1), (1, 1, 1, 1, 1, 1, 2)],
            "Only tensors with rank from 1 to 6 can be padded.",
        ),
        ([(1, 0), (1, 2)], "Got empty tensor in batch of non-empty tensors."),
    ],
)
def test_what_cannot_be_padded(shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(ServingError) as raised:
        merge([{"x": np.zeros(shape)} for shape in shapes], 2, PAD, SIGNATURE)
    assert raised.value == invalid_argument(message)


@pytest.mark.parametrize(
    ("output", "error"),
    [
        (np.zeros((3, 1)), None),
        (np.zeros(()), failed_precondition("Batched output tensor has 0 dimensions")),
        (
            np.zeros(4),
            failed_precondition(
                "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                "dimension sizes of the input tensors"
            ),
        ),
    ],
)
def test_outputs_must_follow_the_rows(output: np.ndarray, error: ServingError | None) -> None:
    assert check_outputs({"good": np.zeros(3), "y": output}, 3) == error
