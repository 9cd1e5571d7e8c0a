"""Launchers start a server by starting its supervisor, in the place that fits the caller.

`SubprocessLauncher` works everywhere: scripts, terminals, VS Code, Colab. In JupyterLab the
supervisor is a Jupyter kernel instead, so JupyterLab lists it and can restart it.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from typing import Any, Protocol

import orjson

from workbench.core.status import Code, ServingError, unavailable
from workbench.processes import registry
from workbench.processes.server_options import StartRequest

START_SECONDS = 60.0


class Launcher(Protocol):
    """Starts a supervisor somewhere."""

    def launch(self, request: StartRequest) -> registry.Entry:
        """Start a server and wait until it can be reached.

        Raises:
            ServingError: with the reason that the started process reported.
        """
        ...


class SubprocessLauncher:
    """Starts the supervisor as a process of its own."""

    command = (sys.executable, "-m", "workbench.server.supervision.supervisor_process")

    def launch(self, request: StartRequest) -> registry.Entry:
        """See `Launcher`; DEADLINE_EXCEEDED if the server has not started within 60 s."""
        process = subprocess.Popen(
            list(self.command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        _children.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(request.to_bytes())
        try:
            answer = _first_line(process, START_SECONDS)
        except BaseException:
            # Interrupted or too slow. The supervisor ends its server by itself.
            process.terminate()
            raise
        finally:
            process.stdout.close()
        if "failed" in answer:
            process.wait(5)
            raise ServingError(Code[answer.get("code", "UNAVAILABLE")], answer["failed"])
        return registry.find(request.options.name)


_children: list[subprocess.Popen[bytes]] = []


def reap_supervisors() -> None:
    """Reap supervisors that have ended; without this they would stay as zombies."""
    _children[:] = [child for child in _children if child.poll() is None]


def _first_line(process: subprocess.Popen[bytes], timeout: float) -> dict[str, Any]:
    assert process.stdout is not None
    end = time.monotonic() + timeout
    line = b""
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([process.stdout], [], [], max(0, end - time.monotonic()))
        if not readable:
            raise ServingError(
                Code.DEADLINE_EXCEEDED, f"The server did not start within {timeout:.0f} s"
            )
        piece = os.read(process.stdout.fileno(), 65536)
        if not piece:
            raise unavailable("The server's supervisor ended without giving a reason")
        line += piece
    answer: dict[str, Any] = orjson.loads(line)
    return answer
