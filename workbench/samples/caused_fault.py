"""A fault that was caused: the deed, the server's report of it, and its repair."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.client.server import ServerClient
from workbench.core.status import Code, ServingError

if TYPE_CHECKING:
    import pandas as pd

NOTICED_SECONDS = 60.0
"""How long a server may take to notice a fault, and to recover from it."""
_LOOK_SECONDS = 0.05


class Fault:
    """One fault that has been caused.

    As a context manager it is undone at the end of the block.

    Attributes:
        name: the function that caused it.
        served: the folder of the version that served before.
        done: what was done, in words.
        said: the server's report of it, in words.
        version: the bad version; None where the fault has none.
        repairs: the steps of `undo`, the last first.
    """

    def __init__(self, server: ServerClient, name: str, served: Path) -> None:
        self.name = name
        self.served = served
        self.done = self.said = ""
        self.version: int | None = None
        self.server = server
        self._since = time.monotonic()
        self.repairs = contextlib.ExitStack()

    @property
    def events(self) -> pd.DataFrame:
        """The events of the model and the server since the fault, as from `Server.events`."""
        events = self.server.events()
        mine = events["model"].isna() | (events["model"] == self.server.model)
        return events[mine & (events["monotonic"] >= self._since)].reset_index(drop=True)

    def undo(self) -> None:
        """Repair what was done, and wait until the model answers again. Repeated calls do nothing.

        Raises:
            ServingError: DEADLINE_EXCEEDED, the model does not answer again.
        """
        self.repairs.close()
        until(lambda: bool(available_versions(self.server)), f"{self.server.model} answers again")

    def __enter__(self) -> Fault:
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()

    def __str__(self) -> str:
        return f"{self.done}. The server: {self.said}"

    def __repr__(self) -> str:
        return f"<Fault {self.name}: {self}>"


def event_of(fault: Fault, kind: str, pid: int | None = None) -> dict[str, Any]:
    """Waits for the first event of this kind since the fault, of process `pid` if given; returns
    its data."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        with contextlib.suppress(ServingError):
            events = fault.events
            data = events[events["kind"] == kind]["data"]
            found.extend(d for d in data if pid is None or d["pid"] == pid)
        return bool(found)

    until(look, f"the server reports the event {kind}")
    return found[0]


def available_versions(server: ServerClient) -> list[int]:
    """The versions that serve; empty while the server does not answer."""
    try:
        return server.versions.available
    except ServingError:
        return []


def state_of(server: ServerClient, version: int) -> str:
    """A version's state; "" while it is unknown or the server does not answer."""
    try:
        return next((str(v.state) for v in server.versions if v.version == version), "")
    except ServingError:
        return ""


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until `holds()`; DEADLINE_EXCEEDED, which names `what`, after `NOTICED_SECONDS`."""
    end = time.monotonic() + NOTICED_SECONDS
    while not holds():
        if time.monotonic() > end:
            raise ServingError(
                Code.DEADLINE_EXCEEDED,
                f"Timed out after {NOTICED_SECONDS:.0f} s waiting until {what}",
            )
        time.sleep(_LOOK_SECONDS)
