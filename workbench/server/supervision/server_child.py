"""One server process as its supervisor sees it: started, ready or failed, ended."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from workbench.core.status import unavailable
from workbench.processes.lifetime import ProcessId, describe_exit
from workbench.server.supervision.keeping import open_private
from workbench.server.supervision.server_spec import ServerSpec

START_SECONDS = 30.0
_ORPHAN_SECONDS = 1.0


class ServerChild:
    """A server process. It leads a session of its own, to which all of its descendants belong.

    Args:
        spec: how it is started; `ready_fd` is set here.

    Raises:
        OSError: the process cannot be started, or its log cannot be written.
    """

    def __init__(self, spec: ServerSpec) -> None:
        self._log = Path(spec.folder) / "server.log"
        self._ready, ready_write = os.pipe()
        self._spec = replace(spec, ready_fd=ready_write)
        try:
            with open(open_private(self._log), "ab") as log:
                output = None if spec.options.foreground else log
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "workbench.server.supervision.server_process"],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    pass_fds=[ready_write] + [fd for fd in (spec.listen_fd,) if fd is not None],
                    # A terminal's signals are for the owner.
                    start_new_session=True,
                )
        except BaseException:
            os.close(self._ready)
            raise
        finally:
            os.close(ready_write)

    def wait_until_ready(self) -> ProcessId:
        """Send the spec, and wait until the server can be used.

        Raises:
            ServingError: UNAVAILABLE, with the reason that the process gave; it has ended.
        """
        assert self.process.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.write(self._spec.to_bytes())
                self.process.stdin.close()
            answer = _read_line(self._ready, START_SECONDS)
        finally:
            os.close(self._ready)
        identity = ProcessId.of(self.process.pid)
        if "ready" not in answer or identity is None:
            self.kill()
            reason = answer.get("failed") or self._log_tail() or describe_exit(None)
            raise unavailable(f"The server process did not start: {reason}")
        return identity

    def stop(self, seconds: float) -> None:
        """Ask the process to end, kill it after `seconds`, and end what it leaves behind."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(seconds)
        self.end_orphans()

    def kill(self) -> None:
        """Kill the process, and end what it leaves behind."""
        self.process.kill()
        self.process.wait()
        self.end_orphans()

    def end_orphans(self) -> None:
        """End and reap the workers and codec processes of a server process that has ended.

        This process has adopted them as a subreaper. They end by themselves within moments; one
        that cannot, because it hangs in native code, is killed. They are recognised by their
        session: no other process gets its number while one of them is there, and this process may
        have children that are not the server's (those of a Jupyter kernel).
        """
        import psutil

        deadline = time.monotonic() + _ORPHAN_SECONDS
        while True:
            orphans = [
                child
                for child in psutil.Process().children()
                if _session(child.pid) == self.process.pid
            ]
            if not orphans:
                return
            for child in orphans:
                with contextlib.suppress(psutil.Error):
                    if time.monotonic() > deadline:
                        child.kill()
                    child.wait(0.05)
            if time.monotonic() > deadline + _ORPHAN_SECONDS:
                return

    def last_words(self, code: int) -> str:
        """How the process ended, with the last line of its log if it could write one."""
        status = -code if code < 0 else code << 8
        log = self._log_tail().strip().splitlines() if code > 0 else []
        return ": ".join([describe_exit(status), *log[-1:]])

    def _log_tail(self) -> str:
        try:
            return self._log.read_text(errors="replace")[-4000:]
        except OSError:
            return ""


def _session(pid: int) -> int | None:
    """The session that a process belongs to, a zombie's too; None if there is no such process."""
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _read_line(fd: int, timeout: float) -> dict[str, Any]:
    """One line of JSON from a pipe; {} if the pipe was closed first."""
    data = b""
    end = time.monotonic() + timeout
    while not data.endswith(b"\n"):
        readable, _, _ = select.select([fd], [], [], max(0.0, end - time.monotonic()))
        if not readable:
            return {"failed": f"it was not ready within {timeout:.0f} s"}
        piece = os.read(fd, 65536)
        if not piece:
            return {}
        data += piece
    answer: dict[str, Any] = orjson.loads(data)
    return answer
