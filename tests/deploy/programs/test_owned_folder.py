"""The folder of a process that was killed is removed by the next."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from workbench.deploy.programs.owned_folder import make_owned_folder

_MAKE = (
    "import os, signal\n"
    "from workbench.deploy.programs.owned_folder import make_owned_folder\n"
    "print(make_owned_folder('wb-x-'), flush=True)\n"
    "os.kill(os.getpid(), signal.SIGKILL)\n"
)


def test_folders_of_killed_processes_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    killed = subprocess.run([sys.executable, "-c", _MAKE], capture_output=True, text=True)
    left = Path(killed.stdout.strip())
    assert left.parent == tmp_path
    assert left.is_dir()
    other = tmp_path / "wb-x-of-somebody-else"
    other.mkdir()
    first, second = make_owned_folder("wb-x-"), make_owned_folder("wb-x-")
    assert not left.exists()
    assert first.is_dir()
    assert second.is_dir()
    assert other.is_dir()
