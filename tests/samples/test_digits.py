"""The digits come with the package, and are those of scikit-learn."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split

from workbench.samples.digits import load_digits


def test_they_are_those_of_scikit_learn() -> None:
    data = datasets.load_digits()
    x = (data.data / 16.0).astype(np.float32)
    wanted = train_test_split(x, data.target, test_size=450, random_state=0, stratify=data.target)
    found = load_digits()
    pairs = zip((found.x_train, found.x_test, found.y_train, found.y_test), wanted, strict=True)
    for mine, theirs in pairs:
        np.testing.assert_array_equal(mine, theirs)
        assert mine.dtype == theirs.dtype


def test_they_need_nothing_but_numpy() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from workbench.samples.digits import load_digits\n"
        "print(len(load_digits().x_test))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("450\n", "")
