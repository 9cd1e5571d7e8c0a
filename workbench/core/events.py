"""The event log: what happened, in order, and the log line of each event.

Every state change, decision, reservation and process exit is appended here once. Log lines, the
client's `server.events()`, dashboards and tests are views of this list. The log is bounded: a
reader that fell behind can go on at `first_seq`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    `seq` counts from 1 without gaps. `monotonic` (seconds) is for ordering and measuring; `wall`
    (seconds since the epoch) is for people.
    """

    seq: int
    kind: str
    monotonic: float
    wall: float
    model: str | None = None
    version: int | None = None
    data: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain data, without `model`, `version` and `data` if there are none."""
        always = {"seq": self.seq, "kind": self.kind, "monotonic": self.monotonic}
        perhaps = {"model": self.model, "version": self.version, "data": dict(self.data or {})}
        given = {name: value for name, value in perhaps.items() if value not in (None, {})}
        return {**always, "wall": self.wall, **given}


Listener = Callable[[Event], None]


class EventLog:
    """A bounded, append-only list of events with synchronous listeners.

    `clock` returns (monotonic seconds, wall seconds). Time comes from outside, so the same log
    works in virtual time.
    """

    def __init__(self, clock: Callable[[], tuple[float, float]], capacity: int = 20_000) -> None:
        self._clock = clock
        self._events: deque[Event] = deque(maxlen=capacity)
        self._listeners: list[Listener] = []
        self._seq = 0

    def add(
        self, kind: str, model: str | None = None, version: int | None = None, **data: Any
    ) -> Event:
        """Append an event with the present time, and call the listeners."""
        monotonic, wall = self._clock()
        self._seq += 1
        event = Event(self._seq, kind, monotonic, wall, model, version, data or None)
        self._events.append(event)
        for listener in tuple(self._listeners):
            listener(event)
        return event

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each new event, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @property
    def last_seq(self) -> int:
        """The sequence number of the last event; 0 if there was none."""
        return self._seq

    @property
    def first_seq(self) -> int:
        """The oldest sequence number still kept; 1 past the last if none is kept."""
        return self._events[0].seq if self._events else self._seq + 1

    def since(self, seq: int) -> Iterator[Event]:
        """The kept events with a sequence number above `seq`, oldest first."""
        start = max(0, seq - self.first_seq + 1)
        events = self._events
        return (events[i] for i in range(start, len(events)))


_TOLD = (
    *("set_aside", "setting_refused", "quarantine_over", "source_waiting", "folder_replaced"),
    *("renewed", "source_error", "config_failed", "ledger_failed", "disk_trouble"),
)
"""Events whose line is their message."""
_LINES: dict[str, str] = {
    **dict.fromkeys(_TOLD, "{message}"),
    "models_adding": "Adding/updating models.",
    "models_added": "Finished adding/updating models",
    "model_added": " (Re-)adding model: {model}",
    "model_removed": "Removing model: {model}",
    "reserved": "Successfully reserved resources to load servable {id}",
    "load_approved": "Approving load for servable version {id}",
    "staging": "Staging servable version {id}",
    "staged": "Done staging servable version {id}: {cached_bytes} of {total_bytes} bytes of its "
    "files are in the page cache",
    "loading": "Loading servable version {id}",
    "reading_saved_model": "Reading SavedModel from: {path}",
    "reading_meta_graph": "Reading meta graph with tags {{ {tags} }}",
    "loaded_saved_model": (
        "SavedModel load for tags {{ {tags} }}; Status: success: OK. Took {micros} microseconds."
    ),
    "session_wrapped": "Wrapping session to perform batch processing",
    "warmup_absent": "No warmup data file found at {path}",
    "warmup_started": (
        "Starting to read warmup data for model at {path} with model-warmup-options {options}"
    ),
    "warmup_finished": (
        "Finished reading warmup data for model at {path}. Number of warmup records read: "
        "{records}. Elapsed time (microseconds): {micros}."
    ),
    "available": "Successfully loaded servable version {id}",
    "load_failed": "Loading servable: {id} failed: {code}: {message}",
    "load_retry": "Retrying of Loading servable: {id} retry: {attempt}",
    "load_retries_exhausted": (
        "Retrying of Loading servable: {id} exhausted max_num_retries: {retries}"
    ),
    "load_retry_cancelled": "Retrying of Loading servable: {id} was cancelled.",
    "load_cancelled": "Loading of servable cancelled: {id}",
    "held_released": "{requests} requests that waited for a version of {model} go on",
    "error": "Encountered an error for servable version {id}: {code}: {message}",
    "not_loaded": "Servable {id} cannot be loaded: {code}: {message}",
    "quiescing": "Quiescing servable version {id}",
    "quiesced": "Done quiescing servable version {id}",
    "unloading": "Unloading servable version {id}",
    "unloaded": "Done unloading servable version {id}",
    "worker_exited": "Worker process {pid} of servable version {id} ended: {reason}",
    "worker_hung": "Worker process {pid} of servable version {id} hangs and is ended: {reason}",
    "merging": "Servable version {id}: requests of signature {signature} are merged from now on: "
    "{merged} ({by})",
    "quarantined": "Servable version {id} is set aside for {seconds:.0f} s: {message}",
    "quarantine_retry": "Servable version {id} is tried again",
    "crash_input": (
        "Input {input} of {outline} was alone in the worker of servable version {id} when it died; "
        "crashes blamed on it: {crashes}"
    ),
    "input_refused": (
        "Servable version {id} refuses input {input} of {outline} from now on: it was in the "
        "worker each of the {crashes} times that it died"
    ),
    "shape_refused": (
        "Servable version {id} refuses requests of the shape {form} from now on, which disagrees "
        "with its signature: a worker process died of one"
    ),
    "worker_replaced": "Worker process {pid} now serves servable version {id}",
    "renewal_failed": "Reloading servable: {id} failed: {code}: {message}",
    "source_unreadable": (
        "FileSystemStoragePathSource encountered a filesystem access error: {message}"
    ),
    "grpc_insecure": "Using InsecureServerCredentials",
    "grpc_ready": "Running gRPC ModelServer at {address} ...",
    "config_entry": (
        "\nConfig entry\n\tindex : {index}\n\tpath : {path}\n\tname : {name}"
        "\n\tplatform : {platform}"
    ),
    "reload_failed": "ReloadConfig failed: {message}",
    "memory_limit": "Worker process {pid} of servable version {id} is ended: {message}",
    "device_fallback": "Servable version {id} goes to the CPU: {message}",
    "gpu_lost": "{device} does not answer any more: {message}",
    "server_ready": "Exporting HTTP/REST API at:{address} ...",
    "server_stopping": "Server is stopping: {reason}",
}


def log_line(event: Event) -> str | None:
    """The event in TensorFlow Serving's wording, or None for one that has no log line."""
    template = _LINES.get(event.kind)
    if template is None:
        return None
    fields: dict[str, Any] = dict(event.data or {})
    fields["model"] = event.model
    if event.version is not None:
        fields["id"] = f"{{name: {event.model} version: {event.version}}}"
    return template.format(**fields)
