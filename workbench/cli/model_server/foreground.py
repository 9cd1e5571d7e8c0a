"""Supervises a server in the foreground, until a signal comes or the server has ended."""

from __future__ import annotations

import contextlib
import signal
import threading

from workbench.server.supervision.supervisor import Supervisor


def run(supervisor: Supervisor) -> int:
    """Supervise until a signal comes, or the server has ended for good by itself.

    Returns:
        The exit code.

    Raises:
        ServingError: the server did not start.
    """
    wake = threading.Event()
    with contextlib.ExitStack() as cleanup:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            before = signal.signal(number, lambda *_: wake.set())
            cleanup.callback(signal.signal, number, before)
        supervisor.start()
        if supervisor.stop_when(wake):
            return 0
    if supervisor.exit_code is None:
        reason = supervisor.gave_up
        print(f"The server process ended repeatedly and is not started again: {reason}", flush=True)
        return 1
    return supervisor.exit_code
