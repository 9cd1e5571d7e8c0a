"""Another user of the machine, as whom only the system's superuser can act."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NOBODY = 65534
SECONDS = 60
ONLY_ROOT = [
    pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user"),
    pytest.mark.skipif(sys.platform != "linux", reason="what is tried here is Linux's"),
]


def become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def as_nobody(command: list[str], stdin: str, **settings: Any) -> str:
    """Run a command as the other user; what it prints."""
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        preexec_fn=become_nobody,
        cwd="/",
        **settings,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def public_python(*imports: str, path: str = "") -> str:
    """A Python that the other user can run, and in which these modules can be imported."""
    ours = f"python{sys.version_info.major}.{sys.version_info.minor}"
    system = [shutil.which(name, path="/usr/bin") for name in (ours, "python3")]
    code = "".join(f"import {name}\n" for name in imports)
    for candidate in filter(None, [sys.executable, *system]):
        try:
            as_nobody([candidate, "-c", code], "", env={"PYTHONPATH": path})
            return candidate
        except (AssertionError, OSError):
            continue
    pytest.skip(
        f"another user of this machine has no Python with {', '.join(imports) or 'nothing'}"
    )


@contextmanager
def script_of_nobody(
    export: Path, place: str, code: str, *arguments: str
) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """The other user's Python with what serving needs, and its home while the block runs.

    Args:
        export: what is copied to `place` in the home, and belongs to the other user there.
        code: what it runs until its input ends; its arguments are the home and `arguments`.
    """
    packages = [path for path in sys.path if path.endswith("site-packages")]
    path = os.pathsep.join([str(Path(__file__).parents[2]), *packages])
    python = public_python("workbench", "numpy", "uvloop", "grpc", "tensorflow", path=path)
    home = Path(tempfile.mkdtemp(prefix="wb-nobody-"))
    try:
        shutil.copytree(export, home / place)
        for each in (home, *home.rglob("*")):
            os.chown(each, NOBODY, NOBODY)
        start = f"import sys\nsys.executable = {python!r}\n"
        with subprocess.Popen(
            [python, "-c", start + code, str(home), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                "PYTHONPATH": path,
                "HOME": str(home),
                "TMPDIR": str(home),
                "PATH": "/usr/bin:/bin",
                "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
                "CUDA_VISIBLE_DEVICES": "",
            },
            preexec_fn=become_nobody,
            cwd=home,
        ) as script:
            try:
                yield home, script
                assert script.stdin is not None
                script.stdin.close()
                assert script.wait(SECONDS) == 0
            finally:
                script.kill()
    finally:
        shutil.rmtree(home)
