"""The models of the benchmarks of transitions, saved by a process of its own.

    python -m benchmarks.transition_models KIND FOLDER

`weights` has 240 MiB of weights in five tensors, two of them above 64 MiB, and a small graph;
`graph` is a ResNet-50 with random weights: 180 MiB (Keras exports each variable twice) in
hundreds of tensors, and thousands of operations.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np

KINDS = ("weights", "graph")
_SHAPES = ((256, 65536), (65536, 288), (288, 65536), (65536, 128), (128, 10))


def save_model(kind: str, folder: str, seed: int = 0) -> str:
    """Save a model below `folder`, without TensorFlow in the calling process; returns its path."""
    path = os.path.join(folder, f"{kind}-{seed}", "1")
    if not os.path.exists(path):
        subprocess.run(
            [sys.executable, "-m", "benchmarks.transition_models", kind, path, str(seed)],
            check=True,
            timeout=300,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    return path


def example(kind: str) -> np.ndarray:
    """One request's instances."""
    random = np.random.default_rng(0)
    shape = {"weights": (1, 8), "graph": (1, 32, 32, 3)}[kind]
    return random.random(shape).round(3).astype(np.float32)


def main(kind: str, path: str, seed: int) -> None:
    import tensorflow as tf

    random = np.random.default_rng(seed)
    if kind == "graph":
        tf.keras.utils.set_random_seed(seed)
        model = tf.keras.applications.ResNet50(
            weights=None, input_shape=(32, 32, 3), classes=10, include_top=True
        )
        model.export(path, verbose=False)
        return

    class Wide(tf.Module):
        """Looks up a number in each of some large tables: much to load, little to compute."""

        def __init__(self) -> None:
            super().__init__()
            self.tables = [
                tf.Variable(random.standard_normal(shape, dtype=np.float32)) for shape in _SHAPES
            ]

        @tf.function(input_signature=[tf.TensorSpec([None, 8], tf.float32, name="x")])
        def __call__(self, x):  # type: ignore[no-untyped-def]
            row = tf.cast(tf.reduce_sum(tf.abs(x), axis=1), tf.int32) % 128
            place = tf.stack([row, tf.zeros_like(row)], axis=1)
            found = [tf.gather_nd(table, place) for table in self.tables]
            return {"y": tf.stack(found, axis=1)}

    module = Wide()
    tf.saved_model.save(module, path, signatures=module.__call__)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
