"""Large JSON bodies are converted in a process of their own, and this is its owner.

Parsing 50 MB of JSON takes up to a second of one interpreter. On the server's event loop, or in
a thread beside it, that second would be everybody's; in another process it is one caller's.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Literal, TypeVar

import numpy as np

from workbench.api.body import Spool
from workbench.api.codec_process import (
    Message,
    pack,
    raise_refusal,
    receive_message,
    refusal_of,
    send_message,
    unpack,
)
from workbench.api.json_request import ExamplesRequest, PredictRequest
from workbench.core.signature import Signature
from workbench.core.status import ServingError, unavailable
from workbench.runtime.quiet import quiet_executor

_Result = TypeVar("_Result")


class CodecProcess:
    """Converts one large body at a time in a child process, which exists only when needed.

    The child is started by the first job and ended after `idle_s` seconds without one, because
    a heap that held 50 MB of JSON does not shrink. One thread talks to it, so that jobs wait
    for their turn in that thread's queue; all methods are called from one event loop.
    """

    def __init__(
        self,
        max_waiting_bytes: int = 2**30,
        idle_s: float = 60.0,
        job_timeout_s: float = 60.0,
    ) -> None:
        """
        Args:
            max_waiting_bytes: of bodies and tensors, waiting and in progress; more is refused.
            idle_s: seconds without a job after which the child is ended.
            job_timeout_s: seconds one job may take before the child is killed.
        """
        self._max_waiting_bytes = max_waiting_bytes
        self._idle_s = idle_s
        self._job_timeout_s = job_timeout_s
        self._waiting_bytes = 0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._thread = quiet_executor("codec")
        # The child and our end of its socket: the thread's own.
        self._child: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """The child's, while there is one."""
        return None if self._child is None else self._child.pid

    async def decode_predict(
        self, spool: Spool, signatures: Mapping[str, Signature] | ServingError
    ) -> PredictRequest:
        """The predict request in the JSON text `spool`, which may be closed meanwhile.

        `signatures` are the model's, or the reason why there are none, which is raised at the
        point where TensorFlow Serving looks the model up: after the document is known to parse.
        The inputs are read-only views of shared memory, aligned to 64 bytes.

        Raises:
            ServingError: what `json_request.decode_predict` raises; UNAVAILABLE if too much is
                waiting, or the child died or took too long.
            ValueError: `spool` is closed.
        """
        body = Spool(os.dup(spool.fd), spool.size)  # ours, whatever becomes of the caller's

        def job() -> PredictRequest:
            message: Message = {"job": "decode", "size": body.size}
            if isinstance(signatures, ServingError):
                message |= refusal_of(signatures)
            else:
                message["signatures"] = {name: s.to_json() for name, s in signatures.items()}
            answer, tensors = self._converse(message, body)
            with_inputs = unpack(answer["tensors"], tensors)
            tensors.close()
            return PredictRequest(
                signature_name=answer["signature_name"],
                inputs=with_inputs,
                row_format=answer["row_format"],
            )

        return await self._submit(job, body.size)

    async def decode_examples(
        self, spool: Spool, method: Literal["classify", "regress"]
    ) -> ExamplesRequest:
        """The classify or regress request in the JSON text `spool`, which may be closed meanwhile.

        Raises:
            ServingError: what `json_request.decode_examples` raises; UNAVAILABLE as above.
            ValueError: `spool` is closed.
        """
        body = Spool(os.dup(spool.fd), spool.size)  # ours, whatever becomes of the caller's

        def job() -> ExamplesRequest:
            message: Message = {"job": "examples", "size": body.size, "method": method}
            answer, tensors = self._converse(message, body)
            examples = unpack(answer["tensors"], tensors)["examples"]
            tensors.close()
            return ExamplesRequest(answer["signature_name"], examples.tolist())

        return await self._submit(job, body.size)

    async def encode_predict(self, outputs: Mapping[str, np.ndarray], row_format: bool) -> Spool:
        """The JSON text of `json_response.encode_predict`, as the caller's own `Spool`.

        Raises:
            ServingError: what `json_response.encode_predict` raises; UNAVAILABLE as above.
        """

        def job() -> Spool:
            descriptions, tensors = pack(outputs)
            message = {
                "job": "encode",
                "size": tensors.size,
                "tensors": descriptions,
                "row_format": row_format,
            }
            return self._converse(message, tensors)[1]

        return await self._submit(job, sum(array.nbytes for array in outputs.values()))

    async def close(self) -> None:
        """End the child; jobs in progress and waiting fail with UNAVAILABLE."""
        self._closed = True
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._child is not None:
            self._child.kill()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._end_child)
        self._thread.shutdown(wait=False)

    async def _submit(self, job: Callable[[], _Result], size: int) -> _Result:
        if self._closed:
            raise _ending()
        if self._waiting_bytes + size > self._max_waiting_bytes:
            raise unavailable(
                f"{self._waiting_bytes} bytes of large bodies are waiting to be converted and "
                f"{size} more would exceed the limit of {self._max_waiting_bytes}. Try again."
            )
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        loop = asyncio.get_running_loop()
        self._waiting_bytes += size
        try:
            return await loop.run_in_executor(self._thread, job)
        finally:
            self._waiting_bytes -= size
            if self._waiting_bytes == 0 and not self._closed:
                self._idle_timer = loop.call_later(
                    self._idle_s, self._thread.submit, self._end_child
                )

    # --- in the thread ----------------------------------------------------------------------

    def _converse(self, message: Message, region: Spool) -> tuple[Message, Spool]:
        """Have one job done; `region` is closed."""
        if self._closed:
            raise _ending()
        sock = self._sock or self._start_child()
        try:
            send_message(sock, message, region)
            answer, result = receive_message(sock)
        except TimeoutError:
            self._end_child()
            raise unavailable(
                f"Converting a large body took more than {self._job_timeout_s:g} s."
            ) from None
        except (EOFError, OSError):
            status = self._end_child()
            raise unavailable(
                f"The process that converts large bodies ended (exit status {status}). Try again."
            ) from None
        finally:
            region.close()
        raise_refusal(answer)
        assert result is not None
        return answer, result

    def _start_child(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "workbench.api.codec_process", str(theirs.fileno())]
        try:
            with theirs:
                self._child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
                )
        except OSError as error:
            ours.close()
            raise unavailable(f"No process to convert a large body: {error}.") from None
        ours.settimeout(self._job_timeout_s)
        self._sock = ours
        return ours

    def _end_child(self) -> int | None:
        """End the child, if there is one; its exit status."""
        child, sock = self._child, self._sock
        self._child = self._sock = None
        if child is None or sock is None:
            return None
        sock.close()  # which an idle child takes as the wish that it end
        try:
            return child.wait(1.0)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()


def _ending() -> ServingError:
    return unavailable("The server is stopping.")
