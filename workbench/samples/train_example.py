"""`python -m workbench.samples.train_example FOLDER` trains the example model of `workbench lab`,
and writes it as a SavedModel.

It is a process of its own because TensorFlow and Keras stay in the memory of a process that has
imported them, and `workbench lab` runs for as long as JupyterLab does.
"""

from __future__ import annotations

import sys
from pathlib import Path

from workbench.client.models.servable import servable
from workbench.samples.digits import train_digits


def train_example(folder: Path) -> None:
    """Train the linear model of digits, and write it into `folder`, which is made."""
    folder.mkdir()
    servable(train_digits()).write(folder)


if __name__ == "__main__":
    train_example(Path(sys.argv[1]))
