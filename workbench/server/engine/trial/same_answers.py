"""Compares two answers to the same request, and lists the changes that a client would notice.

In a batch of another size the same rows go through other kernels, which add in another order, so
equal answers agree only up to rounding. Integers, text and booleans may have been chosen by numbers
that were nearly equal, so a difference in these is a suspicion and not a proof.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import numpy as np

Outputs = Mapping[str, np.ndarray]

# Relative to the largest number of the answer.
_TOLERANCES = {"float64": 1e-6, "float32": 2e-3, "complex64": 2e-3, "complex128": 1e-6}
_COARSE_TOLERANCE = 0.06
_FAR_APART = 1.0


class Agreement(enum.Enum):
    """How two answers to the same request compare."""

    SAME = "the same"
    SUSPICIOUS = "other whole numbers, text or truth values, which rounding can explain"
    DIFFERENT = "different"


def agreement(one: Outputs, other: Outputs) -> Agreement:
    """Compare two answers to the same request."""
    if one.keys() != other.keys():
        return Agreement.DIFFERENT
    found = Agreement.SAME
    for name, array in one.items():
        same = _same(array, other[name])
        if not same and _is_number(array):
            return Agreement.DIFFERENT
        if not same:
            found = Agreement.SUSPICIOUS
    return found


def _is_number(array: np.ndarray) -> bool:
    """Whether its elements can differ by rounding."""
    return array.dtype.kind in "fc" or array.dtype.kind == "V" or "float" in array.dtype.name


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not _is_number(one):
        return bool(np.array_equal(one, other))
    tolerance = _TOLERANCES.get(one.dtype.name, _COARSE_TOLERANCE)
    if one.dtype.kind != "c":
        one, other = one.astype(np.float64), other.astype(np.float64)
    finite = np.isfinite(one)
    if not np.array_equal(finite, np.isfinite(other)):
        return False
    one, other = one[finite], other[finite]
    if not one.size:
        return True
    largest = max(float(np.abs(one).max()), float(np.abs(other).max()))
    return bool(np.abs(one - other).max() <= tolerance * largest + 1e-12)


def changes(before: Outputs, after: Outputs) -> list[str]:
    """The differences that a client would notice between the answers of the serving version and of
    a new one to the same request: a sentence each, without naming the request."""
    found = []
    for name, old in sorted(before.items()):
        new = after.get(name)
        if new is None:
            found.append(f"output {name!r} is gone")
        elif old.dtype != new.dtype:
            found.append(f"output {name!r} is {new.dtype} and was {old.dtype}")
        elif old.shape != new.shape:
            found.append(f"output {name!r} has shape {new.shape} and had {old.shape}")
        elif _is_number(old):
            found += _numbers_changed(name, old, new)
        elif old.size and not np.any(old == new):
            found.append(f"output {name!r} has none of the values that it had")
    return found


def _numbers_changed(name: str, old: np.ndarray, new: np.ndarray) -> list[str]:
    if old.dtype.kind != "c":
        old, new = old.astype(np.float64), new.astype(np.float64)
    if np.isfinite(old).all() and not np.isfinite(new).all():
        return [f"output {name!r} has NaN or infinity where it had numbers"]
    if not (np.isfinite(old).all() and np.isfinite(new).all()):
        return []
    length = float(np.linalg.norm(old.reshape(-1)))
    distance = float(np.linalg.norm((new - old).reshape(-1)))
    if length > 0 and distance > _FAR_APART * length:
        return [f"output {name!r} is far from what it was, by more than its own size"]
    return []
