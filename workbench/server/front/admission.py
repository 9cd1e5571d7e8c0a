"""Limits how much a server takes on at a time, over all connections; it refuses the rest at once.

A server that accepts everything answers every request late. The limits are on requests that are
accepted and not yet answered, and on the bytes of their bodies.
"""

from __future__ import annotations

from workbench.server.front.access import Refusal


def retry_after(seconds: int) -> tuple[tuple[str, str], ...]:
    """The header that says when a request that is refused now may be sent again."""
    return (("Retry-After", str(seconds)),)


HELD_TOO_LONG = "No version became available within the time limit of this request"
"""The error of a request that waited for a version until its deadline."""


class Admission:
    """Counts the requests in progress and the bytes kept for them."""

    __slots__ = ("bytes", "max_bytes", "max_requests", "refused", "requests")

    def __init__(self) -> None:
        self.max_requests = 20_000
        self.max_bytes = 2 * 2**30
        self.requests = 0
        self.bytes = 0
        self.refused = 0

    def refusal(self, size: int = 0) -> Refusal | None:
        """The refusal of a request that brings `size` bytes more; None where it is taken on."""
        if self.requests >= self.max_requests:
            why = f"This server has reached its limit of {self.max_requests} requests in progress."
        elif size and self.bytes + size > self.max_bytes:
            why = (
                f"This server holds {self.bytes} bytes of requests in progress; {size} more would "
                f"be beyond its limit of {self.max_bytes}."
            )
        else:
            return None
        self.refused += 1
        return Refusal(503, why, retry_after(1))

    def enter(self) -> None:
        """Count a request that is now in progress."""
        self.requests += 1

    def leave(self, size: int) -> None:
        """Count a request as answered, and its `size` bytes as freed."""
        self.requests -= 1
        self.bytes -= size
