"""Temporary folders that go with the process that made them.

A process that is killed cannot remove its folder. Its name tells whose it is, and the next process
that makes one removes those whose owner has ended.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from workbench.processes.lifetime import ProcessId


def make_owned_folder(prefix: str) -> Path:
    """A new private folder below the system's folder for temporary files, such as
    ``wb-node-1234-5678-abcd`` for the prefix ``wb-node-``."""
    _sweep(prefix)
    owner = ProcessId.me()
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{owner.pid}-{int(owner.started)}-"))


def _sweep(prefix: str) -> None:
    """Remove the folders of this user whose owner has ended."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*-*-*"):
        with contextlib.suppress(ValueError, OSError):
            pid, started = folder.name.removeprefix(prefix).split("-")[:2]
            mine = folder.stat().st_uid == os.getuid()
            if mine and not ProcessId(int(pid), float(started)).alive():
                shutil.rmtree(folder, ignore_errors=True)
