"""Calls back at an exact moment, more exactly than event loops do."""

from __future__ import annotations

import asyncio
import ctypes
import math
import os
import sys
import time
from collections.abc import Callable


class Alarm:
    """Calls back at a moment of the monotonic clock, within some tens of microseconds.

    Event loops count in milliseconds, and many requests are shorter than one. So on Linux the loop
    watches a timer of the kernel (timerfd).
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._timer: asyncio.TimerHandle | None = None
        self._fd = -1
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._fd = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd >= 0:
            loop.add_reader(self._fd, self._fired)

    def at(self, moment: float) -> None:
        """Replace the moment, in seconds of `time.monotonic`; a past one means now."""
        if self._fd < 0:
            self._cancel()
            self._timer = self._loop.call_later(max(0.0, moment - time.monotonic()), self._callback)
            return
        fraction, seconds = math.modf(max(moment, 1e-9))  # 0 would mean: never
        setting = (ctypes.c_long * 4)(0, 0, int(seconds), int(fraction * 1e9))
        absolute = 1
        self._libc.timerfd_settime(self._fd, absolute, setting, None)

    def _fired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # it was set again after it had fired
        self._callback()

    def close(self) -> None:
        """Stop the timer; nothing is called afterwards.

        The callback is let go too: its owner, which holds the alarm, must not need the garbage
        collector.
        """
        self._callback = _nothing
        self._cancel()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _nothing() -> None:
    """The callback of a closed alarm."""
