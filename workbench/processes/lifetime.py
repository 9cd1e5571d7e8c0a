"""The identity of processes, and how a process ends with its owner.

A pid alone is not an identity, because the system uses it again. `ProcessId` adds the start time; a
pidfd stays valid however often the pid is used again.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

_PR_SET_CHILD_SUBREAPER = 36
_POLL_SECONDS = 0.2
_OWN_SIGNALS = frozenset(
    {signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP}
)


class ProcessId(NamedTuple):
    """A process: its pid, and the start time that tells it from a later process with that pid."""

    pid: int
    started: float
    """Clock ticks since boot on Linux, seconds since the epoch elsewhere."""

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The process that has this pid now; None if there is none, or only a zombie."""
        if sys.platform == "linux":
            try:
                with open(f"/proc/{pid}/stat", "rb") as file:
                    # The name in parentheses may itself hold spaces and parentheses.
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                return None
            if fields[0] in (b"Z", b"X"):
                return None
            return cls(pid, float(fields[19]))
        import psutil

        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return cls(pid, process.create_time())
        except psutil.Error:
            return None

    @classmethod
    def read(cls, kept: Any) -> ProcessId | None:
        """The process that JSON has kept as ``[pid, started]``; None for None.

        Raises:
            TypeError, ValueError: it is neither.
        """
        if kept is None:
            return None
        pid, started = kept
        return cls(int(pid), float(started))

    @classmethod
    def me(cls) -> ProcessId:
        """This process."""
        found = cls.of(os.getpid())
        assert found is not None
        return found

    def alive(self) -> bool:
        """Whether it runs now; a zombie does not."""
        return ProcessId.of(self.pid) == self

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signal exactly this process; nothing happens if it is gone already."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def wait_gone(process: ProcessId, timeout: float) -> bool:
    """Wait up to `timeout` seconds for a process to end; returns whether it has."""
    end = time.monotonic() + timeout
    while process.alive():
        if time.monotonic() >= end:
            return False
        time.sleep(0.02)
    return True


def become_subreaper() -> None:
    """Adopt descendants whose parent has died, to end and reap them.

    Only Linux has this. Elsewhere init adopts them.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap(pid: int) -> int | None:
    """The wait status of an ended child or adopted descendant; None if it is neither."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return status if found == pid else None


def die_with(owner: ProcessId | int, last_words: Callable[[], Any] | None = None) -> None:
    """End this process as soon as `owner` ends, from a thread.

    The exit is `os._exit`, which no `finally`, no non-daemon thread and no hung native call can
    delay.

    Args:
        owner: a process, or a pidfd of it.
        last_words: called before the exit. Nothing limits its time, so it must be short.
    """

    def watch() -> None:
        wait_for_end(owner)
        try:
            if last_words is not None:
                last_words()
        finally:
            os._exit(0)

    threading.Thread(target=watch, name="die-with-owner", daemon=True).start()


def wait_for_end(process: ProcessId | int) -> None:
    """Block until a process (or the process behind a pidfd) has ended."""
    if isinstance(process, int):
        poller = select.poll()
        poller.register(process, select.POLLIN)
        poller.poll()
        return
    fd = open_pidfd(process)
    if fd is None:
        while process.alive():
            time.sleep(_POLL_SECONDS)
        return
    try:
        wait_for_end(fd)
    finally:
        os.close(fd)


def open_pidfd(process: ProcessId) -> int | None:
    """A pidfd of exactly this process; None if it has ended, or the system has no pidfds."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        return None
    # The pid may have been used again before it was opened.
    if process.alive():
        return fd
    os.close(fd)
    return None


def is_abort(status: int | None) -> bool:
    """Whether a wait status says that the process ended itself by a signal (SIGABRT, SIGSEGV ...),
    as native code does."""
    return status is not None and -os.waitstatus_to_exitcode(status) in _OWN_SIGNALS


def describe_exit(status: int | None) -> str:
    """A wait status as a phrase: ``exit code 1``, ``killed by SIGKILL``."""
    if status is None:
        return "ended, its exit status is not known"
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if -code == signal.SIGKILL:
        return f"killed by {name} (by a user, or by the system because memory ran out)"
    return f"killed by {name}"
