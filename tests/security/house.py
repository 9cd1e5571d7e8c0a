"""A server with everything around it that somebody might look into."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

import workbench as wb
from workbench.processes.launcher import reap_supervisors

NAME = "guarded"


class House:
    """A server below a folder that every user of the machine may enter, as `/run/user` may not be
    but a home folder often is; what protects it must be the server's own."""

    def __init__(self, models: Path, token: str) -> None:
        self.models = models
        self.token = token
        self.folder = Path(tempfile.mkdtemp(prefix="wb-open-"))
        self.folder.chmod(0o755)
        self.runtime = self.folder / "runtime"
        self.runtime.mkdir(mode=0o755)
        self.server = wb.Server(NAME, NAME)

    def start(self) -> None:
        export = self.models / "half_plus_two"
        self.server = wb.serve(str(export), NAME, token=self.token)

    def files(self) -> list[Path]:
        """Everything that lies on disk for the server."""
        return [path for path in sorted(self.folder.rglob("*")) if not path.is_dir()]

    def tree(self) -> list[psutil.Process]:
        """The supervisor and all that descends from it."""
        from workbench.processes import registry

        top = psutil.Process(registry.find(NAME).supervisor.pid)
        return [top, *top.children(recursive=True)]

    def close(self) -> None:
        try:
            self.server.stop()
        finally:
            reap_supervisors()
            shutil.rmtree(self.folder)


@contextmanager
def house(models: Path, token: str) -> Iterator[House]:
    opened = House(models, token)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_RUNTIME_DIR", str(opened.runtime))
        before = os.umask(0o022)
        try:
            opened.start()
            yield opened
        finally:
            os.umask(before)
            opened.close()
