"""The types of the control plane's answers: servers, models, versions, traffic, events."""

from __future__ import annotations

from typing import Any, TypedDict


class _Error(TypedDict):
    code: str
    message: str


class ErrorDescription(_Error, total=False):
    """`code` is the name of a `core.status.Code`, `reason` the value of a `core.status.Reason`."""

    reason: str


def error_text(error: ErrorDescription | None) -> str | None:
    """An error in one line; None for none."""
    return None if error is None else f"{error['code']}: {error['message']}"


class _Version(TypedDict):
    version: int
    state: str
    harness: str
    aspired: bool
    path: str
    real_path: str
    size_bytes: int
    error: ErrorDescription | None
    pid: int | None
    ready_at: float | None
    spawn_seconds: float
    load_seconds: float
    first_run_seconds: float | None
    notes: list[str]
    quarantine: dict[str, Any] | None


class VersionDescription(_Version, total=False):
    """One version. The optional members come with its load (`signatures` and below)."""

    memory: dict[str, Any]
    signatures: dict[str, Any]
    breakdown_seconds: dict[str, float]
    probe: dict[str, Any]
    merging: dict[str, Any]
    requests: dict[str, int]
    batches: dict[str, Any]


class ModelDescription(TypedDict):
    """One model: its settings, its versions (highest first), and why others wait."""

    name: str
    base_path: str
    transition: str
    version_policy: dict[str, Any]
    batching: dict[str, Any] | None
    labels: dict[str, int]
    probe: str
    versions: list[VersionDescription]
    waiting: dict[str, str]
    warnings: list[str]
    held: int
    outages: list[dict[str, Any]]


class WaitAnswer(ModelDescription):
    """`done`: whether the condition was met before the time was over."""

    done: bool


class ServerDescription(TypedDict):
    """The server process, without secrets."""

    name: str
    pid: int
    address: str | None
    token_required: bool
    started: float
    zygote_pid: int | None
    num_batch_threads: int
    outstanding: int
    last_seq: int
    budget: dict[str, Any]
    models: list[str]


class TrafficProgress(TypedDict):
    """A recording of traffic.

    Attributes:
        recorded: requests so far; `full`: whether it may hold no more.
        seconds: how long it has recorded.
    """

    number: int
    recorded: int
    seconds: float
    ended: bool
    full: bool


class RecordedTraffic(TrafficProgress):
    """The requests of a recording, in the order in which they were read.

    Attributes:
        started_at: the begin on the wall clock, in seconds since the epoch.
        at, rows, bytes: a number for each request, packed as int64
            (`load.packed_numbers.unpack_numbers`); `at` in microseconds from the begin.
    """

    started_at: float
    at: str
    rows: str
    bytes: str


class _LogEvent(TypedDict):
    seq: int
    kind: str
    monotonic: float
    wall: float


class LogEvent(_LogEvent, total=False):
    """An event as `core.events.Event` has it.

    Attributes:
        line: in TensorFlow Serving's wording.
    """

    model: str
    version: int
    data: dict[str, Any]
    line: str


class EventLog(TypedDict):
    """Events, oldest first, with the numbers of the first and the last that the server keeps."""

    first_seq: int
    last_seq: int
    events: list[LogEvent]
