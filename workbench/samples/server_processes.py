"""The processes of a server, to be stopped and killed on purpose."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path

from workbench.client.server import ServerClient
from workbench.core.status import failed_precondition
from workbench.processes import registry


def pid_of(server: ServerClient, role: str) -> int:
    processes = server.memory()
    found = processes[processes["role"] == role]["pid"]
    if found.empty:
        raise failed_precondition(f"Server {server.name!r} has no {role} just now")
    return int(found.iloc[0])


def worker_of(server: ServerClient) -> tuple[int, int]:
    """The highest version that serves, and its worker's pid."""
    version = max(server.versions.available)
    processes = server.memory()
    mine = (processes["model"] == server.model) & (processes["version"] == version)
    if not mine.any():
        raise failed_precondition(f"Version {version} of {server.model} has no worker just now")
    return version, int(processes[mine]["pid"].iloc[0])


def server_pid(server: ServerClient) -> int:
    entry = registry.read(server.name)
    return 0 if entry is None else entry.server.pid


def data_bytes(pid: int) -> int:
    """What a process has of the memory that the limit counts."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    raise failed_precondition(f"Process {pid} is gone")


def send_signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


class ResumeTimer:
    """Resumes a stopped process after some seconds, or now."""

    def __init__(self, pid: int, seconds: float) -> None:
        self._pid = pid
        self._timer = threading.Timer(seconds, self._go_on)
        self._timer.daemon = True

    def start(self) -> None:
        self._timer.start()

    def now(self) -> None:
        self._timer.cancel()
        self._go_on()

    def _go_on(self) -> None:
        send_signal(self._pid, signal.SIGCONT)
