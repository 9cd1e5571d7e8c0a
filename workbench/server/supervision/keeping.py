"""The files that a server keeps, and how it continues when the disk is full.

Events and log lines are written in the middle of changes of state, so writing them never raises:
what cannot be written is counted, and reported once. Files that grow are bounded: the newest part
stays, the part before it is kept beside it (`.1`), and everything older is removed.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from workbench.core.events import Event
from workbench.processes import paths, registry
from workbench.processes.server_options import ServerOptions

EVENTS_BYTES = 4 * 1024 * 1024
DESIRED = "desired.json"
LOG_BYTES = 8 * 1024 * 1024
# Of a log that is cut, the part that is kept beside it.
_LOG_TAIL_BYTES = 1024 * 1024

Report = Callable[[str], None]
"""Called with a message for a person, possibly while an event is being handled."""


def open_private(path: Path) -> int:
    """Open a file for appending that only its user can read; the descriptor is the caller's."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


class EventsFile:
    """The events as lines of JSON: the newest ones, between `limit_bytes` and twice as much.

    Args:
        report: called once when writing begins to fail, and once when it works again.
    """

    def __init__(self, path: Path, report: Report, limit_bytes: int = EVENTS_BYTES) -> None:
        self._path = path
        self._report = report
        self._limit = limit_bytes
        self._fd = open_private(path)
        self._size = os.fstat(self._fd).st_size
        self._torn = False
        self.dropped = 0
        """Events that could not be written since the last one that could."""

    def add(self, event: Event) -> None:
        """Append an event; counts it as dropped where it cannot be written."""
        if self._fd < 0:
            return
        line = orjson.dumps(event.to_json(), default=str) + b"\n"
        try:
            if self._size + len(line) > self._limit:
                self._rotate()
            # The part of the previous line that a full disk took must not spoil this one.
            whole = b"\n" + line if self._torn else line
            written = os.write(self._fd, whole)
        except OSError as error:
            self._drop(error.strerror or str(error))
            return
        self._size += written
        if written < len(whole):
            self._torn = True
            self._drop("No space left on device")
            return
        self._torn = False
        if self.dropped:
            dropped, self.dropped = self.dropped, 0
            self._report(f"Events are written to {self._path} again; {dropped} are missing there")

    def _drop(self, why: str) -> None:
        self.dropped += 1
        if self.dropped == 1:
            self._report(
                f"Events cannot be written to {self._path}: {why}. The server continues, and keeps "
                "new events in memory only."
            )

    def _rotate(self) -> None:
        if not self._path.is_file():
            # A device, or a file that was removed: there is nothing to set aside.
            return
        os.replace(self._path, _beside(self._path))
        fd = open_private(self._path)
        os.close(self._fd)
        self._fd, self._size = fd, 0

    def close(self) -> None:
        """Close the file; events that follow are ignored."""
        fd, self._fd = self._fd, -1
        os.close(fd)


def bound_log(path: Path, limit_bytes: int = LOG_BYTES) -> None:
    """Empty a log that has become larger than `limit_bytes`, and keep its last part beside it.

    Other processes write to it as well. All of them append, so the file can be emptied under them.
    Nothing happens if the disk does not allow it.
    """
    with contextlib.suppress(OSError):
        size = path.stat().st_size
        if size <= limit_bytes:
            return
        with path.open("rb") as log:
            log.seek(max(0, size - _LOG_TAIL_BYTES))
            tail = log.read(_LOG_TAIL_BYTES)
        try:
            paths.write_private(_beside(path), tail)
        finally:
            # Also if there was no room for the copy: the space is needed most then.
            os.truncate(path, 0)


def say(line: str) -> None:
    """Write a line to the log; it is lost if the disk is full."""
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


class _Retried:
    """Something that is written as soon as the disk has room for it.

    Args:
        report: called when it cannot be written, and when it has been written after all.
        failed: the first message, as far as the system's reason.
        consequence: the rest of it.
        written: the second message.
    """

    def __init__(self, report: Report, failed: str, consequence: str, written: str) -> None:
        self._report = report
        self._failed = failed
        self._consequence = consequence
        self._written = written
        self.unwritten = False
        """Whether the last attempt failed."""

    def attempt(self, write: Callable[[], object]) -> None:
        """Call `write`, and report an OSError."""
        try:
            write()
        except OSError as error:
            if not self.unwritten:
                self._report(f"{self._failed}: {error.strerror or error}. {self._consequence}")
            self.unwritten = True
            return
        if self.unwritten:
            self.unwritten = False
            self._report(self._written)


class DesiredState(_Retried):
    """The settings in force, which the next server process reads."""

    def __init__(self, path: Path, report: Report) -> None:
        super().__init__(
            report,
            f"The server's settings could not be written to {path}",
            "They are in force, and are written as soon as possible; a server process that starts "
            "before then has the older ones.",
            f"The server's settings have been written to {path}",
        )
        self._path = path
        self._wanted: dict[str, Any] = {}

    def read(self) -> dict[str, Any]:
        """The settings on disk; {} before the first write."""
        try:
            data: dict[str, Any] = orjson.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        return data

    def write(self, wanted: dict[str, Any]) -> None:
        """Write the settings; after a failure, `retry` tries again."""
        self._wanted = wanted
        text = orjson.dumps(wanted, option=orjson.OPT_INDENT_2)
        self.attempt(lambda: paths.write_private(self._path, text))

    def retry(self) -> None:
        """Write the settings if the last attempt failed."""
        if self.unwritten:
            self.write(self._wanted)


class EntryFiles(_Retried):
    """A server's entry in the registry, and what a Jupyter kernel needs to continue its server
    after a restart."""

    def __init__(self, name: str, report: Report) -> None:
        path = paths.entry_path(name)
        super().__init__(
            report,
            f"The registry's entry {path} could not be written",
            "The server continues, and it is written as soon as possible.",
            f"The registry's entry {path} has been written",
        )

    def write(self, entry: registry.Entry) -> None:
        """Write them; raises OSError."""
        if entry.keeper is not None:
            resume = {
                "kernel_id": entry.kernel_id,
                "server": list(entry.server),
                "token": entry.token,
                "port": entry.port or None,
                "grpc_port": entry.grpc_port,
            }
            paths.write_private(paths.resume_path(entry.folder), orjson.dumps(resume))
        registry.write(entry)

    def keep(self, entry: registry.Entry) -> None:
        """Write them, or report that they could not be written."""
        self.attempt(lambda: self.write(entry))


def read_resume(folder: Path) -> dict[str, Any]:
    """What a Jupyter kernel's server is continued with after a restart; {} if there is nothing."""
    try:
        data: dict[str, Any] = orjson.loads(paths.resume_path(folder).read_bytes())
    except (OSError, ValueError):
        return {}
    return data


def write_desired(folder: Path, options: ServerOptions) -> None:
    """Write the settings that the first server process reads.

    Raises:
        OSError: they could not be written.
    """
    wanted: dict[str, Any] = {"models": list(options.models)}
    if options.num_batch_threads is not None:
        wanted["num_batch_threads"] = options.num_batch_threads
    paths.write_private(folder / DESIRED, orjson.dumps(wanted))


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".1")
