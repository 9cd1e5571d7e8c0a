"""A model that takes about 9 ms a batch and no processor, as an accelerator does: its requests wait
inside TensorFlow. On shared cores it is the only kind whose run times stay the same.

python -m benchmarks.timed_model FOLDER
"""

from __future__ import annotations

import os
import subprocess
import sys

WAIT_MICROS = 8000


def save_timed(folder: str) -> str:
    """Save it as ``folder/timed/1``, without TensorFlow in the calling process; returns the folder
    of its versions."""
    path = os.path.join(folder, "timed", "1")
    subprocess.run(
        [sys.executable, "-m", "benchmarks.timed_model", path],
        check=True,
        timeout=120,
        stderr=subprocess.DEVNULL,
    )
    return os.path.dirname(path)


def main(path: str) -> None:
    import tensorflow as tf

    @tf.nondifferentiable_batch_function(
        num_batch_threads=4, max_batch_size=100_000, batch_timeout_micros=WAIT_MICROS
    )
    def wait(x):  # type: ignore[no-untyped-def]
        return x + 1.0

    class Timed(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
        def __call__(self, x):  # type: ignore[no-untyped-def]
            return wait(x)

    tf.saved_model.save(Timed(), path)


if __name__ == "__main__":
    main(sys.argv[1])
