"""Shapes that do not fit are one sentence with its cure; the cure, applied, fits."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from workbench.client.asking.shapes import fit
from workbench.core.signature import TensorInfo
from workbench.core.status import Code, ServingError


def info(*wanted: int) -> TensorInfo:
    return TensorInfo("float", wanted)


def refused(array: np.ndarray, *wanted: int) -> str:
    with pytest.raises(ServingError) as caught:
        fit(info(*wanted), array, "Input 'x'", "x")
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value.message


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((2, 3), (-1, 3)), ((0, 3), (-1, 3)), ((), ()), ((2,), (-1,)), ((1, 5, 7), (1, -1, 7))],
)
def test_what_fits_is_left_as_it_is(shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    array = np.zeros(shape)
    assert fit(info(*wanted), array, "x", "x") is array


def test_nothing_is_checked_where_the_rank_is_not_known() -> None:
    array = np.zeros((2, 3, 4))
    assert fit(TensorInfo("float", None), array, "x", "x") is array


@pytest.mark.parametrize(
    ("shape", "wanted", "cured"),
    [
        ((3,), (-1, 1), (3, 1)),
        ((3,), (-1, 1, 1), (3, 1, 1)),
        ((1,), (-1, 1), (1, 1)),
        ((0,), (-1, 1), (0, 1)),
        # An empty list says nothing about the rest of its shape.
        ((0,), (-1, 28, 28), (0, 28, 28)),
    ],
)
def test_what_can_be_meant_in_one_way_only(
    shape: tuple[int, ...], wanted: tuple[int, ...], cured: tuple[int, ...]
) -> None:
    assert fit(info(*wanted), np.zeros(shape), "x", "x").shape == cured


def test_a_column_has_one_value_in_each_row() -> None:
    assert fit(info(-1, -1), np.zeros(3), "x", "x", column=True).shape == (3, 1)
    assert "the batch dimension is missing" in refused(np.zeros(3), -1, -1)


@pytest.mark.parametrize(
    ("shape", "wanted", "says"),
    [
        ((28, 28), (-1, 28, 28), "the batch dimension is missing, add it with x[np.newaxis]"),
        ((8, 8, 3), (-1, -1, -1, 3), "the batch dimension is missing, add it with x[np.newaxis]"),
        ((4,), (-1, 4), "the batch dimension is missing, add it with x[np.newaxis]"),
        ((5, 28, 28), (-1, 28, 28, 1),
         "the last dimension is missing, add it with x[..., np.newaxis]"),
        ((28, 28), (-1, 28, 28, 1),
         "the batch dimension and the last one are missing, add them with "
         "x[np.newaxis, ..., np.newaxis]"),
        ((1, 5, 4), (-1, 4), "it has one dimension too many, remove it with x[0]"),
        ((5, 1), (-1,), "it has one dimension too many, remove it with x[..., 0]"),
        ((5, 3, 28, 28), (-1, 28, 28, 3),
         "dimension 1 must be the last one, move it with np.moveaxis(x, 1, -1)"),
        ((5, 28, 28, 3), (-1, 3, 28, 28),
         "the last dimension must be dimension 1, move it with np.moveaxis(x, -1, 1)"),
        ((4, 5), (-1, 4), "rows and columns are exchanged, turn it with x.T"),
        ((5, 28, 28), (-1, 784), "the sizes are those of another shape, use x.reshape(-1, 784)"),
        ((5, 784), (-1, 28, 28),
         "the sizes are those of another shape, use x.reshape(-1, 28, 28)"),
        ((28, 28), (-1, 784), "the batch dimension is missing, use x.reshape(1, 784)"),
    ],
)  # fmt: skip
def test_a_mistake_and_its_cure(shape: tuple[int, ...], wanted: tuple[int, ...], says: str) -> None:
    x = np.zeros(shape)
    text = ", ".join("?" if size < 0 else str(size) for size in wanted)
    shown = f"({shape[0]},)" if len(shape) == 1 else str(shape)
    assert refused(x, *wanted) == (
        f"Input 'x' (float[{text}]) cannot have the shape {shown}: {says}"
    )
    code = re.findall(r"(?:with|use) (.*)", says)[0]
    cured: Any = eval(code, {"np": np, "x": x})
    fit(info(*wanted), cured, "Input 'x'", "x")


@pytest.mark.parametrize(
    ("shape", "wanted", "says"),
    [
        ((), (-1,), "it is a single value, give it as [x]"),
        ((), (-1, 1), "it is a single value, give it as [[x]]"),
        ((3,), (), "it takes one number or text, not an array"),
        ((2, 5), (-1, 4), "dimension 1 is 5 and must be 4"),
        ((2, 9, 8), (-1, 8, 8), "dimension 1 is 9 and must be 8"),
        ((3, 4), (32, 4),
         "dimension 0 is 3 and must be 32, as the model was exported for that number of rows"),
        ((2, 2), (-1, 4, 5, 6), "it has 2 dimensions, and the model takes 4"),
        ((7,), (-1, 4, 5), "it has 1 dimension, and the model takes 3"),
        ((2, 3, 4), (-1,), "it has 3 dimensions, and the model takes 1"),
    ],
)  # fmt: skip
def test_a_mistake_without_a_single_cure(
    shape: tuple[int, ...], wanted: tuple[int, ...], says: str
) -> None:
    assert refused(np.zeros(shape), *wanted).endswith(f": {says}")
