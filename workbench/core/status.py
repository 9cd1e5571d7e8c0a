"""Canonical status codes, and the one exception that carries them.

Every refusal in the workbench, from a malformed request to a version that cannot load,
is a `ServingError`: a code that each interface translates (HTTP status, gRPC status) and
a message that names the thing and, where there is one, the cure.
"""

from __future__ import annotations

import enum


class Code(enum.IntEnum):
    """The canonical codes of gRPC and TensorFlow (`absl::StatusCode`), by number."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class ServingError(Exception):
    """A refusal with a canonical code; `str()` of it is the message alone.

    Attributes:
        retry_after_seconds: of UNAVAILABLE: whole seconds, at least 1, after which another attempt
            is worthwhile.
    """

    retry_after_seconds = 1

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __repr__(self) -> str:
        return f"ServingError({self.code.name}: {self.message})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ServingError):
            return NotImplemented
        return (self.code, self.message) == (other.code, other.message)

    def __hash__(self) -> int:
        return hash((self.code, self.message))


def invalid_argument(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)


def not_found(message: str) -> ServingError:
    return ServingError(Code.NOT_FOUND, message)


def unavailable(message: str) -> ServingError:
    return ServingError(Code.UNAVAILABLE, message)


def failed_precondition(message: str) -> ServingError:
    return ServingError(Code.FAILED_PRECONDITION, message)
