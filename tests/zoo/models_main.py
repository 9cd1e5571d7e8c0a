"""`python -m tests.zoo.models_main FOLDER [NAME ...]` exports the zoo: one folder for each model.

It runs in a process of its own, as the tests never import TensorFlow.
"""

from __future__ import annotations

import os
import sys
import time

from tests.zoo.breaking import GOOD
from tests.zoo.broken import BROKEN
from tests.zoo.broken_graphs import BROKEN_GRAPHS
from tests.zoo.exporting import export
from tests.zoo.mixing import MIXING
from tests.zoo.mixing_hidden import MIXING_HIDDEN
from tests.zoo.rowwise import ROWWISE
from tests.zoo.rowwise_keras import ROWWISE_KERAS
from tests.zoo.specimens import by_name


def main(folder: str, names: list[str]) -> None:
    """Write the models with these names, or all of them, below `folder`."""
    import tensorflow as tf

    specimens = by_name(MIXING, MIXING_HIDDEN, ROWWISE, ROWWISE_KERAS, GOOD)
    builders = {
        **{s.name: lambda path, s=s: export(tf, s, path) for s in specimens.values()},
        **{b.name: lambda path, b=b: b.build(tf, path) for b in [*BROKEN, *BROKEN_GRAPHS]},
    }
    for name in names or builders:
        started = time.monotonic()
        path = os.path.join(folder, name)
        builders[name](path)
        assert os.path.isdir(path), f"{name} was not written"
        print(f"{time.monotonic() - started:6.2f} s  {name}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
