"""Memory that is given back in a thread of its own.

The system takes a quarter of a millisecond for each megabyte of shared memory that nobody holds any
more, and the one who lets go of it last waits for that. Closing a descriptor and unmapping release
the interpreter's lock, so in a thread it disturbs nobody.
"""

from __future__ import annotations

import os
from typing import Any

from workbench.ipc.low_priority import quiet_executor

LARGE_BYTES = 2**20
"""From here on it is worth handing over."""

_thread = quiet_executor("giving-back")


def let_go(thing: Any) -> None:
    """Drop what is the last reference to something large, but for the caller's own."""
    try:
        _thread.submit(_nothing, thing)
    except RuntimeError:
        pass  # the interpreter is ending, and gives everything back


def close(fd: int) -> None:
    """Close a descriptor of something large; raises nothing."""
    try:
        _thread.submit(os.close, fd)
    except RuntimeError:
        os.close(fd)


def _nothing(thing: Any) -> None:
    pass
