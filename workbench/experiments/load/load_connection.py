"""The interface between a load run and its connections, for every protocol.

A *connection* holds at most one request in flight. Requests have numbers.
"""

from __future__ import annotations

from typing import Protocol


class Connection(Protocol):
    """Sends one request at a time, and reports the outcome to its `Sender`."""

    request: int | None
    """The number of the request that is in flight or being connected for."""

    async def connect(self) -> None:
        """Connect; raises OSError where that is not possible."""

    def send(self, request: int) -> None:
        """Send a request over a connection that is idle."""

    def abandon(self, reason: str) -> None:
        """Fail the request in flight; its late answer must not be taken for another's."""


class Sender(Protocol):
    """The run that connections belong to."""

    def bytes_of(self, request: int) -> bytes:
        """The encoded request."""

    def answered(self, request: int, status: int, size: int, version: int) -> None:
        """A request was answered, with an HTTP status and a body of `size` bytes."""

    def refused(self, status: int, text: str) -> None:
        """An answer, to be reported next, refuses its request with this text."""

    def failed(self, request: int, reason: str) -> None:
        """A request was not answered."""

    def idle(self, connection: Connection) -> None:
        """A connection can send the next request."""

    def lost(self, connection: Connection, request: int | None, reason: str) -> None:
        """A connection has ended, and its request, if any, has failed."""

    def client_is_free(self) -> None:
        """In a closed loop, a client that has its answer sends the next request."""
