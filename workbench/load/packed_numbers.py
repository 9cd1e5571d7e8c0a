"""Arrays of numbers as short text for JSON: compressed, in base64."""

from __future__ import annotations

import base64
import zlib
from array import array

import numpy as np
from numpy.typing import DTypeLike

QUICK = 1
"""The level of compression for a process that has other work to do."""


def pack_numbers(numbers: np.ndarray | array[int], level: int = -1) -> str:
    """The numbers compressed (at zlib's `level`), in base64."""
    return base64.b64encode(zlib.compress(numbers.tobytes(), level)).decode("ascii")


def unpack_numbers(text: str, dtype: DTypeLike) -> np.ndarray:
    """The numbers that `pack_numbers` was given, in one dimension; not writable.

    Raises:
        ValueError: the text does not hold numbers of this dtype.
    """
    try:
        return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype)
    except zlib.error as error:
        raise ValueError(f"the packed numbers cannot be read: {error}") from error
