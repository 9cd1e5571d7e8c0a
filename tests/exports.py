"""SavedModels for tests, written by a process of their own: tests never import TensorFlow.

They are kept in `out/models` under a digest of the files that make them, and shared by all test
processes, of this run and of later ones.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "out" / "models"


def exported(module: str, seconds: float) -> Path:
    """The folder into which ``python -m module FOLDER`` has written its models; nobody may write
    into it."""
    KEPT.mkdir(parents=True, exist_ok=True)
    folder = KEPT / f"{module}-{_digest(module)}"
    with (KEPT / "lock").open("w") as lock:
        # Test processes start together, and only one of them exports.
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "all-exported"
        if not done.exists():
            for old in KEPT.glob(f"{module}-*"):
                shutil.rmtree(old)
            # Into its own place: some models know the path of their files.
            export(module, folder, seconds)
            done.touch()
    return folder


def export(module: str, folder: Path, seconds: float) -> None:
    """Run ``python -m module folder``."""
    done = subprocess.run(
        [sys.executable, "-m", module, str(folder)],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def _digest(module: str) -> str:
    """Of everything that decides how the models look."""
    source = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    beside = [source] if source.parent.name == "tests" else sorted(source.parent.glob("*.py"))
    digest = hashlib.sha256()
    for path in beside:
        digest.update(path.read_bytes())
    for package in ("tensorflow", "keras", "numpy"):
        digest.update(version(package).encode())
    return digest.hexdigest()[:16]
