"""SavedModels for tests, written by a process of their own: tests never import TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def exported(module: str, folder: Path, seconds: float) -> Path:
    """`folder`, into which ``python -m module folder`` has written its models."""
    done = subprocess.run(
        [sys.executable, "-m", module, str(folder)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return folder
