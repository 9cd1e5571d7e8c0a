"""Canonical status codes, and the one exception that carries them.

Every refusal in the workbench, from a malformed request to a version that cannot load, is a
`ServingError`. Its code is translated by each interface (HTTP status, gRPC status). Its message
tells people the cause and the cure. Its reason tells programs what the code does not.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any


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


class Reason(str, enum.Enum):
    """Which refusal it is, for programs that need more than the code.

    Decide by this, never by the text of a message. The control plane sends its value.
    """

    MODEL_UNKNOWN = "model-unknown"
    """NOT_FOUND: the server has no model of that name."""
    NO_SERVER = "no-server"
    """NOT_FOUND: no server is running. The command line says how it starts one."""
    NO_MEMORY = "no-memory"
    """RESOURCE_EXHAUSTED: the memory budget, or a limit of the model, has no room for a version. It
    is tried again when memory is given back."""
    SIGNATURE_CHANGE = "signature-change"
    """FAILED_PRECONDITION: a version to be published would break the callers of the one that
    serves, and nobody has allowed that."""
    HELD = "held"
    """FAILED_PRECONDITION: another experiment holds the server. One can wait, or take over."""


class ServingError(Exception):
    """A refusal with a canonical code; `str()` of it is the message alone.

    Attributes:
        reason: which refusal it is, for programs; None if the code says enough.
        retry_after_seconds: of UNAVAILABLE: whole seconds, at least 1, after which another attempt
            is worthwhile.
    """

    retry_after_seconds = 1
    _render_traceback_: Callable[[ServingError], list[str]]
    """IPython's hook for the traceback in a cell, set by those who know IPython."""

    def __init__(self, code: Code, message: str, reason: Reason | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason

    def to_json(self) -> dict[str, str]:
        """The error as plain data: the name of its ``code``, its ``error`` text, and its ``reason``
        if it has one."""
        data = {"code": self.code.name, "error": self.message}
        return data if self.reason is None else {**data, "reason": self.reason.value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ServingError:
        """Read what `to_json` made, perhaps in another version of this package, whose reason may be
        unknown and is dropped then."""
        reason = next((each for each in Reason if each.value == data.get("reason")), None)
        return cls(Code[data.get("code", "UNKNOWN")], data.get("error", "?"), reason)

    def __repr__(self) -> str:
        return f"ServingError({self.code.name}: {self.message})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ServingError):
            return NotImplemented
        return (self.code, self.message) == (other.code, other.message)

    def __hash__(self) -> int:
        return hash((self.code, self.message))


def invalid_argument(message: str) -> ServingError:
    """A request or a setting that is wrong whatever the state of the server."""
    return ServingError(Code.INVALID_ARGUMENT, message)


def not_found(message: str, reason: Reason | None = None) -> ServingError:
    """A model, version, server or folder that is not there."""
    return ServingError(Code.NOT_FOUND, message, reason)


def unavailable(message: str) -> ServingError:
    """A condition that should pass: the caller may try again."""
    return ServingError(Code.UNAVAILABLE, message)


def failed_precondition(message: str) -> ServingError:
    """A state that has to be changed first: trying again does not help."""
    return ServingError(Code.FAILED_PRECONDITION, message)
