"""What a server process keeps on disk, and how it goes on when the disk does not take it.

Events and log lines are told in the middle of changes of state, so writing them never raises: what
cannot be written is counted, and said once. Files that grow are bounded: the newest part stays, the
part before it is kept once more beside (`.1`), everything older goes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from workbench.core.events import Event
from workbench.processes import paths, registry

EVENTS_BYTES = 4 * 1024 * 1024
LOG_BYTES = 8 * 1024 * 1024
# Of a log that is cut, the part that is kept beside it.
_LOG_TAIL_BYTES = 1024 * 1024

Tell = Callable[[str], None]
"""Called with words for a person; it may itself be called from inside an event."""


def open_private(path: Path) -> int:
    """Open a file for appending that only its user can read; the descriptor is the caller's."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


class EventsFile:
    """The events as lines of JSON, the newest `limit_bytes` to twice that.

    Args:
        tell: told once when writing begins to fail, and once when it works again.
    """

    def __init__(self, path: Path, tell: Tell, limit_bytes: int = EVENTS_BYTES) -> None:
        self._path = path
        self._tell = tell
        self._limit = limit_bytes
        self._fd = open_private(path)
        self._size = os.fstat(self._fd).st_size
        self._torn = False
        self.dropped = 0
        """Events that are not on disk, since it was last written to."""

    def add(self, event: Event) -> None:
        if self._fd < 0:
            return
        line = orjson.dumps(event.to_json(), default=str) + b"\n"
        try:
            if self._size + len(line) > self._limit:
                self._rotate()
            # What a full disk left of the line before must not spoil this one.
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
            self._tell(f"Events are written to {self._path} again; {dropped} are missing there")

    def _drop(self, why: str) -> None:
        self.dropped += 1
        if self.dropped == 1:
            self._tell(
                f"Events cannot be written to {self._path}: {why}. The server goes on; what "
                "happens meanwhile is kept in memory only."
            )

    def _rotate(self) -> None:
        if not self._path.is_file():
            # A device, or a file that somebody has removed: there is nothing to set aside.
            return
        os.replace(self._path, _beside(self._path))
        fd = open_private(self._path)
        os.close(self._fd)
        self._fd, self._size = fd, 0

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        os.close(fd)


def bound_log(path: Path, limit_bytes: int = LOG_BYTES) -> None:
    """Cut a log that other processes write to as well; its last part is kept beside it.

    All of them append, so the file can be emptied under them. Nothing happens where it is small,
    or where the disk does not let it happen.
    """
    try:
        size = path.stat().st_size
        if size <= limit_bytes:
            return
        with path.open("rb") as log:
            log.seek(max(0, size - _LOG_TAIL_BYTES))
            tail = log.read(_LOG_TAIL_BYTES)
        try:
            paths.write_private(_beside(path), tail)
        finally:
            # Also where there was no room for the copy: that is when the space is needed most.
            os.truncate(path, 0)
    except OSError:
        pass


def say(line: str) -> None:
    """A line for the log; lost where the disk is full."""
    try:
        print(line, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        pass


class DesiredState:
    """What is wanted of a server, as its next process will read it.

    Args:
        tell: told when it cannot be kept, and when it has been after all.
    """

    def __init__(self, path: Path, tell: Tell) -> None:
        self._path = path
        self._tell = tell
        self._unwritten: dict[str, Any] | None = None

    def read(self) -> dict[str, Any]:
        try:
            data: dict[str, Any] = orjson.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        return data

    def write(self, wanted: dict[str, Any]) -> None:
        """Keep it; where the disk does not take it, the server goes on and `retry` tries again."""
        try:
            paths.write_private(self._path, orjson.dumps(wanted, option=orjson.OPT_INDENT_2))
        except OSError as error:
            if self._unwritten is None:
                self._tell(
                    f"The server's settings could not be written to {self._path}: "
                    f"{error.strerror or error}. They hold now, and are written as soon as that "
                    "is possible; a server process that starts before then knows the older ones."
                )
            self._unwritten = wanted
            return
        if self._unwritten is not None:
            self._unwritten = None
            self._tell(f"The server's settings have been written to {self._path}")

    def retry(self) -> None:
        if self._unwritten is not None:
            self.write(self._unwritten)


class EntryFiles:
    """A server's entry in the registry; and, for a server in a Jupyter kernel, what that kernel
    goes on with when it is started again.

    Args:
        tell: told when they cannot be kept, and when they have been after all.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self.unwritten = False
        """Whether what is on disk is older than what `keep` was given."""

    def write(self, entry: registry.Entry) -> None:
        """Raises OSError where the disk does not take them."""
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
        """Write them, or say that they could not be written."""
        path = paths.entry_path(entry.name)
        try:
            self.write(entry)
        except OSError as error:
            if not self.unwritten:
                self._tell(
                    f"The registry's entry {path} could not be written: {error.strerror or error}. "
                    "The server goes on; it is written as soon as that is possible."
                )
            self.unwritten = True
            return
        if self.unwritten:
            self.unwritten = False
            self._tell(f"The registry's entry {path} has been written")


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".1")
