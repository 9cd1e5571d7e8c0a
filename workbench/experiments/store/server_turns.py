"""Gives experiments their turns on a server; others are refused, wait or take over.

Two experiments at once would measure each other and restore each other's settings. The lease lies
in the server's folder, so it covers notebooks, terminals and widgets of all processes.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from workbench.client.server import ServerClient
from workbench.core.status import Code, Reason, ServingError, invalid_argument
from workbench.experiments.showing import in_notebook
from workbench.processes.lease import Holder, Lease, ask_to_leave, holder_of, take

WhenBusy = Literal["refuse", "wait", "take over"]
"""What to do while another experiment holds the server."""

WAIT_SECONDS = 1800.0
LEAVE_SECONDS = 60.0
"""How long an experiment that is asked to leave may take for its last measurement."""
_POLL_SECONDS = 0.1

PURPOSES = {
    "sweep": "a sweep",
    "tune": "tuning",
    "calibration": "a calibration",
    "load": "a load",
    "transitions": "a comparison of transitions",
    "versions": "a comparison of versions",
}
"""By the kind of an experiment, for sentences."""


class Turn:
    """A thread's turn on a server. Experiments that a thread starts within it share it.

    Args:
        kind: of the experiment, as in the store.
        report: called with a line of progress while it waits.
        leads: whether this experiment knows how long it takes; else those within it do.

    Raises:
        ServingError: FAILED_PRECONDITION, another experiment holds the server; DEADLINE_EXCEEDED,
            it held it for too long; INVALID_ARGUMENT, `when_busy` has another value.
    """

    _held: dict[tuple[str, int], Turn] = {}
    _leads: bool

    def __init__(
        self,
        kind: str,
        server: ServerClient,
        when_busy: WhenBusy = "refuse",
        report: Callable[[str], None] = lambda text: None,
        leads: bool = True,
    ) -> None:
        if when_busy not in get_args(WhenBusy):
            known = ", ".join(map(repr, get_args(WhenBusy)))
            raise invalid_argument(f"when_busy must be one of {known}; was {when_busy!r}")
        self._key = server.name, threading.get_ident()
        self._outer = self._held.get(self._key)
        self._leads = leads and (self._outer is None or not self._outer._leads)
        if self._outer is None:
            path = Path(server.control.entry().folder) / "experiment.lock"
            self._lease = _taken(path, server, PURPOSES.get(kind, kind), when_busy, report)
            self._held[self._key] = self
        else:
            self._lease = self._outer._lease

    def expect(self, seconds: float) -> None:
        """Let others know how long the whole experiment still takes, probably."""
        if self._leads:
            self._lease.expect_end(time.monotonic() + seconds)

    @property
    def wanted_by(self) -> str | None:
        """The name of the one who takes over; None if nobody does."""
        return self._lease.asked_to_leave()

    def end(self) -> None:
        """Give the turn up."""
        if self._outer is None:
            del self._held[self._key]
            self._lease.release()


def _taken(
    path: Path,
    server: ServerClient,
    purpose: str,
    when_busy: WhenBusy,
    report: Callable[[str], None],
) -> Lease:
    me = holder_name()
    begun = time.monotonic()
    asked: Holder | None = None
    while (lease := take(path, me, purpose)) is None:
        holder = holder_of(path)
        waited = time.monotonic() - begun
        if holder is None:
            time.sleep(_POLL_SECONDS)
            continue
        busy = f"{holder.name} holds server {server.name!r} for {holder.purpose}"
        if when_busy == "refuse":
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"{busy}{_left(holder)}: wait for it, or take over (when_busy='wait' or 'take "
                "over')",
                Reason.HELD,
            )
        if waited > (WAIT_SECONDS if when_busy == "wait" else LEAVE_SECONDS):
            raise ServingError(
                Code.DEADLINE_EXCEEDED,
                f"{busy} still, after {waited:.0f} s: interrupt it there, or end its process "
                f"({holder.pid})",
            )
        if when_busy == "take over" and (asked is None or asked.ident != holder.ident):
            ask_to_leave(path, holder, me)
            asked = holder
        report(f"{busy}{_left(holder)}")
        time.sleep(_POLL_SECONDS)
    return lease


def _left(holder: Holder) -> str:
    seconds = holder.seconds_left
    return "" if seconds is None else f", for about {max(1.0, seconds):.0f} s more"


def holder_name() -> str:
    """This process in a sentence of another: its notebook, or its command."""
    notebook = os.environ.get("JPY_SESSION_NAME")
    if notebook:
        return Path(notebook).name
    process = f"process {os.getpid()}"
    if in_notebook():
        return f"A notebook ({process})"
    run = Path(sys.argv[0] if sys.argv else "")
    program = run.parent.name if run.name == "__main__.py" else run.name
    if program == "workbench":
        return f"workbench {' '.join(sys.argv[1:2])} ({process})"
    return (
        f"{program} ({process})" if program not in ("", "-c") else f"A Python program ({process})"
    )
