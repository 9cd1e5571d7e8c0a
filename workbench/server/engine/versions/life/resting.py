"""Delays the end of an old version's process for a moment after a new version has taken over.

Freeing the memory of a process costs tens of milliseconds of CPU time, at any priority. They should
not delay the first answers of the new version.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

REST_SECONDS = 0.3
_LOOK_SECONDS = 0.02


class Resting:
    """The tasks that wait before they end a version."""

    def __init__(self) -> None:
        self._hurried: dict[asyncio.Task[Any], asyncio.Event] = {}

    async def rest(self, goes_on: Callable[[], bool]) -> None:
        """Wait while `goes_on()` is true, at most `REST_SECONDS`. The calling task ends a version
        next."""
        task = asyncio.current_task()
        assert task is not None
        hurried = self._hurried[task] = asyncio.Event()
        task.add_done_callback(lambda task: self._hurried.pop(task, None))
        end = time.monotonic() + REST_SECONDS
        while goes_on() and not hurried.is_set() and time.monotonic() < end:
            await asyncio.sleep(_LOOK_SECONDS)

    async def end(self) -> None:
        """Have all waiting tasks end their versions now, and wait until they have."""
        for hurried in self._hurried.values():
            hurried.set()
        if self._hurried:
            await asyncio.wait(list(self._hurried))

    def __bool__(self) -> bool:
        return bool(self._hurried)
