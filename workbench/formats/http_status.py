"""The HTTP status of each canonical code, and reason phrases, as in TensorFlow Serving.

An API that needs another status for a code derives its table from `HTTP_STATUS`, and says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from workbench.core.status import Code

# TensorFlow Serving's table (`ToHTTPStatusCode` in its http_server.cc).
HTTP_STATUS: Mapping[Code, int] = MappingProxyType(
    {
        Code.OK: 200,
        Code.CANCELLED: 499,
        Code.UNKNOWN: 500,
        Code.INVALID_ARGUMENT: 400,
        Code.DEADLINE_EXCEEDED: 504,
        Code.NOT_FOUND: 404,
        Code.ALREADY_EXISTS: 409,
        Code.PERMISSION_DENIED: 403,
        Code.RESOURCE_EXHAUSTED: 429,
        Code.FAILED_PRECONDITION: 400,
        Code.ABORTED: 409,
        Code.OUT_OF_RANGE: 400,
        Code.UNIMPLEMENTED: 501,
        Code.INTERNAL: 500,
        Code.UNAVAILABLE: 503,
        Code.DATA_LOSS: 500,
        Code.UNAUTHENTICATED: 401,
    }
)

PRECONDITION_FAILED = 412
"""A request was made for another signature than the version has (our own, on binary requests)."""

# Where several codes have one status, the first of them. The HTTP front itself refuses with 413.
_CODES = {
    413: Code.INVALID_ARGUMENT,
    **{status: code for code, status in reversed([*HTTP_STATUS.items()])},
}

# libevent's phrases (`http.c`), as TensorFlow Serving sends them. A status without one has the name
# of its class.
_PHRASES = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Time-out",
    409: "Conflict",
    413: "Request Entity Too Large",
    417: "Expectation Failed",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    504: "Gateway Time-out",
}
_CLASSES = {2: "Success", 4: "Client Error", 5: "Server Error"}


def code_of_status(status: int) -> Code:
    """The canonical code that an HTTP status stands for; UNKNOWN for one without any."""
    return _CODES.get(status, Code.UNKNOWN)


def reason_phrase(status: int) -> str:
    """The words after a status in an answer's first line."""
    return _PHRASES.get(status) or _CLASSES[status // 100]
