"""Whether a test left descriptors behind, in a process in which a server runs beside it."""

from __future__ import annotations

import contextlib
import gc
import os
import time

_WAIT_SECONDS = 10.0


def open_descriptors() -> set[tuple[str, str]]:
    """Open descriptors and what they lead to. The session's server, which runs in a thread of
    this process, may close some at any time, and reads memory figures from /proc."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add((fd, os.readlink(f"/proc/self/fd/{fd}")))
    return {(fd, target) for fd, target in found if not target.startswith("/proc/")}


def assert_none_left(before: set[tuple[str, str]]) -> None:
    """All that was opened since `before` is closed, or is about to be by that other thread."""
    end = time.monotonic() + _WAIT_SECONDS
    gc.collect()
    while (left := open_descriptors() - before) and time.monotonic() < end:
        time.sleep(0.05)
    assert left == set()
