"""The wheel: built once with Node, installed where there is none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout
    return re.sub(r"\x1b\[\d+m", "", done.stdout)


def test_the_wheel_installs_without_node_and_both_extensions_are_ok(tmp_path: Path) -> None:
    # A copy of what is tracked: building writes beside the sources.
    source = tmp_path / "source"
    run("git", "clone", "--quiet", ROOT, source, cwd=tmp_path)
    wheels = tmp_path / "wheels"
    run(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", wheels, source,
        cwd=tmp_path,
    )  # fmt: skip
    (wheel,) = wheels.glob("serving_workbench-*.whl")

    place = tmp_path / "place"
    run(sys.executable, "-m", "venv", "--without-pip", place, cwd=tmp_path)
    python = place / "bin" / "python"
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))",
                        cwd=tmp_path).strip())  # fmt: skip
    # What the wheel depends on is taken from here; the wheel's own package comes first.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    alone = {
        # No node, no npm, nothing but the new environment.
        "PATH": str(place / "bin"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTER_DATA_DIR": str(tmp_path / "data"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "HOME": str(tmp_path),
    }
    run(
        python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed",
        wheel, cwd=tmp_path, **alone,
    )  # fmt: skip

    where = run(python, "-c", "import workbench; print(workbench.__file__)", cwd=tmp_path, **alone)
    package = Path(where.strip()).parent
    assert package.is_relative_to(place)
    # The labs and their data come along.
    assert {"notebooks/00-quickstart.ipynb", "samples/digits.npz"} <= {
        str(path.relative_to(package)) for path in package.rglob("*.*")
    }
    lab = run(python, "-m", "jupyterlab.labextensions", "list", cwd=tmp_path, **alone)
    (line,) = [line for line in lab.splitlines() if "serving-workbench-lab" in line]
    assert "enabled" in line
    assert "OK" in line
    server = run(
        python, "-m", "jupyter_server.extension.serverextension", "list", cwd=tmp_path, **alone
    )
    assert (
        "workbench.jupyter.server_extension enabled - "
        "Validating workbench.jupyter.server_extension... " in (" ".join(server.split()))
    )
    assert re.search(r"workbench\.jupyter\.server_extension .*OK", server)
    kernels = run(python, "-m", "jupyter_client.kernelspecapp", "list", cwd=tmp_path, **alone)
    (line,) = [line for line in kernels.splitlines() if "workbench-serving" in line]
    assert str(place) in line
