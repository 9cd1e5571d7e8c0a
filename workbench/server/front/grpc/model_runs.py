"""Runs models for gRPC requests: finds the version, queues the run, encodes the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np

from workbench.core.status import Code, ServingError, invalid_argument
from workbench.core.versions.outage import OutOfService
from workbench.ipc.frames import Tensors
from workbench.server.engine.batching.scheduler import BatchScheduler
from workbench.server.engine.batching.tasks import Task, now_micros
from workbench.server.engine.versions.manager import Manager
from workbench.server.engine.versions.model import Served
from workbench.server.front.admission import HELD_TOO_LONG
from workbench.server.front.grpc.request_messages import NO_SPEC, ModelSpec
from workbench.server.front.json.responses import encoding_bytes
from workbench.server.front.metrics.prometheus import Metrics

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")

_NEVER = 2**62
_ASIDE_BYTES = 256 * 1024
"""Requests and outputs beyond this are read and written in a thread."""
_HOLD_SECONDS = 30.0
"""How long a request without a deadline waits for a version, where requests are held."""

# The version that the request of this task goes to, and when it had been read; each request is a
# task of its own.
_version: ContextVar[int | None] = ContextVar("version", default=None)
_read_at: ContextVar[int] = ContextVar("read_at")


class ModelRuns:
    """The engine as the methods of PredictionService see it."""

    def __init__(self, manager: Manager, scheduler: BatchScheduler, metrics: Metrics) -> None:
        self.manager = manager
        self._scheduler = scheduler
        self.metrics = metrics

    async def counted(self, api: str, spec: ModelSpec, work: Awaitable[bytes]) -> bytes:
        """Wait for the answer to a request, and enter it in the metrics."""
        started, code = now_micros(), Code.CANCELLED
        try:
            answer = await work
            code = Code.OK
            return answer
        except Exception as error:
            code = error.code if isinstance(error, ServingError) else Code.INTERNAL
            raise
        finally:
            micros = now_micros() - started
            self.metrics.request(spec.name, api, "GRPC", code, micros, _version.get())

    async def run(
        self,
        api: str,
        served: Served,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        outputs: tuple[str, ...],
        seconds: float | None,
        encode: Callable[[Tensors], Any],
    ) -> Any:
        """Run a signature and return the encoded outputs. `encode` gets views that are valid only
        during the call, or, in a thread, copies of large outputs."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answer(result: Tensors | ServingError) -> None:
            if future.done():
                return
            if isinstance(result, ServingError):
                future.set_exception(result)
                return
            self.metrics.runtime(served.id.name, api, now_micros() - task.arrived)
            try:
                if answer_bytes(api, result) <= _ASIDE_BYTES:
                    future.set_result(encode(result))
                else:
                    copies = {name: array.copy() for name, array in result.items()}
                    future.set_result(future.get_loop().run_in_executor(None, encode, copies))
            except Exception as error:
                future.set_exception(error)

        assert served.queues is not None
        deadline = _NEVER if seconds is None else now_micros() + round(seconds * 1e6)
        task = Task(served.queues, signature, inputs, outputs, deadline, answer)
        self.manager.recorder.arrived(served.id.name, _read_at.get(), inputs)
        self._scheduler.submit(task)
        try:
            encoded = await future
        except asyncio.CancelledError:
            self._scheduler.cancel(task)
            raise
        return await encoded if asyncio.isfuture(encoded) else encoded

    def find(self, spec: ModelSpec) -> Served:
        """The version that `spec` names; raises a ServingError where there is none."""
        if spec is NO_SPEC:
            raise invalid_argument("Missing ModelSpec")
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        return self.manager.find(spec.name, spec.version, spec.label)

    async def find_or_wait(self, spec: ModelSpec, seconds: float | None, size: int) -> Served:
        """The version that answers a request of `size` bytes; where requests are held, after the
        gap in which there is none.

        Raises:
            ServingError: DEADLINE_EXCEEDED, none came in time; or as `find`.
        """
        _read_at.set(now_micros())
        end = time.monotonic() + (_HOLD_SECONDS if seconds is None else seconds)
        while True:
            try:
                served = self.find(spec)
                _version.set(served.id.version)
                return served
            except ServingError as error:
                latest = spec.version is None and spec.label is None
                absent = error.code is Code.NOT_FOUND and latest
                if not absent and not isinstance(error, OutOfService):
                    raise
                come = asyncio.Event()
                left = max(0.0, end - time.monotonic())
                remove = self.manager.hold(spec.name, come.set, size, left)
                if remove is None:
                    raise
                try:
                    await asyncio.wait_for(come.wait(), left)
                except asyncio.TimeoutError:
                    raise ServingError(Code.DEADLINE_EXCEEDED, HELD_TOO_LONG) from None
                finally:
                    remove()


async def aside(size: int, work: Callable[[_Given], _Made], given: _Given) -> _Made:
    """Read something of `size` bytes: in a thread where that may take long.

    It shares the interpreter with the event loop, a few milliseconds in turn.
    """
    return work(given) if size <= _ASIDE_BYTES else await asyncio.to_thread(work, given)


def answer_bytes(api: str, outputs: Tensors) -> int:
    """The bytes of numbers in a Predict answer that take as long to write as `outputs` do."""
    # Each class or regression is a message.
    return encoding_bytes(outputs) * (1 if api == "Predict" else 16)
