"""Recognises examples that are images by their shape, and encodes them as small PNGs."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping

import numpy as np


def images_of(inputs: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The only input as pictures, [n, height, width] or [n, height, width, 3]; None if it is not
    images. Rows whose length is a square number count as square pictures."""
    if len(inputs) != 1:
        return None
    values = next(iter(inputs.values()))
    if values.dtype.kind not in "fiu":
        return None
    if values.ndim == 2:
        side = math.isqrt(values.shape[1])
        return values.reshape(-1, side, side) if side > 3 and side**2 == values.shape[1] else None
    if values.ndim == 4 and values.shape[3] == 1:
        return values[..., 0]
    if values.ndim == 3 or (values.ndim == 4 and values.shape[3] == 3):
        return values if min(values.shape[1:3]) > 3 else None
    return None


def example_png(picture: np.ndarray) -> bytes:
    """One example as a small PNG, dark on light."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, stretched(picture), cmap="gray_r", format="png")
    return buffer.getvalue()


def stretched(picture: np.ndarray) -> np.ndarray:
    """The picture with its values scaled to 0 to 1."""
    values = picture.astype(float)
    return np.asarray((values - values.min()) / (np.ptp(values) or 1.0))
