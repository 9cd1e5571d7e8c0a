"""Shares the codec fairly: bodies of different sizes have processes of their own.

A body waits only for bodies of about its size that came before it. One of 100 KiB never waits for
one of 70 MB; the system's scheduler gives both processes their turns.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from typing import Literal

import numpy as np

from workbench.core.signature import Signature
from workbench.core.status import ServingError
from workbench.server.front.codec.codec_process import tensor_bytes
from workbench.server.front.codec.converter import CodecProcess, WaitingBytes
from workbench.server.front.http.body import Spool
from workbench.server.front.json.requests import ExamplesRequest, PredictRequest

_SIZES = (2**20, 16 * 2**20)
"""Bytes up to which a body is small, and medium; beyond, it is large."""


class CodecPool:
    """A `CodecProcess` for each class of sizes, each of which exists only when needed.

    All methods are called from one event loop; they are those of `CodecProcess`.
    """

    def __init__(self, max_waiting_bytes: int = 2**30, idle_s: float = 60.0) -> None:
        """
        Args:
            max_waiting_bytes: of bodies and tensors, waiting and in progress; more is refused.
            idle_s: seconds without a job after which a process is ended.
        """
        waiting = WaitingBytes(max_waiting_bytes)
        self._processes = [
            CodecProcess(idle_s=idle_s, waiting=waiting) for _ in range(len(_SIZES) + 1)
        ]

    @property
    def pids(self) -> list[int]:
        """Of the processes that there are now, that for small bodies first."""
        return [process.pid for process in self._processes if process.pid is not None]

    async def decode_predict(
        self,
        spool: Spool,
        signatures: Mapping[str, Signature] | ServingError,
        seconds: float | None = None,
    ) -> PredictRequest:
        """See `CodecProcess.decode_predict`."""
        return await self._of(spool.size).decode_predict(spool, signatures, seconds)

    async def decode_examples(
        self, spool: Spool, method: Literal["classify", "regress"], seconds: float | None = None
    ) -> ExamplesRequest:
        """See `CodecProcess.decode_examples`."""
        return await self._of(spool.size).decode_examples(spool, method, seconds)

    async def encode_predict(
        self, outputs: Mapping[str, np.ndarray], row_format: bool, seconds: float | None = None
    ) -> Spool:
        """See `CodecProcess.encode_predict`."""
        process = self._of(tensor_bytes(outputs))
        return await process.encode_predict(outputs, row_format, seconds)

    async def encode_results(
        self,
        method: Literal["classify", "regress"],
        results: Mapping[str, np.ndarray],
        seconds: float | None = None,
    ) -> Spool:
        """See `CodecProcess.encode_results`."""
        process = self._of(tensor_bytes(results))
        return await process.encode_results(method, results, seconds)

    async def close(self) -> None:
        """End the processes; jobs in progress and waiting fail with UNAVAILABLE."""
        for process in self._processes:
            await process.close()

    def _of(self, size: int) -> CodecProcess:
        return self._processes[bisect.bisect_left(_SIZES, size)]
