"""A worker process as the server sees it: loaded once, asked often, judged by its own pidfd.

A worker is reached over one control channel and several lanes. It is dead when its pidfd says
so, whatever else may still look alive.
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from socket import socket
from typing import Any, cast

import numpy as np

from workbench.core.signature import Signature
from workbench.core.signature_facts import SignatureFacts
from workbench.core.status import Code, ServingError, unavailable
from workbench.ipc.channel import LoopChannel, socket_pair
from workbench.ipc.frames import FrameReader, Tensors, frame, lay_out, unpack
from workbench.ipc.low_priority import lower_process, quiet_executor
from workbench.ipc.regions import Region
from workbench.processes.lifetime import describe_exit, is_abort
from workbench.server.engine.workers.zygote_handle import Zygote

# Shared pages beyond this are given back when a lane has been idle for a while.
_KEEP_REGION_BYTES = 4 * 1024 * 1024
_COPIED_AT_ONCE_BYTES = 1024 * 1024
_REPORT_SECONDS = 0.02
_REPORT_TRIES = 100  # a zygote on a busy machine takes its time

_copier = quiet_executor("copier")

Progress = Callable[[str, dict[str, Any]], None]
Answer = Callable[["Tensors | ServingError", int], None]
"""Called with a batch's outputs (valid only during the call) or the error, and the
microseconds that the model ran."""


@dataclass(frozen=True, kw_only=True)
class LoadOrder:
    """How a worker reads a SavedModel.

    Attributes:
        path: the version's folder.
        tags: the meta graph to load.
        intra_op_threads: threads that one operation may use.
        quiet: run at low priority, because a version serves.
        device: where the weights go, and the share of a GPU that the budget allows.
        gpu_memory_fraction: the share of a GPU that the model's settings allow; 0 sets no limit.
        op_libraries: packages and shared libraries whose operations the graph may need.
    """

    path: str
    tags: Sequence[str]
    intra_op_threads: int
    quiet: bool
    device: tuple[str, float] = ("host", 0.0)
    gpu_memory_fraction: float = 0.0
    op_libraries: Sequence[str] = ()


@dataclass(frozen=True)
class LoadReport:
    """A worker's report of the model that it has loaded. Times are in seconds.

    `metadata` describes its signatures for REST, `signature_def_map` as a serialised
    `SignatureDefMap` message. `facts` are facts about each signature that follow from its graph.
    `warmed` names the signatures that warm-up requests have called. `twins` maps a signature to
    another one that computes the same, and that answers in its place.
    """

    signatures: Mapping[str, Signature]
    metadata: Mapping[str, Any]
    seconds: Mapping[str, float]
    signature_def_map: bytes = b""
    facts: Mapping[str, SignatureFacts] = field(default_factory=dict)
    warmed: frozenset[str] = frozenset()
    twins: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """The digest of each signature: by it a client sees whether it knows this signature."""
        return {name: signature.digest() for name, signature in self.signatures.items()}


@dataclass(frozen=True)
class StageReport:
    """A worker's report of a staged version: its graph is read, its files are in the page cache.

    `skipped` says why not all of its files are there.
    """

    seconds: Mapping[str, float]
    read_bytes: int
    total_bytes: int
    skipped: str | None = None


class Lane(asyncio.Protocol):
    """One batch at a time through one worker thread; `on_lost` is called when it is gone, and
    `on_first` with the microseconds that its first batch ran."""

    def __init__(self, on_lost: Callable[[], None], on_first: Callable[[int], None]) -> None:
        self._on_lost = on_lost
        self._on_first: Callable[[int], None] | None = on_first
        self._inputs = Region.create("wb-lane-in")
        self._outputs = Region.create("wb-lane-out")
        self._reader = FrameReader()
        self._transport: asyncio.WriteTransport | None = None
        self._answer: Answer | None = None
        self._last_used = 0.0

    async def open(self, control: LoopChannel) -> None:
        """Hand the worker its end; the lane can be used at once."""
        ours, theirs = socket_pair()
        fds = [theirs.fileno(), self._inputs.fd, self._outputs.fd]
        control.send({"op": "lane", "fds": len(fds)}, fds=fds)
        theirs.close()
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=ours)

    @property
    def open_for_use(self) -> bool:
        """Whether a batch can be run here now."""
        return self._answer is None and self._transport is not None

    def run(
        self,
        signature: str,
        parts: Mapping[str, Sequence[np.ndarray]],
        outputs: Sequence[str],
        answer: Answer,
        quiet: bool = False,
    ) -> None:
        """Send a batch; `answer` is called once, later, from the loop. A `quiet` one runs at low
        priority.

        Raises:
            ServingError: RESOURCE_EXHAUSTED, there is no memory to lay the batch out in.
        """
        assert self._answer is None
        assert self._transport is not None
        try:
            descriptors, payload, copies = lay_out(parts, self._inputs)
        except (MemoryError, OSError) as error:
            raise ServingError(
                Code.RESOURCE_EXHAUSTED, f"No memory for the tensors of a batch: {error}"
            ) from error
        self._answer = answer
        header: dict[str, Any] = {"s": signature, "o": outputs, "t": descriptors}
        if quiet:
            header["q"] = 1
        batch = frame(header, payload)
        if copies.nbytes <= _COPIED_AT_ONCE_BYTES:
            copies.run()
            self._transport.write(batch)
            return
        # This takes milliseconds: not on the event loop.
        copying = asyncio.get_running_loop().run_in_executor(_copier, copies.run)
        copying.add_done_callback(lambda done: self._copied(done, batch))

    def _copied(self, done: asyncio.Future[None], batch: bytes) -> None:
        # If the worker has died meanwhile, the caller knows that already.
        if self._transport is None or self._answer is None or done.cancelled():
            return
        error = done.exception()
        if error is None:
            self._transport.write(batch)
            return
        answer, self._answer = self._answer, None
        answer(ServingError(Code.INTERNAL, f"A batch could not be laid out: {error}"), 0)

    def release_if_idle(self, seconds: float) -> None:
        """Give back the pages of large tensors if nothing was run for that long."""
        if not self.open_for_use or time.monotonic() - self._last_used < seconds:
            return
        for region in (self._inputs, self._outputs):
            if region.size > _KEEP_REGION_BYTES:
                region.release()

    def close(self) -> None:
        """Close the connection; a batch in progress is answered with UNAVAILABLE."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop: batches can be sent."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by the loop: hands out each answer that is complete."""
        for header, payload in self._reader.feed(data):
            answer = self._answer
            if answer is None:
                continue
            self._last_used = time.monotonic()
            if "code" in header:
                self._answer = None
                answer(ServingError(Code(header["code"]), header["message"]), 0)
                continue
            try:
                tensors = unpack(header["t"], payload, self._outputs)
            except (ValueError, KeyError, TypeError) as error:
                self._answer = None
                answer(ServingError(Code.INTERNAL, f"The worker's answer is damaged: {error}"), 0)
                continue
            if self._on_first is not None:
                self._on_first(header["us"])
                self._on_first = None
            try:
                # The next batch would write over these tensors: until they are handed out, it
                # has to take another lane.
                answer(tensors, header["us"])
            finally:
                self._answer = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop: the worker has gone, and with it a batch in progress."""
        answer, self._answer = self._answer, None
        self._transport = None
        self._inputs.close()
        self._outputs.close()
        self._on_lost()
        if answer is not None:
            answer(WORKER_LOST, 0)


WORKER_LOST = unavailable("The worker process ended while it ran this request")


class Worker:
    """One worker process.

    Attributes:
        pid: its process id.
        lanes: each runs one batch at a time.
        ended: done when the process is gone, with the reason in words.
        aborted: whether it ended itself by a signal, as a failed check or a wrong memory access
            does; nobody killed it.
        asked_at: when the ping was sent that it has not answered (monotonic seconds).
        on_first_run: called once with the seconds that its first batch took to run.
        on_context: called when it has made its CUDA context, and nothing else on the GPU.
        on_gpu_memory: called with the bytes that TensorFlow uses of the GPU, now and at most.
    """

    def __init__(self, pid: int, pidfd: int | None, sock: socket, zygote: Zygote) -> None:
        self.pid = pid
        self.lanes: list[Lane] = []
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[str] = loop.create_future()
        self._staged: asyncio.Future[StageReport] = loop.create_future()
        self._loaded: asyncio.Future[LoadReport] = loop.create_future()
        # Gets the next failure.
        self._awaited: asyncio.Future[StageReport] | asyncio.Future[LoadReport] = self._loaded
        self.on_first_run: Callable[[float], None] | None = None
        self._progress: Progress = lambda kind, data: None
        self.on_context: Callable[[], None] = lambda: None
        self.on_gpu_memory: Callable[[int, int], None] = lambda current, peak: None
        self._killed_because = ""
        self.aborted = False
        self._control = LoopChannel(sock, self._on_frame, self._on_lost)
        self._pidfd = pidfd
        self._gone = False
        self._pings = 0
        self.asked_at: float | None = None
        self._zygote = zygote
        if pidfd is not None:
            loop.add_reader(pidfd, self._on_exit)

    @classmethod
    async def spawn(cls, zygote: Zygote) -> Worker:
        """A fresh worker that has loaded nothing yet.

        Raises:
            ServingError: UNAVAILABLE, no process could be started.
        """
        ours, theirs = socket_pair()
        try:
            pid, pidfd = await zygote.fork(theirs.fileno())
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(pid, pidfd, ours, zygote)

    async def stage(self, order: LoadOrder, progress: Progress) -> StageReport:
        """Prepare a SavedModel as far as that needs no memory for its weights; `load` does the
        rest. Once in a worker's life.

        Raises:
            ServingError: what the worker reports, or UNAVAILABLE where it died of it.
        """
        self._progress = progress
        self._awaited = self._staged
        self._control.send({"op": "stage", **vars(order)})
        return await self._staged

    async def load(
        self, order: LoadOrder, progress: Progress, *, warm_up: bool, warm_up_iterations: int
    ) -> LoadReport:
        """Load a SavedModel, all of it or what `stage` has left, and run its warm-up requests.
        Once in a worker's life.

        Raises:
            ServingError: what the worker reports, or UNAVAILABLE where it died of it.
        """
        self._progress = progress
        self._awaited = self._loaded
        more = {"warm_up": warm_up, "warm_up_iterations": warm_up_iterations}
        self._control.send({"op": "load", **vars(order), **more})
        return await self._loaded

    def ping(self) -> None:
        """Send a ping, unless the last one is still unanswered."""
        if self.asked_at is None and not self._gone:
            self._pings += 1
            self.asked_at = time.monotonic()
            self._control.send({"op": "ping", "number": self._pings})

    def silent_seconds(self) -> float:
        """How long it has left a ping unanswered."""
        return 0.0 if self.asked_at is None else time.monotonic() - self.asked_at

    def excuse(self) -> None:
        """Start counting its silence from now."""
        if self.asked_at is not None:
            self.asked_at = time.monotonic()

    async def open_lanes(self, count: int) -> None:
        """Open lanes until there are `count`."""
        while len(self.lanes) < count:
            # A worker that has lost a lane would stay slower, so it is replaced.
            lane = Lane(self.kill, self._ran)
            await lane.open(self._control)
            self.lanes.append(lane)

    def _ran(self, micros: int) -> None:
        """A lane has run its first batch."""
        report, self.on_first_run = self.on_first_run, None
        if report is not None:
            report(micros / 1e6)

    def free_lane(self) -> Lane | None:
        """A lane that can take a batch now; None if all are busy."""
        for lane in self.lanes:
            if lane.open_for_use:
                return lane
        return None

    async def stop(self, grace_seconds: float = 2.0) -> None:
        """End the process; kill it if it has not ended by itself in time."""
        if not self._gone:
            lower_process(self.pid)
        try:
            # A worker that is still loading would not read the order for a while; one that is only
            # staged has nothing to finish.
            if self._loaded.done() and not self._loaded.cancelled():
                self._control.send({"op": "quit"})
                await asyncio.wait_for(asyncio.shield(self.ended), grace_seconds)
        except asyncio.TimeoutError:
            pass
        finally:
            self.kill()
            await asyncio.shield(self.ended)

    def kill(self, because: str = "") -> None:
        """Kill the process; `because` is reported as the reason of its end. Does nothing if it is
        gone already."""
        if self._gone:
            return
        self._killed_because = self._killed_because or because
        with suppress(ProcessLookupError):
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)

    def _on_frame(self, header: Any, _payload: memoryview, _fds: list[int]) -> None:
        if "pong" in header:
            if header["pong"] == self._pings:
                self.asked_at = None
        elif "progress" in header:
            self._progress(header["progress"], header["data"])
        elif "context" in header:
            self.on_context()
        elif "gpu_memory" in header:
            self.on_gpu_memory(*header["gpu_memory"])
        elif self._awaited.done():
            return
        elif "failed" in header:
            self._awaited.set_exception(ServingError(Code(header["code"]), header["failed"]))
        elif "staged" in header:
            self._staged.set_result(StageReport(**header["staged"]))
        elif "loaded" in header:
            report = header["loaded"]
            self._loaded.set_result(
                LoadReport(
                    {n: Signature.from_json(s) for n, s in report["signatures"].items()},
                    report["metadata"],
                    report["seconds"],
                    base64.b64decode(report["signature_def_map"]),
                    {n: SignatureFacts.from_json(f) for n, f in report["facts"].items()},
                    frozenset(report["warmed"]),
                    report["twins"],
                )
            )

    def _on_lost(self) -> None:
        if self._pidfd is None:
            self._on_exit()

    def _on_exit(self) -> None:
        if self._gone:
            return
        self._gone = True
        if self._pidfd is not None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        self._control.close()
        for lane in self.lanes:
            lane.close()
        # The zygote's report of how it ended may still be on its way.
        asyncio.get_running_loop().call_later(_REPORT_SECONDS, self._conclude, _REPORT_TRIES)

    def _conclude(self, tries: int) -> None:
        status = self._zygote.exit_status(self.pid)
        if status is None and tries:
            asyncio.get_running_loop().call_later(_REPORT_SECONDS, self._conclude, tries - 1)
            return
        reason = self._killed_because or describe_exit(status)
        self.aborted = not self._killed_because and is_abort(status)
        for future in (self._staged, self._loaded):
            if not future.done():
                future.set_exception(
                    unavailable(f"The worker process died while it loaded the model: {reason}")
                )
                # Nobody may be waiting: a worker can be stopped before it was asked to load.
                future.exception()
        self.ended.set_result(reason)
