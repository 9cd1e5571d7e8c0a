"""Recording real requests as a version's warm-up file.

While a recording runs, each request that the version answers well is kept as a `PredictionLog`;
when there are enough, they are written to `assets.extra/tf_serving_warmup_requests` in the
version's folder. From then on that version, here or in TensorFlow Serving, answers them each
time before it becomes available. A request that failed is not kept: it would fail the load.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from workbench.core.status import Code, ServingError, failed_precondition, invalid_argument
from workbench.formats.wire.predict_message import predict_request
from workbench.formats.wire.protobuf import field
from workbench.ipc.frames import Tensors
from workbench.server.engine.batching.tasks import Task
from workbench.server.engine.versions.model import Served

MAX_REQUESTS = 1000
"""What TensorFlow Serving accepts in one file."""
_MAX_BYTES = 32 * 1024 * 1024
_FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
_CRC_MASK = 0xA282EAD8


class WarmupRecording:
    """One recording, from its start to the written file.

    Attributes:
        path: the file that it writes.
        recorded: how many requests it has.
        state: ``recording``, ``writing``, ``written`` or ``failed`` (then `error` says why).
    """

    def __init__(self, served: Served, requests: int) -> None:
        self.version = served.id.version
        self.wanted = requests
        self.path = os.path.join(served.found.place.path, _FILE)
        self.state = "recording"
        self.error = ""
        self._model = served.id.name
        self._records: list[bytes] = []
        self._bytes = 0
        self._served = served
        self._writer: asyncio.Task[None] | None = None

    @property
    def recorded(self) -> int:
        return len(self._records)

    def watch(self, task: Task) -> None:
        """Keep this request if it is answered well; called when it is accepted."""
        record = prediction_log(self._model, task.signature, task.inputs, task.outputs)
        answer = task.answer
        if answer is None:
            return
        deliver: Callable[[Tensors | ServingError], None] = answer

        def answered(result: Tensors | ServingError) -> None:
            if self.state == "recording" and not isinstance(result, ServingError):
                self._records.append(record)
                self._bytes += len(record)
                if self.recorded >= self.wanted or self._bytes > _MAX_BYTES:
                    self._end()
            deliver(result)

        task.answer = answered

    async def finish(self) -> None:
        """Write what there is, and wait until it is written.

        Raises:
            ServingError: FAILED_PRECONDITION, no request has been recorded.
        """
        if self.state == "recording":
            if not self._records:
                raise failed_precondition("No request has been recorded yet")
            self._end()
        if self._writer is not None:
            await self._writer

    def cancel(self) -> None:
        """End without writing anything."""
        if self._served.queues is not None:
            self._served.queues.on_accepted = None

    def _end(self) -> None:
        self.state = "writing"
        self.cancel()
        self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            await asyncio.to_thread(write_records, self.path, self._records)
        except OSError as error:
            self.state, self.error = "failed", f"{self.path}: {error.strerror}"
        else:
            self.state = "written"

    def to_json(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "wanted": self.wanted,
            "recorded": self.recorded,
            "state": self.state,
            "error": self.error,
            "path": self.path,
        }


def record_warmup(served: Served, requests: int) -> WarmupRecording:
    """Record the next `requests` requests that this version answers well.

    A recording that is still running for the version ends without a file.

    Raises:
        ServingError: INVALID_ARGUMENT, more than a file may hold, or none; FAILED_PRECONDITION,
            the version does not serve.
    """
    if not 1 <= requests <= MAX_REQUESTS:
        raise invalid_argument(
            f"Between 1 and {MAX_REQUESTS} requests can be recorded; asked for {requests}"
        )
    if served.queues is None:
        raise ServingError(Code.FAILED_PRECONDITION, f"{served.id} does not serve")
    recording = served.recording = WarmupRecording(served, requests)
    served.queues.on_accepted = recording.watch
    return recording


def prediction_log(
    model: str, signature: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]
) -> bytes:
    """A serialised `PredictionLog` with one predict request (`prediction_log.proto`)."""
    return field(6, field(1, predict_request(model, signature, inputs, outputs)))


def write_records(path: str, records: Iterable[bytes]) -> None:
    """Write a TFRecord file: written beside, then renamed, so that no reader sees half of it.

    Each record is its length (8 bytes), a checksum of that, the record, a checksum of that.
    """
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    try:
        _write_records(folder, path, records)
    except BaseException:
        # A folder that is only there for what could not be written.
        with contextlib.suppress(OSError):
            os.rmdir(folder)
        raise


def _write_records(folder: str, path: str, records: Iterable[bytes]) -> None:
    handle, beside = tempfile.mkstemp(dir=folder, prefix=".warmup-")
    try:
        with os.fdopen(handle, "wb") as file:
            for record in records:
                length = struct.pack("<Q", len(record))
                file.write(length + _checksum(length) + record + _checksum(record))
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


def _checksum(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _CRC_MASK) & 0xFFFF_FFFF)


def crc32c(data: bytes) -> int:
    """The Castagnoli CRC of `data` (RFC 3720, appendix B.4)."""
    crc = 0xFFFF_FFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFF_FFFF


def _crc_table() -> tuple[int, ...]:
    table = []
    for entry in range(256):
        for _ in range(8):
            entry = entry >> 1 ^ (0x82F63B78 if entry & 1 else 0)
        table.append(entry)
    return tuple(table)


_CRC_TABLE = _crc_table()
