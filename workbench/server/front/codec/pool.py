"""Shares the codec fairly: bodies of different sizes have processes of their own.

A body waits only for bodies of about its size that came before it. One of 100 KiB never waits for
one of 70 MB; the system's scheduler gives both processes their turns.
"""

from __future__ import annotations

import bisect

from workbench.server.front.codec.converter import Codec, CodecProcess, WaitingBytes

_SIZES = (2**20, 16 * 2**20)
"""Bytes up to which a body is small, and medium; beyond, it is large."""


class CodecPool(Codec):
    """A `CodecProcess` for each class of sizes, each of which exists only when needed.

    All methods are called from one event loop.
    """

    def __init__(self, max_waiting_bytes: int = 2**30, idle_s: float = 60.0) -> None:
        """
        Args:
            max_waiting_bytes: of bodies and tensors, waiting and in progress; more is refused.
            idle_s: seconds without a job after which a process is ended.
        """
        waiting = WaitingBytes(max_waiting_bytes)
        self._processes = [CodecProcess(idle_s, waiting=waiting) for _ in (*_SIZES, None)]

    @property
    def pids(self) -> list[int]:
        """Of the processes that exist now, the one for small bodies first."""
        return [process.pid for process in self._processes if process.pid is not None]

    async def close(self) -> None:
        """End the processes; jobs in progress and waiting fail with UNAVAILABLE."""
        for process in self._processes:
            await process.close()

    def _process_for(self, size: int) -> CodecProcess:
        return self._processes[bisect.bisect_left(_SIZES, size)]
