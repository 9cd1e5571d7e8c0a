"""Ragged and sparse tensors in signatures: each is the plain tensors that it is made of."""

from __future__ import annotations

import numpy as np
import pytest

from tests.server.worker.conftest import Ask
from tests.server.worker.test_loaded_model import lists
from tests.servers import floats


def test_a_signature_names_the_parts(ask: Ask) -> None:
    signatures, metadata, *_ = ask("describe", "composites")
    assert signatures == {
        "serving_default": (
            "(x: float[?]) -> (halves/flat_values: float[?], halves/row_splits_0: int64[3], "
            "some/dense_shape: int64[1], some/indices: int64[?, 1], some/values: float[?], "
            "twice: float[?])"
        ),
        "taken": (
            "(cells/dense_shape: int64[2], cells/indices: int64[?, 2], cells/values: float[?], "
            "rows/flat_values: float[?], rows/row_splits_0: int64[?]) -> "
            "(dense: float[?, ?], sums: float[?])"
        ),
    }
    # What is shown of the SignatureDef is what was saved.
    shown = metadata["signature_def"]["serving_default"]["outputs"]
    assert set(shown) == {"halves", "some", "twice"}
    assert "coo_sparse" in shown["some"]


def test_the_other_outputs_are_answered(ask: Ask) -> None:
    answer = ask("run", "composites", "serving_default", {"x": floats(1, 0, 3)}, ("twice",))
    assert lists(answer) == {"twice": [2.0, 0.0, 6.0]}


def test_the_parts_are_answered(ask: Ask) -> None:
    assert lists(ask("run", "composites", "serving_default", {"x": floats(1, 0, 3)})) == {
        "twice": [2.0, 0.0, 6.0],
        "halves/flat_values": [2.0, 1.0, 4.0],
        "halves/row_splits_0": [0, 1, 3],
        "some/indices": [[0], [2]],
        "some/values": [1.0, 3.0],
        "some/dense_shape": [3],
    }


def test_the_parts_are_fed(ask: Ask) -> None:
    inputs = {
        "rows/flat_values": floats(1, 2, 3),
        "rows/row_splits_0": np.array([0, 2, 3]),
        "cells/indices": np.array([[0, 1], [1, 3]]),
        "cells/values": floats(5, 6),
        "cells/dense_shape": np.array([2, 4]),
    }
    assert lists(ask("run", "composites", "taken", inputs)) == {
        "sums": [3.0, 3.0],
        "dense": [[0.0, 5.0, 0.0, 0.0], [0.0, 0.0, 0.0, 6.0]],
    }


@pytest.mark.parametrize(
    ("type_spec", "count", "names"),
    [
        ("RaggedTensorSpec", 3, ["flat_values", "row_splits_0", "row_splits_1"]),
        ("SparseTensorSpec", 3, ["indices", "values", "dense_shape"]),
        ("IndexedSlicesSpec", 2, ["component_0", "component_1"]),
    ],
)
def test_names_of_components(type_spec: str, count: int, names: list[str]) -> None:
    from workbench.server.worker.composites import component_names

    assert component_names(type_spec, count) == names
