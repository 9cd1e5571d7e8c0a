"""Recording real requests as a version's warm-up file.

While a recording runs, each request that the version answers well is kept as a `PredictionLog`;
when there are enough, they are written to `assets.extra/tf_serving_warmup_requests` in the
version's folder. From then on that version, here or in TensorFlow Serving, answers them each
time before it becomes available. A request that failed is not kept: it would fail the load.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workbench.core.status import ServingError, failed_precondition, invalid_argument
from workbench.core.versions.states import ServableId
from workbench.formats.saved_model.saved_model_file import WARMUP_FILE
from workbench.formats.wire.predict_message import predict_request
from workbench.formats.wire.protobuf import field
from workbench.formats.wire.tfrecord import write_records
from workbench.ipc.frames import Tensors
from workbench.server.engine.batching.tasks import Task, VersionQueues

MAX_REQUESTS = 1000
"""What TensorFlow Serving accepts in one file."""
_MAX_BYTES = 32 * 1024 * 1024


class WarmupRecording:
    """One recording, from its start to the written file.

    Args:
        servable: the version to record from.
        folder: its files.
        queues: its requests.
        requests: how many to record.

    Attributes:
        path: the file that it writes.
        recorded: how many requests it has.
        state: ``recording``, ``writing``, ``written`` or ``failed`` (then `error` says why).
    """

    def __init__(
        self, servable: ServableId, folder: str, queues: VersionQueues, requests: int
    ) -> None:
        """
        Raises:
            ServingError: INVALID_ARGUMENT, more requests than a file may hold, or none.
        """
        if not 1 <= requests <= MAX_REQUESTS:
            raise invalid_argument(
                f"Between 1 and {MAX_REQUESTS} requests can be recorded; asked for {requests}"
            )
        self.version = servable.version
        self.wanted = requests
        self.path = os.path.join(folder, WARMUP_FILE)
        self.state = "recording"
        self.error = ""
        self._model = servable.name
        self._records: list[bytes] = []
        self._bytes = 0
        self._queues = queues
        self._writer: asyncio.Task[None] | None = None
        # Another recording of the version ends here, without a file.
        queues.on_accepted = self.watch

    @property
    def recorded(self) -> int:
        """Requests recorded so far."""
        return len(self._records)

    def watch(self, task: Task) -> None:
        """Keep this request if it is answered well; called when it is accepted."""
        record = prediction_log(self._model, task.signature, task.inputs, task.outputs)
        deliver = task.answer
        assert deliver is not None

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
        self._queues.on_accepted = None

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
        """The progress, for clients."""
        return {
            "version": self.version,
            "wanted": self.wanted,
            "recorded": self.recorded,
            "state": self.state,
            "error": self.error,
            "path": self.path,
        }


def prediction_log(
    model: str, signature: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]
) -> bytes:
    """A serialised `PredictionLog` with one predict request (`prediction_log.proto`)."""
    return field(6, field(1, predict_request(model, signature, inputs, outputs)))
