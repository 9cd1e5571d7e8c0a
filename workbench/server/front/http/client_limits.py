"""The limits of one client of the data plane, and the refusals for what exceeds them."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.server.front.access import Refusal


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """The limits of one client; sizes in bytes, times in seconds."""

    max_body_bytes: int = 256 * 2**20
    max_header_bytes: int = 64 * 2**10
    max_headers: int = 256
    """Header lines of one request: each costs more than its bytes."""
    header_timeout_s: float = 10.0
    """From the first byte of a request to the end of its head."""
    body_idle_timeout_s: float = 30.0
    """Between two pieces of a request's body, or of an answer that the client reads slowly."""
    keep_alive_s: float = 75.0
    strange_s: float = 10.0
    """How long a connection may be idle before one of its requests has passed the access checks."""
    max_connections: int = 10_000
    max_pipelined: int = 64
    """Requests of one connection in progress; beyond this number, it is not read from."""
    spool_threshold_bytes: int = 64 * 2**10
    max_inflated_bytes: int = 100 * 2**20
    """Size of a gzip body once inflated; 100 MiB is TensorFlow Serving's limit."""


def head_too_large(limits: HttpLimits) -> Refusal:
    """The refusal of a head beyond `max_header_bytes`."""
    return Refusal(431, f"The request's head is larger than {limits.max_header_bytes} bytes.")


def too_many_headers(limits: HttpLimits) -> Refusal:
    """The refusal of more than `max_headers` lines."""
    return Refusal(431, f"The request has more than {limits.max_headers} headers.")


def body_too_large(limits: HttpLimits) -> Refusal:
    """The refusal of a body beyond `max_body_bytes`."""
    return Refusal(413, f"The request's body is larger than {limits.max_body_bytes} bytes.")
