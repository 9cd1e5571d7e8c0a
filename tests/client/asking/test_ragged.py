"""Ragged and sparse values become the plain inputs that a signature has for them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from workbench.client.asking.tensors import check_outputs, to_inputs
from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import Code, ServingError


def tensor(dtype: str, *shape: int) -> TensorInfo:
    return TensorInfo(dtype, shape)


Y = {"y": tensor("float", -1)}
ROWS = Signature({"x": tensor("float", -1), "x_1": tensor("int64", -1)}, Y)
PAIRS = Signature({"x": tensor("float", -1, 2), "x_1": tensor("int64", -1)}, Y)
TEXTS = Signature(
    {
        "x": tensor("string", -1),
        "x_1": tensor("int64", -1),
        "x_2": tensor("int32", -1),
        "weight": tensor("float", -1),
    },
    Y,
)
SPARSE = Signature(
    {"x": tensor("int64", -1, 2), "x_1": tensor("float", -1), "x_2": tensor("int64", 2)}, Y
)
DENSE = Signature({"x": tensor("float", -1, -1)}, Y)
NAMED = Signature(
    {
        "rows/flat_values": TensorInfo("float", None),
        "rows/row_splits_0": tensor("int64", -1),
        "cells/indices": tensor("int64", -1, 2),
        "cells/values": tensor("float", -1),
        "cells/dense_shape": tensor("int64", 2),
    },
    {
        "halves/flat_values": tensor("float", -1),
        "halves/row_splits_0": tensor("int64", -1),
        "z": tensor("float", -1),
    },
)


class RaggedTensor(SimpleNamespace):
    """As TensorFlow's, of which only these attributes are used."""

    def to_list(self) -> Any:
        return self.rows


RAGGED = RaggedTensor(
    flat_values=np.array([1.0, 2, 3]),
    nested_row_splits=[np.array([0, 2, 3])],
    rows=[[1.0, 2.0], [3.0]],
)
SPARSE_TENSOR = SimpleNamespace(
    indices=np.array([[0, 1], [1, 2]]), values=np.array([5.0, 6]), dense_shape=np.array([2, 3])
)


def plain(signature: Signature, x: Any) -> dict[str, Any]:
    return {name: array.tolist() for name, array in to_inputs(signature, x).items()}


def refused(signature: Signature, x: Any) -> str:
    with pytest.raises(ServingError) as caught:
        to_inputs(signature, x)
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value.message


@pytest.mark.parametrize(
    "x",
    [
        RAGGED,
        {"x": RAGGED},
        [[1.0, 2], [3]],
        [np.array([1.0, 2]), np.array([3])],
        np.array([[1.0, 2], [3]], object),
        pd.Series([[1.0, 2], [3]]),
        pd.DataFrame({"x": [[1.0, 2], [3]], "more": [1, 2]}),
        [{"x": [1.0, 2]}, {"x": [3]}],
        # The plain inputs themselves.
        {"x": [1.0, 2, 3], "x_1": [0, 2, 3]},
    ],
)
def test_rows_of_unequal_lengths(x: Any) -> None:
    assert plain(ROWS, x) == {"x": [1.0, 2.0, 3.0], "x_1": [0, 2, 3]}


def test_rows_of_equal_lengths_and_of_none() -> None:
    assert plain(ROWS, np.ones((2, 2))) == {"x": [1.0] * 4, "x_1": [0, 2, 4]}
    assert plain(ROWS, [[], [1.0], []]) == {"x": [1.0], "x_1": [0, 0, 1, 1]}
    assert plain(ROWS, [[], []]) == {"x": [], "x_1": [0, 0, 0]}
    assert plain(ROWS, []) == {"x": [], "x_1": [0]}


def test_rows_of_vectors() -> None:
    assert plain(PAIRS, [[[1, 2], [3, 4]], [[5, 6]]]) == {
        "x": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
        "x_1": [0, 2, 3],
    }


def test_rows_of_rows_beside_a_plain_input() -> None:
    wanted = {
        "x": [b"a", b"b", b"c"],
        "x_1": [0, 2, 2, 3],
        "x_2": [0, 1, 2, 3],
        "weight": [1.0, 2.0, 3.0],
    }
    texts = [[["a"], ["b"]], [], [["c"]]]
    assert plain(TEXTS, {"x": texts, "weight": [1, 2, 3]}) == wanted
    # One that is ragged in the outer dimension only.
    ragged = RaggedTensor(flat_values=None, nested_row_splits=[None], rows=texts)
    assert plain(TEXTS, {"x": ragged, "weight": [1, 2, 3]}) == wanted
    assert to_inputs(TEXTS, {"x": texts, "weight": [1, 2, 3]})["x_2"].dtype == np.int32


@pytest.mark.parametrize(
    "x",
    [
        SPARSE_TENSOR,
        {"x": SPARSE_TENSOR},
        scipy.sparse.csr_matrix(np.array([[0, 5.0, 0], [0, 0, 6]])),
        scipy.sparse.coo_array(([6.0, 5.0], ([1, 0], [2, 1])), (2, 3)),
        {"x": [[0, 1], [1, 2]], "x_1": [5.0, 6], "x_2": [2, 3]},
    ],
    ids=["alone", "named", "matrix", "array", "parts"],
)
def test_sparse_values(x: Any) -> None:
    assert plain(SPARSE, x) == {"x": [[0, 1], [1, 2]], "x_1": [5.0, 6.0], "x_2": [2, 3]}


@pytest.mark.parametrize("rows", [RAGGED, [[1.0, 2], [3]]], ids=["tensor", "list"])
def test_inputs_that_were_described_as_one(rows: Any) -> None:
    assert plain(NAMED, {"rows": rows, "cells": SPARSE_TENSOR}) == {
        "rows/flat_values": [1.0, 2.0, 3.0],
        "rows/row_splits_0": [0, 2, 3],
        "cells/indices": [[0, 1], [1, 2]],
        "cells/values": [5.0, 6.0],
        "cells/dense_shape": [2, 3],
    }


@pytest.mark.parametrize(
    ("signature", "x", "message"),
    [
        (DENSE, RAGGED,
         "Input 'x' takes a dense tensor, not a RaggedTensor: fill its rows up with .to_tensor()"),
        (DENSE, SPARSE_TENSOR,
         "Input 'x' takes a dense tensor, not a SimpleNamespace: convert it with "
         "tf.sparse.to_dense(x)"),
        (DENSE, scipy.sparse.csr_matrix((2, 3)),
         "Input 'x' takes a dense tensor, not a csr_matrix: convert it with x.toarray()"),
        (DENSE, [[1.0], [2.0, 3.0]],
         "Input 'x' (float[?, ?]) has ragged rows, of unequal lengths: pad them to one length, as "
         "the model takes a dense tensor"),
        (ROWS, [1.0, 2],
         "Input 'x' takes ragged or sparse values (x, x_1): give a tf.RaggedTensor, a list of rows "
         "or a tf.SparseTensor, whichever the model was made for"),
        (ROWS, {"x": [1.0, 2]},
         "There is no value for input x_1: give a dictionary with one entry for each input"),
        (NAMED, {"rows": RAGGED, "cells": [[1.0]]},
         "Input 'cells' takes a tf.SparseTensor, not a list"),
        (NAMED, {"rows": [1.0], "cells": SPARSE_TENSOR},
         "Input 'rows' takes a tf.RaggedTensor, not a list"),
        (ROWS, [["a"], []],
         "Input 'x' must be numbers (float[?]), not text such as 'a': convert it to numbers first"),
        (PAIRS, [[[1, 2, 3]]],
         "Input 'x', as 'x' (float[?, 2]) cannot have the shape (1, 3): dimension 1 is 3 and must "
         "be 2"),
    ],
)  # fmt: skip
def test_what_does_not_fit(signature: Signature, x: Any, message: str) -> None:
    assert refused(signature, x) == message


def test_a_ragged_output_is_asked_for_by_its_parts() -> None:
    check_outputs(NAMED, ["z", "halves/flat_values"])
    with pytest.raises(ServingError) as caught:
        check_outputs(NAMED, ["halves"])
    assert caught.value == ServingError(
        Code.INVALID_ARGUMENT,
        "Output 'halves' is not one dense tensor: ask for its parts, halves/flat_values, "
        "halves/row_splits_0",
    )
