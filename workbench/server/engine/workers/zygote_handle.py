"""The server's side of the zygote: it forks worker processes and reports how they ended.

The zygote is started with the server, and again whenever it dies; that harms no worker. A request
for a worker waits while a new zygote imports TensorFlow.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from workbench.core.status import Code, ServingError, unavailable
from workbench.ipc.channel import LoopChannel, socket_pair
from workbench.processes.lifetime import ProcessId, reap

_START_SECONDS = 120.0
_FORK_SECONDS = 10.0
# A zygote that cannot even start is tried again ever more slowly.
_RETRY_SECONDS = (0.0, 1.0, 5.0, 15.0, 60.0)


class Zygote:
    """Starts worker processes by asking the zygote process to fork.

    `on_event` is called with `zygote_started` or `zygote_exited`, and keywords that say more.
    """

    def __init__(self, on_event: Callable[..., object]) -> None:
        self._on_event = on_event
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: LoopChannel | None = None
        self._ready = asyncio.Event()
        self._failure: str | None = None
        self._requests = 0
        self._forks: dict[int, asyncio.Future[tuple[int, int | None]]] = {}
        self._statuses: dict[int, int] = {}
        self._failures = 0
        self._restart: asyncio.Task[None] | None = None
        self._stopping = False
        self._started = 0.0

    @property
    def pid(self) -> int | None:
        """Of the zygote process; None before the first start."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process; it can fork some seconds later, when TensorFlow is imported."""
        ours, theirs = socket_pair()
        self._started = time.monotonic()
        try:
            me = ProcessId.me()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workbench.server.worker.zygote_main"]
                + [str(number) for number in (theirs.fileno(), me.pid, me.started)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **_environment()},
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._channel = LoopChannel(ours, self._on_frame, self._on_lost)

    async def fork(self, control_fd: int) -> tuple[int, int | None]:
        """A new worker process that holds `control_fd`.

        Returns:
            Its pid, and a pidfd that the caller owns (None if the system has none).

        Raises:
            ServingError: UNAVAILABLE, with the zygote's own error if there is one.
        """
        try:
            await asyncio.wait_for(self._ready.wait(), _START_SECONDS)
        except asyncio.TimeoutError:
            if time.monotonic() - self._started > _START_SECONDS:
                self._kill()
            raise unavailable(
                f"No worker could be started within {_START_SECONDS:.0f} s: "
                f"{self._failure or 'TensorFlow is still being imported'}"
            ) from None
        assert self._channel is not None
        self._requests += 1
        request = self._requests
        future = asyncio.get_running_loop().create_future()
        self._forks[request] = future
        self._channel.send({"fork": request, "fds": 1}, fds=[control_fd])
        try:
            return await asyncio.wait_for(future, _FORK_SECONDS)
        except asyncio.TimeoutError:
            # It hangs: left alone it would make every later load wait in vain as well.
            self._kill()
            raise unavailable("The zygote did not fork a worker in time") from None
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                # The worker came in the same moment; it ends as its socket is closed.
                _, pidfd = future.result()
                if pidfd is not None:
                    os.close(pidfd)
            raise
        finally:
            self._forks.pop(request, None)

    def exit_status(self, pid: int) -> int | None:
        """The wait status of an ended worker: reported by the zygote, or reaped by ourselves
        if the worker became our child when its zygote died. None if it is unknown."""
        status = self._statuses.pop(pid, None)
        return reap(pid) if status is None else status

    async def stop(self) -> None:
        """End the process for good; workers live on."""
        self._stopping = True
        if self._restart is not None:
            self._restart.cancel()
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            await _end(self._process)

    def _on_frame(self, header: Any, _payload: memoryview, fds: list[int]) -> None:
        if "ready" in header:
            self._failures = 0
            self._failure = None
            self._ready.set()
            self._on_event("zygote_started", pid=self.pid, seconds=header["ready"])
        elif "forked" in header:
            future = self._forks.get(header["forked"])
            if future is not None and not future.done():
                future.set_result((header["pid"], fds[0] if fds else None))
                return
            for fd in fds:
                os.close(fd)
        elif "exited" in header:
            self._statuses[header["exited"]] = header["status"]
        elif "failed" in header:
            self._failure = header["failed"]

    def _kill(self) -> None:
        """End a zygote that hangs; another one is started, as after any death."""
        if self._process is not None:
            self._process.kill()

    def _on_lost(self) -> None:
        self._ready.clear()
        if self._stopping:
            return
        for future in self._forks.values():
            if not future.done():
                future.set_exception(unavailable("The zygote died while it forked a worker"))
        self._restart = asyncio.get_running_loop().create_task(self._start_again())

    async def _start_again(self) -> None:
        assert self._process is not None
        process = self._process
        await _end(process)
        self._on_event("zygote_exited", pid=process.pid, code=process.returncode)
        delay = _RETRY_SECONDS[min(self._failures, len(_RETRY_SECONDS) - 1)]
        self._failures += 1
        await asyncio.sleep(delay)
        while True:
            try:
                self.start()
                return
            except OSError as error:
                # File descriptors or processes have run out; that may pass.
                self._failure = f"{error.strerror} (starting the zygote)"
                await asyncio.sleep(_RETRY_SECONDS[2])

    def check(self) -> None:
        """Raise an error if workers are known to be unable to start.

        Raises:
            ServingError: FAILED_PRECONDITION, TensorFlow could not be imported.
        """
        if self._failure is not None:
            raise ServingError(
                Code.FAILED_PRECONDITION, f"TensorFlow could not be imported:\n{self._failure}"
            )


async def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process whose socket is closed; kill it if it does not end by itself."""
    try:
        await asyncio.to_thread(process.wait, 2)
    except subprocess.TimeoutExpired:
        process.kill()
        await asyncio.to_thread(process.wait, 2)


def _environment() -> dict[str, str]:
    environment = {
        # A thread pool started by an import would make forking unsafe.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        # Users read the server's log. TensorFlow's warnings and errors still appear there.
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
        "PYTHONUNBUFFERED": "1",
    }
    if not os.path.exists("/dev/nvidiactl") and "CUDA_VISIBLE_DEVICES" not in os.environ:
        # Without a driver every worker would look for one, in vain, and complain.
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return environment
