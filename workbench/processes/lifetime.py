"""Watching processes so that nothing outlives its owner, and no one is mistaken for another.

A pid alone is not an identity: it is used again. `ProcessId` adds the start time; `Watch`
holds a pidfd, which stays true however often the pid is used again.
"""

from __future__ import annotations

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


class ProcessId(NamedTuple):
    """A process, told apart from a later one with the same pid by when it started."""

    pid: int
    started: float
    """Clock ticks since boot on Linux, seconds since the epoch elsewhere."""

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The process that has this pid now; None where there is none (a zombie is none)."""
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
    def me(cls) -> ProcessId:
        found = cls.of(os.getpid())
        assert found is not None
        return found

    def alive(self) -> bool:
        return ProcessId.of(self.pid) == self

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signal this very process; nothing happens where it is gone already."""
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass


def wait_gone(process: ProcessId, timeout: float) -> bool:
    """Wait up to `timeout` seconds for a process to end; whether it has."""
    end = time.monotonic() + timeout
    while process.alive():
        if time.monotonic() >= end:
            return False
        time.sleep(0.02)
    return True


def become_subreaper() -> None:
    """Adopt descendants whose parent has died, so that they are reaped and not left behind.

    Only Linux has this; elsewhere init adopts them.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap(pid: int) -> int | None:
    """The wait status of an ended child (or adopted descendant); None where it is not ours."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return status if found == pid else None


def die_with(owner: ProcessId | int, last_words: Callable[[], Any] | None = None) -> None:
    """End this process when `owner` ends: at once, from a thread, whatever else is going on.

    `owner` may be a pidfd that somebody opened for us. `last_words` is called first, bounded
    by nothing but itself: keep it short. The exit is `os._exit`, which no `finally`, no
    non-daemon thread and no hung native call can delay.
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
    """A pidfd of exactly this process; None where the system has none or it has ended."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        return None
    # Between reading the pid and opening it, it may have become another process's.
    if process.alive():
        return fd
    os.close(fd)
    return None


def describe_exit(status: int | None) -> str:
    """A wait status in words: ``exit code 1``, ``killed by SIGKILL``."""
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
        return f"killed by {name} (by someone, or by the system for want of memory)"
    return f"killed by {name}"
