"""One place of a fleet: the servers that stand there one after the other.

A place is empty, or has a server that starts, serves, changes its version or is lost. Each server
is a `VirtualServer`, the same as alone; a lost one is followed by another, which begins with an
empty queue.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from workbench.experiments.simulator.virtual_server import VirtualServer


class Phase(enum.Enum):
    """What the server of a place does."""

    ABSENT = "absent"
    STARTING = "starting"
    SERVING = "serving"
    SLOWER = "slower"  # it serves while it loads another version
    DRAINING = "draining"  # it serves what it has, and gets nothing more
    AWAY = "away"  # it runs, and refuses every request
    LOST = "lost"
    SILENT = "silent"  # lost, and nobody says so


NOT_DUE = 1 << 120
"""Later than every event."""
ANSWERING = frozenset({Phase.SERVING, Phase.SLOWER, Phase.DRAINING})
"""The phases in which a server takes requests."""


@dataclass(slots=True, eq=False)
class Stand:
    """One server that stood at a place.

    Attributes:
        server: its queue and its executors.
        attempts: which attempt each of its requests is, in order of arrival.
        rows: of its requests; shared by all servers if all requests are of one size.
        ended_at: when it was lost or removed, in microseconds; None: at the end of the run.
    """

    server: VirtualServer
    attempts: list[int]
    rows: list[int]
    ended_at: int | None = None


class Place:
    """A place for a server.

    Attributes:
        number: from 0.
        phase: of the server that stands there now.
        takes: whether the server takes requests.
        phases: every phase, with the time at which it began, in microseconds.
        stands: every server that stood there; the last is the present one.
        due: the event at which the server continues.
        planned: an event of the heap at which it was to continue before an earlier one came up.
    """

    __slots__ = (
        "attempts", "due", "number", "phase", "phases", "planned", "resume", "rows", "server",
        "stands", "takes",
    )  # fmt: skip

    def __init__(self, number: int) -> None:
        self.number = number
        self.phase, self.takes = Phase.ABSENT, False
        self.phases: list[tuple[int, Phase]] = [(0, Phase.ABSENT)]
        self.stands: list[Stand] = []
        self.due = self.planned = NOT_DUE

    def enter(self, phase: Phase, now: int) -> None:
        """Begin a phase."""
        self.phase, self.takes = phase, phase in ANSWERING
        if self.phases[-1][0] == now:
            self.phases.pop()
        self.phases.append((now, phase))

    def put(self, server: VirtualServer, rows: list[int]) -> None:
        """A new server takes the place; it waits for its first request."""
        stand = Stand(server, [], rows)
        self.stands.append(stand)
        # What is used for every request, a step nearer.
        self.server, self.attempts, self.rows = server, stand.attempts, rows
        self.resume: Callable[[], int] = server.turns().__next__
        self.resume()
        self.due = self.planned = NOT_DUE

    def clear(self, now: int) -> None:
        """The server is gone; it takes no further step."""
        self.stands[-1].ended_at = now
        self.due = self.planned = NOT_DUE
