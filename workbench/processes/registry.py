"""The registry: one file for each server, which notebook, panel and terminal read.

An entry holds only while the processes that it names live. A reader checks that they are alive, and
removes the files that a killed server has left behind.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from workbench.core.status import not_found, unavailable
from workbench.processes import paths
from workbench.processes.lifetime import ProcessId

_KILLED_SECONDS = 24 * 3600.0
_PROCESSES = ("supervisor", "server", "owner", "keeper")


@dataclass(frozen=True)
class Entry:
    """A running server as the registry describes it.

    Attributes:
        supervisor, server: its two processes.
        host, port: of the data plane (REST).
        token: the data plane's bearer token; None if it asks for none.
        socket: the control plane's socket file.
        folder: the server's private folder.
        owner: the process that it ends with; None if it is detached or is a Jupyter kernel.
        kernel_id: the Jupyter kernel that supervises it, if there is one.
        keeper: the Jupyter Server that starts that kernel again when it dies.
        created: seconds since the epoch.
        grpc_port: of the data plane (gRPC); None if there is none.
        control_port: of the control plane over TCP; None if there is only the socket file.
        idle_seconds: the time without a request after which it ends; None: never.
        allowed_hosts: names that callers may use besides loopback's (`processes.hosts`).
        trouble: why there is no server process, if it has ended repeatedly.
    """

    name: str
    supervisor: ProcessId
    server: ProcessId
    host: str
    port: int
    token: str | None
    socket: str
    folder: str
    owner: ProcessId | None = None
    kernel_id: str | None = None
    keeper: ProcessId | None = None
    created: float = 0.0
    grpc_port: int | None = None
    control_port: int | None = None
    idle_seconds: float | None = None
    allowed_hosts: tuple[str, ...] = ()
    trouble: str | None = None

    @property
    def url(self) -> str:
        """REST's address, `http://host:port`; of no use if there is no REST (port 0)."""
        return f"http://{self._host}:{self.port}"

    @property
    def address(self) -> str:
        """Where clients reach it: the URL, or gRPC's address if there is no REST."""
        return self.url if self.port else (self.grpc_address or "no port")

    @property
    def grpc_address(self) -> str | None:
        """The address for a gRPC channel, `host:port`; None if there is no gRPC."""
        return None if self.grpc_port is None else f"{self._host}:{self.grpc_port}"

    @property
    def _host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    def __repr__(self) -> str:
        return f"Entry({self.name} at {self.url}, server pid {self.server.pid})"

    def alive(self) -> bool:
        """Whether its supervisor lives, which restarts its other processes."""
        return self.supervisor.alive()

    def is_kept(self) -> bool:
        """Whether the Jupyter Server lives that starts its kernel again."""
        return self.keeper is not None and self.keeper.alive()

    def to_bytes(self) -> bytes:
        """JSON, the token included, for `from_bytes`."""
        return orjson.dumps(self, default=list, option=orjson.OPT_INDENT_2)

    @classmethod
    def from_bytes(cls, text: bytes) -> Entry:
        """Raises ValueError, KeyError or TypeError if the text is not an entry."""
        data = orjson.loads(text)
        data |= {name: ProcessId.read(data[name]) for name in _PROCESSES}
        data["allowed_hosts"] = tuple(data.get("allowed_hosts", ()))
        return cls(**data)


def write(entry: Entry) -> None:
    """Write a server's entry, and remove the note that it was killed."""
    paths.write_private(paths.entry_path(entry.name), entry.to_bytes())
    forget_killed(entry.name)


def remove(entry: Entry) -> None:
    """Remove all files of a server: entry, socket, folder."""
    paths.entry_path(entry.name).unlink(missing_ok=True)
    socket = Path(entry.socket)
    socket.unlink(missing_ok=True)
    folder = Path(entry.folder)
    shutil.rmtree(folder, ignore_errors=True)
    if socket.parent != folder and socket.parent.name.startswith("wb-"):
        shutil.rmtree(socket.parent, ignore_errors=True)


@dataclass(frozen=True)
class Killed:
    """A server whose processes were all killed, so none could clean up.

    Attributes:
        models: the settings of the models it served, as the control plane takes them.
    """

    entry: Entry
    models: tuple[dict[str, Any], ...]


def note_killed(entry: Entry) -> None:
    """Write a note about a killed server, because its first finder removes its files. Notes are
    kept for a day."""
    try:
        wanted = orjson.loads((Path(entry.folder) / "desired.json").read_bytes())
        models = list(wanted["models"])
    except (OSError, ValueError, TypeError, KeyError):
        models = []
    path = paths.killed_path(entry.name)
    note = {"entry": orjson.loads(entry.to_bytes()), "models": models}
    # A full disk must not prevent readers from finding the servers that live.
    with contextlib.suppress(OSError):
        paths.make_private(path.parent)
        paths.write_private(path, orjson.dumps(note))


def read_killed(name: str) -> Killed | None:
    """The note about a killed server; None if no server of that name was killed."""
    path = paths.killed_path(name)
    try:
        if time.time() - path.stat().st_mtime > _KILLED_SECONDS:
            path.unlink(missing_ok=True)
            return None
        note = orjson.loads(path.read_bytes())
        return Killed(Entry.from_bytes(orjson.dumps(note["entry"])), tuple(note["models"]))
    except OSError:
        return None
    except (ValueError, TypeError, KeyError):
        path.unlink(missing_ok=True)
        return None


def killed() -> list[Killed]:
    """All servers that were killed within a day and not started again, by name."""
    found = (read_killed(path.stem) for path in sorted(paths.killed_folder().glob("*.json")))
    return [each for each in found if each is not None]


def forget_killed(name: str) -> None:
    """Remove the note about a killed server."""
    paths.killed_path(name).unlink(missing_ok=True)
    # The last note takes the folder along.
    with contextlib.suppress(OSError):
        paths.killed_folder().rmdir()


def read(name: str) -> Entry | None:
    """The entry of a server whose supervisor lives, else None; a stale entry is removed."""
    path = paths.entry_path(name)
    try:
        entry = Entry.from_bytes(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError):
        path.unlink(missing_ok=True)
        return None
    if entry.alive():
        return entry
    if not entry.server.alive() and not entry.is_kept():
        # All of its processes were killed: no one else is left to clean up.
        note_killed(entry)
        remove(entry)
    return None


def is_kept(name: str) -> bool:
    """Whether a server's supervisor has ended, but Jupyter will start it again."""
    try:
        entry = Entry.from_bytes(paths.entry_path(name).read_bytes())
    except (OSError, ValueError, TypeError, KeyError):
        return False
    return not entry.alive() and entry.is_kept() and paths.resume_path(entry.folder).exists()


def entries() -> list[Entry]:
    """All running servers, oldest first."""
    files = sorted(paths.runtime_folder().glob("workbench-*.json"))
    found = (read(path.stem.removeprefix("workbench-")) for path in files)
    return sorted((entry for entry in found if entry is not None), key=lambda e: e.created)


def find(name: str) -> Entry:
    """The entry of a running server.

    Raises:
        ServingError: NOT_FOUND, naming the running servers; UNAVAILABLE, Jupyter is restarting it.
    """
    entry = read(paths.check_name(name))
    if entry is None:
        if is_kept(name):
            raise unavailable(f"Jupyter is restarting server {name!r}: try again in a few seconds")
        running = ", ".join(e.name for e in entries()) or "none"
        raise not_found(f"No server named {name!r} is running (running: {running})")
    return entry
