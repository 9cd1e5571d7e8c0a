"""Finds the processes of a server, to stop and kill them on purpose."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from workbench.client.server import ServerClient
from workbench.core.status import failed_precondition
from workbench.processes import registry


def pid_of(server: ServerClient, role: str) -> int:
    """The pid of the first process with a role; FAILED_PRECONDITION without one."""
    processes = server.memory()
    found = processes[processes["role"] == role]["pid"]
    if found.empty:
        raise failed_precondition(f"Server {server.name!r} has no {role} at the moment")
    return int(found.iloc[0])


def worker_of(server: ServerClient) -> tuple[int, int]:
    """The highest version that serves, and its worker's pid."""
    version = max(server.versions.available)
    processes = server.memory()
    mine = (processes["model"] == server.model) & (processes["version"] == version)
    if not mine.any():
        raise failed_precondition(
            f"Version {version} of {server.model} has no worker at the moment"
        )
    return version, int(processes[mine]["pid"].iloc[0])


def server_pid(server: ServerClient) -> int:
    """The pid of the server process; 0 where the server is not registered."""
    entry = registry.read(server.name)
    return 0 if entry is None else entry.server.pid


def data_bytes(pid: int) -> int:
    """The memory of a process that `RLIMIT_DATA` limits."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    raise failed_precondition(f"Process {pid} has ended")


def send_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that has ended is ignored."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def stop(pid: int, seconds: float) -> Callable[[], None]:
    """Stop a process, and resume it after some seconds; returns a function that resumes it now."""
    timer = threading.Timer(seconds, send_signal, (pid, signal.SIGCONT))
    timer.daemon = True
    os.kill(pid, signal.SIGSTOP)
    timer.start()

    def resume() -> None:
        timer.cancel()
        send_signal(pid, signal.SIGCONT)

    return resume
