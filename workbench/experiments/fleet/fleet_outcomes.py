"""How a request to a fleet can end."""

from __future__ import annotations

import enum


class Outcome(enum.IntEnum):
    """The end of a request, or of one attempt to answer it."""

    ANSWERED = 0
    REJECTED = 1  # the server's queue was full, or the server did not serve for now
    REFUSED = 2  # no connection to the server
    LOST = 3  # the server ended before it answered
    TIMEOUT = 4  # the answer took longer than the balancer waits
    NO_SERVER = 5  # the balancer believed that no server was up
    UNANSWERED = 6  # still waiting when the run ended

    @property
    def words(self) -> str:
        """For readers."""
        return self.name.lower().replace("_", " ")
