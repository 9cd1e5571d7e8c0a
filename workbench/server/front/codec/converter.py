"""Converts large JSON bodies in a child process, and owns that process.

Parsing 50 MB of JSON keeps one interpreter busy for up to a second. On the server's event loop, or
in a thread beside it, every caller would wait for it; in another process only this caller does.

A parser written in C cannot be interrupted. So when a job's time is over or its caller has gone,
its process is killed, and the next job starts another one.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from workbench.core.signature import Signature
from workbench.core.status import Code, ServingError, unavailable
from workbench.ipc.channel import Channel, socket_pair
from workbench.ipc.frames import ConnectionLost, Tensors
from workbench.ipc.low_priority import quiet_executor
from workbench.ipc.regions import Region
from workbench.server.front.codec.codec_process import (
    Message,
    pack,
    raise_refusal,
    receive_message,
    refusal_of,
    send_message,
    tensor_bytes,
    unpack,
)
from workbench.server.front.http.body import Spool
from workbench.server.front.json.requests import ExamplesRequest, PredictRequest

_Result = TypeVar("_Result")

_ABANDONED_S = 0.5
"""How long a job may still run after its caller has gone: about the start of a new process."""


class WaitingBytes:
    """The bytes of bodies and tensors that wait or are in progress, in one process or several."""

    def __init__(self, limit: int = 2**30) -> None:
        self._limit = limit
        self._bytes = 0

    def enter(self, size: int) -> None:
        """Raises ServingError: UNAVAILABLE, too much is waiting."""
        if self._bytes + size > self._limit:
            raise unavailable(
                f"{self._bytes} bytes of large bodies are waiting to be converted and "
                f"{size} more would exceed the limit of {self._limit}. Try again."
            )
        self._bytes += size

    def leave(self, size: int) -> None:
        """Subtract the bytes of a job that has ended."""
        self._bytes -= size


@dataclass(eq=False, slots=True)
class _Job:
    """One conversion.

    Attributes:
        what: what the error texts call its content: ``body`` or ``answer``.
        size: of the content, in bytes.
        started: the child has it.
        stopped: its caller no longer waits.
    """

    what: str
    size: int
    started: bool = False
    stopped: bool = False

    def late(self) -> ServingError:
        """The answer to a caller whose time limit has passed."""
        stage = "was being converted" if self.started else "waited to be converted"
        return ServingError(
            Code.DEADLINE_EXCEEDED,
            f"The time limit of the request ended while its {self.what} of {self.size} bytes "
            f"{stage}: put fewer examples into one request.",
        )


class Codec(ABC):
    """What can be converted; `seconds` is the time that there is for it, waiting included.

    Each method raises ServingError: DEADLINE_EXCEEDED if it is not done in `seconds`; UNAVAILABLE
    if too much is waiting, or the child died.
    """

    @abstractmethod
    def _process_for(self, size: int) -> CodecProcess:
        """The process that converts a body or answer of `size` bytes."""

    async def decode_predict(
        self,
        spool: Spool,
        signatures: Mapping[str, Signature] | ServingError,
        seconds: float | None = None,
    ) -> PredictRequest:
        """The predict request in the JSON text `spool`, which may be closed meanwhile.

        `signatures` are the model's, or the reason why there are none, which is raised at the
        point where TensorFlow Serving looks the model up: after the document is known to parse.
        The inputs are read-only views of shared memory, aligned to 64 bytes.

        Raises:
            ServingError: also what `json.requests.decode_predict` raises.
            ValueError: `spool` is closed.
        """

        def known() -> Message:
            if isinstance(signatures, ServingError):
                return refusal_of(signatures)
            return {"signatures": {name: s.to_json() for name, s in signatures.items()}}

        answer, inputs = await self._decode("decode", known, spool, seconds)
        return PredictRequest(answer["signature_name"], inputs, answer["row_format"])

    async def decode_examples(self, spool: Spool, seconds: float | None = None) -> ExamplesRequest:
        """The classify or regress request in the JSON text `spool`, which may be closed meanwhile.

        Raises:
            ServingError: also what `json.requests.decode_examples` raises.
            ValueError: `spool` is closed.
        """
        answer, inputs = await self._decode("examples", dict, spool, seconds)
        return ExamplesRequest(answer["signature_name"], inputs["examples"].tolist())

    async def encode_predict(
        self, outputs: Mapping[str, np.ndarray], row_format: bool, seconds: float | None = None
    ) -> Spool:
        """The JSON text of `json.responses.encode_predict`, as the caller's own `Spool`; raises
        also what that raises."""
        return await self._encode({"job": "encode", "row_format": row_format}, outputs, seconds)

    async def encode_results(
        self, results: Mapping[str, np.ndarray], seconds: float | None = None
    ) -> Spool:
        """The JSON text of `json.responses.encode_results`, as the caller's own `Spool`."""
        return await self._encode({"job": "results"}, results, seconds)

    async def _decode(
        self, name: str, more: Callable[[], Message], spool: Spool, seconds: float | None
    ) -> tuple[Message, Tensors]:
        body, size = Region(os.dup(spool.fd)), spool.size  # ours, whatever becomes of the caller's
        process = self._process_for(size)

        def work(job: _Job) -> tuple[Message, Tensors]:
            message = {"job": name, "size": size, **more()}
            answer, region = process.converse(job, message, body)
            tensors = unpack(answer["tensors"], region)
            region.close()
            return answer, tensors

        return await process.submit(work, _Job("body", size), seconds)

    async def _encode(
        self, message: Message, arrays: Mapping[str, np.ndarray], seconds: float | None
    ) -> Spool:
        size = tensor_bytes(arrays)
        process = self._process_for(size)

        def work(job: _Job) -> Spool:
            descriptors, region = pack(arrays)
            answer, body = process.converse(job, message | {"tensors": descriptors}, region)
            return Spool(body, answer["size"])

        return await process.submit(work, _Job("answer", size), seconds)


class CodecProcess(Codec):
    """Converts one large body at a time in a child process, which exists only when needed.

    The child is started by the first job and ended after `idle_s` seconds without one, because
    a heap that held 50 MB of JSON does not shrink. One thread talks to it, so that jobs wait
    for their turn in that thread's queue; all methods are called from one event loop.
    """

    def __init__(
        self,
        idle_s: float = 60.0,
        job_timeout_s: float = 60.0,
        waiting: WaitingBytes | None = None,
    ) -> None:
        """
        Args:
            idle_s: seconds without a job after which the child is ended.
            job_timeout_s: seconds one job may take before the child is killed, whatever time
                its caller has.
            waiting: counts the bytes in progress, together with other processes'; None: alone.
        """
        self._idle_s = idle_s
        self._job_timeout_s = job_timeout_s
        self._waiting = waiting or WaitingBytes()
        self._jobs = 0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._thread = quiet_executor("codec")
        # Held to change the job that the child has, and to kill the child for it.
        self._lock = threading.Lock()
        self._current: _Job | None = None
        # The child and our end of its channel: the thread's own.
        self._child: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None

    @property
    def pid(self) -> int | None:
        """The child's, while there is one."""
        return None if self._child is None else self._child.pid

    def _process_for(self, size: int) -> CodecProcess:
        return self

    async def close(self) -> None:
        """End the child; jobs in progress and waiting fail with UNAVAILABLE."""
        self._closed = True
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._child is not None:
            self._child.kill()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._end_child)
        self._thread.shutdown(wait=False)

    async def submit(
        self, work: Callable[[_Job], _Result], job: _Job, seconds: float | None
    ) -> _Result:
        """The result of `work`, which is called in the thread when it is this job's turn."""
        if self._closed:
            raise _ending()
        self._waiting.enter(job.size)
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        loop = asyncio.get_running_loop()
        self._jobs += 1
        done = asyncio.wrap_future(self._thread.submit(work, job))
        try:
            await asyncio.wait((done,), timeout=seconds)
            if not done.done():
                self._drop(job, done)
                self._stop(job)
                raise job.late()
            return done.result()
        except asyncio.CancelledError:
            self._drop(job, done)
            loop.call_later(_ABANDONED_S, self._stop, job)
            raise
        finally:
            self._waiting.leave(job.size)
            self._jobs -= 1
            if self._jobs == 0 and not self._closed:
                self._idle_timer = loop.call_later(
                    self._idle_s, self._thread.submit, self._end_child
                )

    @staticmethod
    def _drop(job: _Job, done: asyncio.Future[Any]) -> None:
        """Ignore the result; a job that has not started never does."""
        done.add_done_callback(lambda future: future.cancelled() or future.exception())
        if not job.started:
            done.cancel()

    def _stop(self, job: _Job) -> None:
        """End a job for good, with the child that has it."""
        with self._lock:
            job.stopped = True
            if self._current is job and self._child is not None:
                self._child.kill()

    # --- in the thread ----------------------------------------------------------------------

    def converse(self, job: _Job, message: Message, region: Region) -> tuple[Message, Region]:
        """Send one job to the child and wait for its answer; `region` is closed."""
        try:
            with self._lock:
                if self._closed:
                    raise _ending()
                if job.stopped:
                    raise job.late()
                job.started = True
                self._current = job
            channel = self._channel or self._start_child()
            if job.stopped:  # before there was a child to kill
                raise job.late()
            send_message(channel, message, region)
            answer, result = receive_message(channel)
        except TimeoutError:
            self._end_child()
            raise unavailable(
                f"Converting a large body took more than {self._job_timeout_s:g} s."
            ) from None
        except ConnectionLost:
            status = self._end_child()
            if job.stopped:
                raise job.late() from None
            raise unavailable(
                f"The process that converts large bodies ended (exit status {status}). Try again."
            ) from None
        finally:
            region.close()
            with self._lock:
                # It was killed, even if that came too late for this job.
                dying = self._current is job and job.stopped
                self._current = None
            if dying:
                self._end_child()
        raise_refusal(answer)
        assert result is not None
        return answer, result

    def _start_child(self) -> Channel:
        ours, theirs = socket_pair()
        fd = theirs.fileno()
        command = [sys.executable, "-m", "workbench.server.front.codec.codec_process", str(fd)]
        try:
            with theirs:
                self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[fd])
        except OSError as error:
            ours.close()
            raise unavailable(
                f"The process that converts large bodies cannot be started: {error}."
            ) from None
        self._channel = Channel(ours, self._job_timeout_s)
        return self._channel

    def _end_child(self) -> int | None:
        """End the child, if there is one; its exit status."""
        child, channel = self._child, self._channel
        self._child = self._channel = None
        if child is None or channel is None:
            return None
        channel.close()  # at which an idle child ends
        try:
            return child.wait(1.0)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()


def _ending() -> ServingError:
    return unavailable("The server is stopping.")
