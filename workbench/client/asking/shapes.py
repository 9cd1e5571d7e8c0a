"""Compares an array's shape with a signature's before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from workbench.core.shape_mistakes import fits, misfit_text
from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import invalid_argument

if TYPE_CHECKING:
    import numpy as np


def fit(
    info: TensorInfo, array: np.ndarray, label: str, name: str, column: bool = False
) -> np.ndarray:
    """`array` in the shape of the input, in which -1 fits any size; unchanged if the signature does
    not give the rank.

    A vector is taken as a column if all dimensions of the input after the first have size 1, as in
    ``[?, 1]``.

    Args:
        label: the name of the value in errors (``Input 'x'``).
        name: the caller's code for the value (``x``); empty for nested lists, whose brackets the
            cure speaks of, as they may have been written in JSON.
        column: the array has one value for each row of a table; unknown sizes after the first are
            taken as 1.

    Raises:
        ServingError: INVALID_ARGUMENT, with the shapes and the cure.
    """
    wanted = info.shape
    if wanted is None or fits(array.shape, wanted):
        return array
    ones = (1, -1) if column else (1,)
    if array.ndim == 1 and len(wanted) > 1 and all(size in ones for size in wanted[1:]):
        return array.reshape(-1, *[1] * (len(wanted) - 1))
    if array.shape == (0,) and len(wanted) > 1 and all(size >= 0 for size in wanted[1:]):
        # An empty list has no rows, in any shape.
        return array.reshape(0, *wanted[1:])
    raise invalid_argument(misfit_text(info, array.shape, label, name))


def uneven_rows(signature: Signature, inputs: Mapping[str, np.ndarray]) -> str:
    """A sentence about inputs with different numbers of rows; empty if they are equal. Some models
    take different numbers, so it is reported only after the model has refused the request."""
    rows = {
        name: array.shape[0]
        for name, array in inputs.items()
        if array.ndim and (signature.inputs[name].shape or (-1,))[0] == -1
    }
    if len(set(rows.values())) < 2:
        return ""
    counts = ", ".join(f"{name!r} has {count}" for name, count in rows.items())
    return (
        f"The inputs do not have the same number of rows ({counts}): give the same number for each."
    )
