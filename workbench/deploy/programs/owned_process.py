"""Runs a program that is not ours, and ends it with its owner.

A program such as HAProxy does not watch the process that started it. A guard process does that
instead (`python -m workbench.deploy.programs.owned_process PID STARTED SECONDS COMMAND ...`). The
guard ends the program and all its descendants when the owner ends, when the guard is asked to end,
and when the program itself has ended. If the guard is killed, the system ends the program.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any

from workbench.processes.lifetime import ProcessId, become_subreaper, wait_for_end

_PR_SET_PDEATHSIG = 1
_KILL_SECONDS = 5.0


def start_owned(
    command: Sequence[str],
    *,
    stop_seconds: float = 2.0,
    owner: ProcessId | None = None,
    output: IO[Any] | int | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` under a guard, and return the guard.

    SIGTERM to the guard ends the program; the guard's exit code is that of the program.

    Args:
        stop_seconds: how long the program may take to end after SIGTERM, before it is killed.
        owner: the process that it ends with, by default this one.
        output: a file for its standard output and error.
    """
    owner = owner or ProcessId.me()
    guard = [sys.executable, "-m", "workbench.deploy.programs.owned_process"]
    about = [str(owner.pid), str(owner.started), str(stop_seconds)]
    return subprocess.Popen(
        [*guard, *about, *command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=None if env is None else dict(env),
        start_new_session=True,
    )


def end_owned(guard: subprocess.Popen[bytes], seconds: float) -> None:
    """End a program that `start_owned` started, and wait for its end."""
    guard.terminate()
    try:
        guard.wait(seconds)
    except subprocess.TimeoutExpired:
        guard.kill()
        guard.wait(seconds)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _end_descendants(seconds: float) -> None:
    """End every process below this one: politely, and after `seconds` by SIGKILL."""
    import psutil

    end = time.monotonic() + seconds
    asked: set[int] = set()
    while True:
        # A child that ended has handed its own children to this process.
        found = psutil.Process().children(recursive=True)
        if not found:
            return
        for process in found:
            with contextlib.suppress(psutil.Error):
                if time.monotonic() > end:
                    process.kill()
                elif process.pid not in asked:
                    process.terminate()
        asked.update(process.pid for process in found)
        psutil.wait_procs(found, timeout=0.05)
        if time.monotonic() > end + _KILL_SECONDS:
            return


def main(arguments: Sequence[str]) -> int:
    """Guard one program until it or its owner ends; returns the program's exit code."""
    pid, started, seconds, *command = arguments
    owner = ProcessId(int(pid), float(started))
    become_subreaper()
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: ending.set())
    # The program's parent must be the main thread: the system watches the thread that forked.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent)

    def watch_owner() -> None:
        wait_for_end(owner)
        ending.set()

    threading.Thread(target=watch_owner, name="owner-watch", daemon=True).start()
    code = None
    while code is None and not ending.wait(0.1):
        code = child.poll()
    if code is None:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = child.wait(float(seconds))
    _end_descendants(0.0 if code is None else float(seconds))
    return 128 - code if code is not None and code < 0 else code or 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
