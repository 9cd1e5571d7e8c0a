"""Lets one process at a time hold a thing, and others see the holder, wait, or ask it to leave.

A lease is a lock on a file. The operating system releases it when the holder's process ends,
however it ends. The file names the holder. A second file asks the holder to leave, for which it
looks between two steps of its work.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from workbench.processes.lifetime import ProcessId

_LONGEST_BYTES = 4096


@dataclass(frozen=True)
class Holder:
    """The holder of a lease.

    Attributes:
        name: for people, such as the path of a notebook.
        purpose: what the lease is used for, such as ``a sweep``.
        pid, process_started: its process.
        since: when it took the lease, in seconds of the monotonic clock, which all processes share.
        until: when it will probably end, likewise; None if that is unknown.
        ident: tells two leases of one process apart.
    """

    name: str
    purpose: str
    pid: int
    process_started: float
    since: float
    until: float | None
    ident: str

    @property
    def seconds_left(self) -> float | None:
        """The time that it still needs, probably; None if that is unknown."""
        return None if self.until is None else max(0.0, self.until - time.monotonic())

    def alive(self) -> bool:
        """Whether its process runs."""
        return ProcessId(self.pid, self.process_started).alive()


class Lease:
    """A lease that this process holds, until `release`; see `take`."""

    def __init__(self, path: Path, descriptor: int, holder: Holder) -> None:
        self._path = path
        self._descriptor = descriptor
        self.holder = holder
        self._write(holder)

    def expect_end(self, until: float) -> None:
        """Let others know when the work will probably end (seconds of the monotonic clock)."""
        self.holder = Holder(**{**asdict(self.holder), "until": until})
        self._write(self.holder)

    def asked_to_leave(self) -> str | None:
        """The name of the one who wants the lease; None if nobody does."""
        with contextlib.suppress(OSError, orjson.JSONDecodeError, KeyError):
            asked = orjson.loads(_request_path(self._path).read_bytes())
            if asked["ident"] == self.holder.ident:
                return str(asked["name"])
        return None

    def release(self) -> None:
        """Give the lease up."""
        if self.asked_to_leave() is not None:
            _request_path(self._path).unlink(missing_ok=True)
        # Unlock before closing: a forked child may hold the same open file.
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)

    def _write(self, holder: Holder) -> None:
        # In one write of a fixed length, so that a reader sees one holder or the other.
        os.pwrite(self._descriptor, orjson.dumps(asdict(holder)).ljust(_LONGEST_BYTES), 0)


def take(path: Path, name: str, purpose: str) -> Lease | None:
    """Take the lease whose lock is the file `path`; None if somebody else holds it.

    Raises:
        OSError: the file cannot be written.
    """
    me = ProcessId.me()
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            held = holder_of(path)
            if held is None or held.alive():
                return None
            # A child that its process has forked still has the file open.
            path.unlink(missing_ok=True)
            continue
        except BaseException:
            os.close(descriptor)
            raise
        if _is_still(path, descriptor):
            since = time.monotonic()
            holder = Holder(name, purpose, me.pid, me.started, since, None, uuid.uuid4().hex)
            return Lease(path, descriptor, holder)
        os.close(descriptor)


def holder_of(path: Path) -> Holder | None:
    """The last one who took the lease, who may have given it up; None if it cannot be read."""
    try:
        return Holder(**orjson.loads(path.read_bytes()))
    except (OSError, orjson.JSONDecodeError, TypeError):
        return None


def ask_to_leave(path: Path, holder: Holder, name: str) -> None:
    """Ask the holder to give its lease up for `name`."""
    request = _request_path(path)
    written = request.with_suffix(f".{os.getpid()}-{uuid.uuid4().hex[:8]}")
    written.write_bytes(orjson.dumps({"ident": holder.ident, "name": name}))
    written.replace(request)


def _request_path(path: Path) -> Path:
    return path.with_suffix(".wanted")


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether `path` is the open file, and not one that has replaced it."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
