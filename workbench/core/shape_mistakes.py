"""Compares a tensor's shape with a signature's, and names the likely mistake.

The signature is known before anything runs, so a forgotten batch dimension can be reported in one
sentence with its cure. TensorFlow would report it in terms of its operations, or abort: its
convolutions end the process on tensors of an unexpected rank.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from workbench.core.signature import TensorInfo

Shape = Sequence[int]


def fits(shape: Shape, wanted: Shape) -> bool:
    """Whether a tensor of this shape may be given where a signature wants the shape `wanted`, in
    which -1 fits any size."""
    return len(shape) == len(wanted) and all(
        want in (-1, size) for size, want in zip(shape, wanted, strict=True)
    )


def misfit_text(info: TensorInfo, shape: Shape, label: str, code: str) -> str:
    """The error text for a tensor that does not fit its input: both shapes and the cure.

    Args:
        info: the input; its rank is known.
        label: the name of the value in errors (``Input 'x'``).
        code: the caller's code for the value (``x``); empty for nested lists, whose brackets the
            cure speaks of.
    """
    assert info.shape is not None
    mistake = next(_mistakes(shape, info.shape, code))
    return f"{label} ({info}) cannot have the shape {_text(shape)}: {mistake}"


def _mistakes(shape: Shape, wanted: Shape, name: str) -> Iterator[str]:
    """Possible mistakes, the likeliest first; there is always one."""
    short = len(wanted) - len(shape)
    if not shape and fits([1] * short, wanted):
        yield f"it is a single value, give it as {'[' * short}{name}{']' * short}"
    if short >= 1 and fits((1, *shape), wanted):
        yield "the batch dimension is missing, " + (
            f"add it with {name}[np.newaxis]" if name else "put all into one more pair of brackets"
        )
    if short >= 1 and wanted[-1] in (-1, 1) and fits((*shape, 1), wanted):
        yield "the last dimension is missing, " + (
            f"add it with {name}[..., np.newaxis]" if name else "put each value into brackets"
        )
    if short == 2 and fits((1, *shape, 1), wanted):
        yield "the batch dimension and the last one are missing, " + (
            f"add them with {name}[np.newaxis, ..., np.newaxis]"
            if name
            else "put all into one more pair of brackets, and each value into one"
        )
    if short < 0 and shape[0] == 1 and fits(shape[1:], wanted):
        yield "it has one dimension too many, " + (
            f"remove it with {name}[0]" if name else "remove the outermost pair of brackets"
        )
    if short < 0 and shape[-1] == 1 and fits(shape[:-1], wanted):
        yield "it has one dimension too many, " + (
            f"remove it with {name}[..., 0]" if name else "remove the innermost brackets"
        )
    if not wanted:
        yield "it takes one number or text, not an array"
        return
    array = name or "np.asarray(x)"
    if len(shape) == len(wanted) > 2 and fits((shape[0], *shape[2:], shape[1]), wanted):
        yield f"dimension 1 must be the last one, move it with np.moveaxis({array}, 1, -1)"
    if len(shape) == len(wanted) > 2 and fits((shape[0], shape[-1], *shape[1:-1]), wanted):
        yield f"the last dimension must be dimension 1, move it with np.moveaxis({array}, -1, 1)"
    if len(shape) == len(wanted) == 2 and fits(shape[::-1], wanted):
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
