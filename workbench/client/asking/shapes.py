"""Compares an array's shape with a signature's, and names the likely mistake.

The signature is known before anything is sent, so a forgotten batch dimension is reported in one
sentence with its cure. TensorFlow would report it in terms of its operations, or abort: its
convolutions end the process on tensors of an unexpected rank.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import invalid_argument

if TYPE_CHECKING:
    import numpy as np

Shape = Sequence[int]


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
    if wanted is None or _fits(array.shape, wanted):
        return array
    ones = (1, -1) if column else (1,)
    if array.ndim == 1 and len(wanted) > 1 and all(size in ones for size in wanted[1:]):
        return array.reshape(-1, *[1] * (len(wanted) - 1))
    if array.shape == (0,) and len(wanted) > 1 and all(size >= 0 for size in wanted[1:]):
        # An empty list has no rows, in any shape.
        return array.reshape(0, *wanted[1:])
    raise invalid_argument(
        f"{label} ({info}) cannot have the shape {_text(array.shape)}: "
        f"{next(_mistakes(array.shape, wanted, name))}"
    )


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


def _fits(shape: Shape, wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        want in (-1, size) for size, want in zip(shape, wanted, strict=True)
    )


def _mistakes(shape: Shape, wanted: Shape, name: str) -> Iterator[str]:
    """Possible mistakes, the likeliest first; there is always one."""
    short = len(wanted) - len(shape)
    if not shape and _fits([1] * short, wanted):
        yield f"it is a single value, give it as {'[' * short}{name}{']' * short}"
    if short >= 1 and _fits((1, *shape), wanted):
        yield "the batch dimension is missing, " + (
            f"add it with {name}[np.newaxis]" if name else "put all into one more pair of brackets"
        )
    if short >= 1 and wanted[-1] in (-1, 1) and _fits((*shape, 1), wanted):
        yield "the last dimension is missing, " + (
            f"add it with {name}[..., np.newaxis]" if name else "put each value into brackets"
        )
    if short == 2 and _fits((1, *shape, 1), wanted):
        yield "the batch dimension and the last one are missing, " + (
            f"add them with {name}[np.newaxis, ..., np.newaxis]"
            if name
            else "put all into one more pair of brackets, and each value into one"
        )
    if short < 0 and shape[0] == 1 and _fits(shape[1:], wanted):
        yield "it has one dimension too many, " + (
            f"remove it with {name}[0]" if name else "remove the outermost pair of brackets"
        )
    if short < 0 and shape[-1] == 1 and _fits(shape[:-1], wanted):
        yield "it has one dimension too many, " + (
            f"remove it with {name}[..., 0]" if name else "remove the innermost brackets"
        )
    if not wanted:
        yield "it takes one number or text, not an array"
        return
    array = name or "np.asarray(x)"
    if len(shape) == len(wanted) > 2 and _fits((shape[0], *shape[2:], shape[1]), wanted):
        yield f"dimension 1 must be the last one, move it with np.moveaxis({array}, 1, -1)"
    if len(shape) == len(wanted) > 2 and _fits((shape[0], shape[-1], *shape[1:-1]), wanted):
        yield f"the last dimension must be dimension 1, move it with np.moveaxis({array}, -1, 1)"
    if len(shape) == len(wanted) == 2 and _fits(shape[::-1], wanted):
        yield f"rows and columns are exchanged, turn it with {array}.T"
    rest = wanted[1:]
    if shape and all(size >= 0 for size in rest):
        sizes = ", ".join(map(str, rest))
        same = tuple(shape[1:]) == tuple(rest)
        if not same and wanted[0] in (-1, shape[0]) and math.prod(shape[1:]) == math.prod(rest):
            yield f"the sizes are those of another shape, use {array}.reshape(-1, {sizes})"
        if wanted[0] in (-1, 1) and math.prod(shape) == math.prod(rest):
            yield f"the batch dimension is missing, use {array}.reshape(1, {sizes})"
    if short:
        yield f"it has {_count(len(shape))}, and the model takes {len(wanted)}"
        return
    axis = next(i for i, want in enumerate(wanted) if want not in (-1, shape[i]))
    rows = ", as the model was exported for that number of rows" if axis == 0 else ""
    yield f"dimension {axis} is {shape[axis]} and must be {wanted[axis]}{rows}"


def _count(rank: int) -> str:
    return "1 dimension" if rank == 1 else f"{rank} dimensions"


def _text(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))})" if len(shape) != 1 else f"({shape[0]},)"
