"""Identifies an input without showing it: by its outline, and by a digest of its content.

Both are made only after a worker has died; in normal service no input is ever hashed.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import numpy as np

from workbench.core.versions.poison import Outline
from workbench.server.engine.trial.recent import size_bytes

LARGE_BYTES = 2**20
"""Inputs beyond this are hashed in a thread, because it takes milliseconds."""
_DIGEST_BYTES = 8


def outline_of(signature: str, inputs: Mapping[str, np.ndarray]) -> Outline:
    """The signature, and names, dtypes and shapes of the inputs."""
    return Outline(
        signature,
        tuple((name, _dtype(array), array.shape) for name, array in sorted(inputs.items())),
    )


def digest_of(signature: str, inputs: Mapping[str, np.ndarray]) -> str:
    """16 hexadecimal digits, the same for the same signature and the same tensors."""
    known = blake2b(digest_size=_DIGEST_BYTES)
    known.update(repr(outline_of(signature, inputs)).encode())
    for _, array in sorted(inputs.items()):
        if array.dtype == object:
            for value in array.flat:
                data = value if isinstance(value, bytes) else str(value).encode()
                # Its length too: two strings are not the same as one.
                known.update(len(data).to_bytes(8, "little"))
                known.update(data)
        else:
            known.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return known.hexdigest()


def is_large(inputs: Mapping[str, np.ndarray]) -> bool:
    """Whether hashing them takes milliseconds."""
    return size_bytes(inputs) > LARGE_BYTES


def _dtype(array: np.ndarray) -> str:
    return "string" if array.dtype == object else str(array.dtype)
