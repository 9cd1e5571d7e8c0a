"""Starting a server from wherever a person is: a launcher makes a supervisor somewhere.

`SubprocessLauncher` works everywhere: scripts, terminals, VS Code, Colab. In JupyterLab the
supervisor is a Jupyter kernel instead, so that JupyterLab lists it and can restart it.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

import orjson

from workbench.core.status import Code, ServingError, unavailable
from workbench.processes import registry

START_SECONDS = 60.0


class Launcher(Protocol):
    """`spec` is a supervisor's specification as plain data (`name`, `models`, `owner` ...)."""

    def launch(self, spec: Mapping[str, Any]) -> registry.Entry:
        """Start a server and wait until it can be reached.

        Raises:
            ServingError: with the reason that the started process gave itself.
        """
        ...


class SubprocessLauncher:
    """The supervisor is a process of its own."""

    command = (sys.executable, "-m", "workbench.server.supervision.supervisor")

    def launch(self, spec: Mapping[str, Any]) -> registry.Entry:
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
            stdin.write(orjson.dumps(spec))
        try:
            answer = _first_line(process, START_SECONDS)
        except BaseException:
            # Interrupted or too slow: the supervisor ends its server itself.
            process.terminate()
            raise
        finally:
            process.stdout.close()
        if "failed" in answer:
            process.wait(5)
            raise ServingError(Code[answer.get("code", "UNAVAILABLE")], answer["failed"])
        return registry.find(str(spec["name"]))


_children: list[subprocess.Popen[bytes]] = []


def reap_supervisors() -> None:
    """Forget supervisors that have ended, so that none stays behind as a zombie."""
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
            raise unavailable("The server's supervisor ended before it could say why")
        line += piece
    answer: dict[str, Any] = orjson.loads(line)
    return answer
