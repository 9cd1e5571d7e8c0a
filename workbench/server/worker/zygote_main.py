"""The zygote: a process that has imported TensorFlow and does nothing but fork workers.

Importing TensorFlow takes seconds; forking a process that has imported it takes milliseconds
and shares its memory. The import starts no thread and does not touch a GPU, so forking is
safe. The zygote runs no model, so nothing can make it larger or slower.

Started by the server process with one socket; it ends when that socket closes. Its death
harms no worker: they are watched through descriptors of their own.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
from typing import Any, NoReturn

from workbench.ipc.channel import Channel
from workbench.ipc.frames import ConnectionLost
from workbench.processes.lifetime import ProcessId
from workbench.server.worker.runtime import import_runtime


def main(argv: list[str]) -> NoReturn:
    """`python -m workbench.server.worker.zygote_main SOCKET_FD SERVER_PID SERVER_STARTED`."""
    channel = Channel(socket.socket(fileno=int(argv[0])))
    server = ProcessId(int(argv[1]), float(argv[2]))
    # Ctrl-C in the terminal is meant for the owner, which then ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _warm_up(channel)
        _serve(channel, server)
    except ConnectionLost:
        # The server has gone, perhaps while TensorFlow was still being imported.
        pass
    os._exit(0)


def _warm_up(channel: Channel) -> None:
    started = time.monotonic()
    try:
        import_runtime()
        # Otherwise each worker would import it at its first use.
        import workbench.server.worker.worker_main

        del workbench
    except BaseException:
        channel.send({"failed": traceback.format_exc()})
        os._exit(1)
    # All objects so far stay alive. If they are frozen, the collector never writes to their pages,
    # which forked workers share.
    gc.collect()
    gc.freeze()
    channel.send({"ready": time.monotonic() - started})


def _serve(channel: Channel, server: ProcessId) -> None:
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poller = select.poll()
    poller.register(channel.sock, select.POLLIN)
    poller.register(wake_read, select.POLLIN)
    while True:
        for fd, _ in poller.poll():
            if fd == wake_read:
                os.read(wake_read, 4096)
                _report_exits(channel)
                continue
            while True:
                header, _, fds = channel.receive()
                _fork(channel, server, header["fork"], fds, (wake_read, wake_write))
                if not channel.pending:
                    break


def _report_exits(channel: Channel) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        channel.send({"exited": pid, "status": status})


def _fork(
    channel: Channel, server: ProcessId, request: int, fds: list[int], pipe: tuple[int, int]
) -> None:
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd in pipe:
            os.close(fd)
        channel.close()
        from workbench.server.worker.worker_main import run_worker

        run_worker(fds[0], server)
    os.close(fds[0])
    answer: dict[str, Any] = {"forked": request, "pid": pid}
    try:
        # Opened here, by the parent that has not reaped it: no other process can have the pid.
        pidfd = os.pidfd_open(pid)
    except (AttributeError, OSError):
        channel.send(answer)
        return
    channel.send({**answer, "fds": 1}, fds=[pidfd])
    os.close(pidfd)


if __name__ == "__main__":
    main(sys.argv[1:])
