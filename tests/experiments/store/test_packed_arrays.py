"""Arrays come back from plain data as they were."""

from __future__ import annotations

import json

import numpy as np
import pytest

from workbench.experiments.store.packed_arrays import pack, unpack


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::-1],
        np.array([np.nan, np.inf]),
        np.zeros((0, 4), np.int64),
        np.array(7, np.uint8),
        np.array([1 + 2j]),
        np.array(["a", "bc"]),
        np.array([[b"\xff", "word"], [3, None]], object),
    ],
)
def test_there_and_back(array: np.ndarray) -> None:
    again = unpack(json.loads(json.dumps(pack(array))))
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(again, array)
    again[...] = array
