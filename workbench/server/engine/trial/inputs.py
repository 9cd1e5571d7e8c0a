"""Makes inputs from a signature's dtypes and shapes: small, different in each row, and the same
each time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from workbench.core.signature import Signature, TensorInfo
from workbench.formats.dtypes import STRING, numpy_dtype, string_array

Inputs = Mapping[str, np.ndarray]

UNKNOWN_SIZES = (8, 64)
"""Sizes for dimensions without a fixed one: the larger is tried if the model refuses the smaller
(an image may be too small for its filters)."""
_MOST_ELEMENTS = 4_000_000
_WORDS = (b"one", b"two words", b"three short words")
_ROWS = 3


def made_up(signature: Signature, size: int) -> list[Inputs] | None:
    """Three requests of one row each; None if they would be too large, or have an unknown dtype.

    Args:
        size: of each dimension without a fixed size, except the batch dimension.
    """
    requests: list[Inputs] = []
    for row in range(_ROWS):
        inputs = {}
        for name, info in sorted(signature.inputs.items()):
            array = _array(info, size, row)
            if array is None:
                return None
            inputs[name] = array
        requests.append(inputs)
    return requests


def has_unknown_sizes(signature: Signature) -> bool:
    """Whether an input has a dimension without a fixed size, apart from the batch dimension."""
    return any(
        info.shape is None or any(n < 0 for n in info.shape[1:])
        for info in signature.inputs.values()
    )


def _array(info: TensorInfo, size: int, row: int) -> np.ndarray | None:
    shape = _shape(info, size)
    count = math.prod(shape)
    if count > _MOST_ELEMENTS:
        return None
    if info.dtype == STRING:
        words = [_WORDS[(row + at) % len(_WORDS)] for at in range(count)]
        return string_array(words).reshape(shape)
    try:
        dtype = numpy_dtype(info.dtype)
    except KeyError:
        return None
    # Whole numbers may be places in a table: 0 and 1 are in nearly every one.
    numbers = np.random.default_rng(row).random(count)
    if dtype.kind in "iub":
        numbers = np.round(numbers)
    return numbers.astype(dtype).reshape(shape)


def _shape(info: TensorInfo, size: int) -> tuple[int, ...]:
    if info.shape is None:
        return (1,)
    if not info.shape:
        return ()
    first, *rest = info.shape
    return (1 if first < 0 else first, *(size if n < 0 else n for n in rest))


def joined(requests: Sequence[Inputs]) -> dict[str, list[np.ndarray]]:
    """The parts of a batch of these requests, in order."""
    return {name: [request[name] for request in requests] for name in requests[0]}
