from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_demo_tells_a_models_life_and_draws_it(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    figure = tmp_path / "out" / "demo.png"
    done = subprocess.run(
        [sys.executable, "-m", "workbench.cli.main", "demo", "--output", str(figure)],
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
        "Undoing that, unload-first",
        "Stopping the server",
    ]
    assert re.search(r" requests, 0 failed, always served; ", done.stdout)
    assert re.search(r"nothing served for \d+ ms; .*never both versions in memory", done.stdout)
    assert done.stdout.splitlines()[-1] == f"Figure: {figure}"
    assert figure.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert os.listdir(runtime) == []
