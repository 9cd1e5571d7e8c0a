"""When two answers are the same up to rounding, and what of a difference a client would notice."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from workbench.server.engine.trial.same_answers import Agreement, agreement, changes

SAME, SUSPICIOUS, DIFFERENT = Agreement.SAME, Agreement.SUSPICIOUS, Agreement.DIFFERENT


def floats(*values: float, dtype: Any = np.float32) -> np.ndarray:
    return np.array(values, dtype)


def text(*values: bytes) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ({"y": floats(1, 2)}, {"y": floats(1, 2)}, SAME),
        ({"y": floats(1, 2)}, {"y": floats(1, 2.0000002)}, SAME),
        ({"y": floats(1, 1e-9)}, {"y": floats(1, 2e-9)}, SAME),
        ({"y": floats(1, 2)}, {"y": floats(1, 2.1)}, DIFFERENT),
        ({"y": floats(1, 2)}, {"y": floats(1, np.nan)}, DIFFERENT),
        ({"y": floats(np.nan, 2)}, {"y": floats(np.nan, 2)}, SAME),
        ({"y": floats(1, np.inf)}, {"y": floats(1, np.inf)}, SAME),
        ({"y": floats(1)}, {"y": floats(1, 2)}, DIFFERENT),
        ({"y": floats(1)}, {"y": floats(1, dtype=np.float64)}, DIFFERENT),
        ({"y": floats(1)}, {"z": floats(1)}, DIFFERENT),
        ({"y": floats()}, {"y": floats()}, SAME),
        ({"y": np.array([3])}, {"y": np.array([3])}, SAME),
        ({"y": np.array([3])}, {"y": np.array([4])}, SUSPICIOUS),
        ({"y": text(b"a")}, {"y": text(b"b")}, SUSPICIOUS),
        ({"y": np.array([3]), "p": floats(1)}, {"y": np.array([4]), "p": floats(2)}, DIFFERENT),
        ({"y": floats(1, dtype=np.float16)}, {"y": floats(1.01, dtype=np.float16)}, SAME),
        (
            {"y": floats(1, dtype=ml_dtypes.bfloat16)},
            {"y": floats(1.02, dtype=ml_dtypes.bfloat16)},
            SAME,
        ),
        ({"y": floats(1j, dtype=np.complex64)}, {"y": floats(1j, dtype=np.complex64)}, SAME),
        ({"y": floats(1j, dtype=np.complex64)}, {"y": floats(2j, dtype=np.complex64)}, DIFFERENT),
    ],
)
def test_agreement(one: Any, other: Any, found: Agreement) -> None:
    assert agreement(one, other) is found


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (floats(0.9, 0.1), floats(0.8, 0.2), []),
        (floats(0.9, 0.1), floats(0.1, 0.9), ["far from what it was"]),
        (floats(0.9, 0.1), floats(np.nan, 0.1), ["NaN"]),
        (floats(np.nan, 0.1), floats(np.nan, 0.1), []),
        (floats(0.9), floats(0.9, 0.1), ["has shape (2,) and had (1,)"]),
        (floats(0.9), np.array([1]), ["is int64 and was float32"]),
        (np.array([1, 2]), np.array([1, 3]), []),
        (np.array([1, 2]), np.array([3, 4]), ["none of the values"]),
        (floats(), floats(), []),
    ],
)
def test_what_a_client_would_notice(before: np.ndarray, after: np.ndarray, said: list[str]) -> None:
    found = changes({"y": before}, {"y": after})
    assert len(found) == len(said)
    for sentence, part in zip(found, said, strict=True):
        assert "output 'y'" in sentence
        assert part in sentence


def test_an_output_that_is_gone_is_noticed_and_a_new_one_is_not() -> None:
    assert changes({"y": floats(1)}, {"z": floats(1)}) == ["output 'y' is gone"]
