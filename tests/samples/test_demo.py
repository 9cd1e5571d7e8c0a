from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from workbench.experiments.looks import FAILED, VERSIONS


@pytest.mark.slow
def test_the_demo_tells_a_models_life_and_draws_it(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    figure = tmp_path / "out" / "demo.png"
    done = subprocess.run(
        # What `make demo` does; the figure goes to out/demo.png.
        [str(Path(sys.executable).with_name("workbench")), "demo"],
        cwd=tmp_path,
        env={**os.environ, "JUPYTER_RUNTIME_DIR": str(runtime)},
        capture_output=True,
        text=True,
        timeout=110,
    )
    # 0 means: no request failed under smooth while both versions were in memory, and under
    # unload-first memory never held both while the service was away for a moment.
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    steps = [line.partition(" ...")[0] for line in done.stdout.splitlines() if " ..." in line]
    assert steps == [
        "Training two models on 1 347 handwritten digits",
        "Serving version 1",
        "Publishing version 2, smooth",
        "Rolling back: the folder of version 2 is moved aside",
        "Publishing it again, as version 3, unload-first",
        "Stopping the server",
    ]
    assert re.search(r" requests, 0 failed, always served; ", done.stdout)
    assert re.search(r"nothing served for \d+ ms; .*never both versions in memory", done.stdout)
    assert done.stdout.splitlines()[-1] == "Figure: out/demo.png"
    assert os.listdir(runtime) == []

    # Smooth on the left, unload-first on the right, each with its two versions; what failed is on
    # the right alone. (There is the legend, too, with all versions.)
    picture = imread(figure)
    # Below the panels is the legend, which has all colours.
    picture = picture[: round(0.8 * len(picture))]
    left, right = np.array_split(picture, 2, axis=1)
    first, second, third = VERSIONS[:3]
    for half, there, absent in (
        (left, (first, second), (third, FAILED)),
        (right, (first, third, FAILED), ()),
    ):
        assert [colour for colour in there if pixels(half, colour) < 50] == []
        assert [colour for colour in absent if pixels(half, colour) > 0] == []


def pixels(picture: np.ndarray, colour: str) -> int:
    """How many have just that colour."""
    return int((abs(picture[..., :3] - to_rgb(colour)) < 1 / 512).all(axis=-1).sum())
