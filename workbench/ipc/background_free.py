"""Frees large memory in a thread of its own.

The system takes a quarter of a millisecond to free a megabyte of shared memory, and the thread that
drops the last reference waits for it. Closing a descriptor and unmapping release the interpreter's
lock, so in a thread of its own this delays nobody.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from workbench.ipc.low_priority import quiet_executor

_LARGE_BYTES = 2**20
"""Smaller files are closed at once."""

_thread = quiet_executor("giving-back")


def let_go(thing: Any) -> None:
    """Drop a reference to something large. The caller drops its own, so that this is the last."""
    with suppress(RuntimeError):  # The interpreter is ending, and frees everything.
        _thread.submit(id, thing)  # Any function does that keeps nothing of its argument.


def close(fd: int) -> None:
    """Close the descriptor of a file in memory: in the thread where the file is large."""
    if os.fstat(fd).st_size < _LARGE_BYTES:
        os.close(fd)
        return
    try:
        _thread.submit(os.close, fd)
    except RuntimeError:
        os.close(fd)
