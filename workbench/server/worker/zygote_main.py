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

_NOT_NEEDED = ("keras", "tf_keras")


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
        _import_tensorflow()
    except BaseException:
        channel.send({"failed": traceback.format_exc()})
        os._exit(1)
    # All objects so far stay alive. If they are frozen, the collector never writes to their pages,
    # which forked workers share.
    gc.collect()
    gc.freeze()
    channel.send({"ready": time.monotonic() - started})


def _import_tensorflow() -> None:
    # TensorFlow imports Keras if it is installed, which imports scikit-learn and Matplotlib: two
    # fifths of the time and 100 MB, and running a SavedModel needs none of it.
    for name in _NOT_NEEDED:
        sys.modules[name] = None  # type: ignore[assignment]
    import tensorflow as tf

    for name in _NOT_NEEDED:
        del sys.modules[name]

    # Otherwise every worker would import these on first use.
    from google.protobuf import json_format
    from tensorflow.python.client import pywrap_tf_session
    from tensorflow.python.saved_model import loader_impl

    import workbench.server.worker.worker_main

    del json_format, pywrap_tf_session, loader_impl, workbench
    tf.compat.v1.logging.set_verbosity("ERROR")


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
