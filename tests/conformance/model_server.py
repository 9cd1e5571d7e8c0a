"""A running `workbench model-server`, and the files that it is given."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from tests.children import WITH_TEST

START_SECONDS = 100.0


class ModelServer:
    """A running `workbench model-server`; `output` is all that it has printed."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.port, self.rest_port = free_ports(2)
        self._log = folder / f"model-server-{self.port}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *WITH_TEST,
                    sys.executable,
                    "-m",
                    "workbench.cli.main",
                    "model-server",
                    f"--port={self.port}",
                    f"--rest_api_port={self.rest_port}",
                    *flags,
                ],
                stdout=log,
                stderr=log,
                env={**os.environ, "JUPYTER_RUNTIME_DIR": str(folder / "runtime")},
            )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str, seconds: float = START_SECONDS) -> None:
        """Wait until it has printed something."""
        end = time.monotonic() + seconds
        while text not in self.output:
            assert time.monotonic() < end, f"no {text!r} in:\n{self.output}"
            assert self.process.poll() is None, f"it has ended:\n{self.output}"
            time.sleep(0.05)

    def rest(self, path: str, body: str | None = None) -> tuple[int, str]:
        """Status and body of a REST request."""
        url = f"http://127.0.0.1:{self.rest_port}{path}"
        request = urllib.request.Request(url, None if body is None else body.encode())
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(START_SECONDS)
        finally:
            self.process.kill()
            self.process.wait()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listens at, all different."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def put(export: Path, base: Path, version: int) -> Path:
    """Publish a test model as a version: copied beside, then renamed."""
    base.mkdir(exist_ok=True, parents=True)
    shutil.copytree(export, base / f"{version}.tmp")
    return (base / f"{version}.tmp").rename(base / str(version))


def entry(name: str, base: Path, more: str = "") -> str:
    """A `ModelConfig` in text format."""
    return f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" {more} }}\n'


def config_text(*entries: str) -> str:
    return "model_config_list {\n" + "".join(entries) + "}\n"
