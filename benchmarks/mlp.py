"""The model of the benchmarks: an MLP 784-300-100-10, saved by a process of its own.

python -m benchmarks.mlp FOLDER
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys


def save_mlp(folder: str) -> str:
    """Save it below `folder`, without TensorFlow in the calling process; returns its path."""
    path = os.path.join(folder, "mlp", "1")
    subprocess.run(
        [sys.executable, "-m", "benchmarks.mlp", path],
        check=True,
        timeout=120,
        stderr=subprocess.DEVNULL,
    )
    return path


def main(path: str) -> None:
    import numpy as np
    import tensorflow as tf

    random = np.random.default_rng(0)
    sizes = (784, 300, 100, 10)

    class MLP(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = [
                tf.Variable(random.normal(0, 0.05, shape).astype(np.float32))
                for shape in itertools.pairwise(sizes)
            ]

        @tf.function(input_signature=[tf.TensorSpec([None, 784], tf.float32, name="x")])
        def __call__(self, x):  # type: ignore[no-untyped-def]
            for weights in self.weights[:-1]:
                x = tf.nn.relu(x @ weights)
            return {"y": tf.nn.softmax(x @ self.weights[-1])}

    module = MLP()
    tf.saved_model.save(module, path, signatures=module.__call__)


if __name__ == "__main__":
    main(sys.argv[1])
