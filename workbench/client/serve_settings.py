"""The settings of a call of `serve`: those of the model, and those of the server."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workbench.client.display.memory_tables import parse_bytes
from workbench.client.publishing.links import as_written, is_same_folder
from workbench.client.server import ServerClient
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.model_settings import plain_setting
from workbench.core.setting_kinds import truth
from workbench.processes.lifetime import ProcessId
from workbench.processes.registry import Entry
from workbench.processes.server_options import ServerOptions, StartRequest

DEFAULT_HOST = "127.0.0.1"


@dataclass
class ModelSettings:
    """A model's settings as `serve` takes them; None for those that were not given.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the setting that is not allowed.
    """

    transition: str | None = None
    version_policy: Any = None
    batching: BatchingParameters | Mapping[str, Any] | None = None
    labels: Mapping[str, int] | None = None
    probe: str | None = None
    device: str = "auto"
    memory_limit: int | str | None = None
    gpu_memory_limit: int | str | None = None
    given: dict[str, Any] = field(init=False)
    """Those that were given, by name, as the control plane takes them."""

    def __post_init__(self) -> None:
        settings = dict(vars(self))
        for limit in ("memory_limit", "gpu_memory_limit"):
            settings[f"{limit}_bytes"] = parse_bytes(settings.pop(limit), limit)
        self.given = {
            name: plain_setting(name, value)
            for name, value in settings.items()
            if value is not None
        }

    def change(self, server: ServerClient, *names: str) -> tuple[str, ...]:
        """Give a running server's model those of the settings `names` that were given.

        Returns:
            A line for each setting that has changed.
        """
        before: Mapping[str, Any] = server.describe()
        changes = {n: self.given[n] for n in names if self.given.get(n, before[n]) != before[n]}
        for name, value in changes.items():
            setattr(server, name, value)
        return tuple(
            f"{name} changed from {_words(before[name])} to {_words(value)}"
            for name, value in changes.items()
        )


def _words(value: Any) -> str:
    if value is None:
        return "automatic"
    if not isinstance(value, dict):
        return str(value)
    return ", ".join(f"{k}={v}" for k, v in value.items() if v not in (None, [])) or "none"


_OPTIONS = (
    "host", "port", "token", "idle_seconds", "allowed_hosts", "num_batch_threads",
    "per_version_slots",
)  # fmt: skip


@dataclass(frozen=True)
class ServerSettings:
    """A server's settings as `serve` takes them. A running server keeps them to its end, except
    `num_batch_threads`.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the setting, its value (except the token), and the
            allowed values.
    """

    host: str = DEFAULT_HOST
    port: int = 0
    token: str | None = ""
    base_path: str | os.PathLike[str] | None = None
    detach: bool = False
    idle_seconds: float | None = None
    allowed_hosts: Sequence[str] = ()
    num_batch_threads: int | None = None
    per_version_slots: bool = False
    options: ServerOptions = field(init=False)

    def __post_init__(self) -> None:
        truth().check("detach", self.detach)
        options = ServerOptions("server", **{name: getattr(self, name) for name in _OPTIONS})
        object.__setattr__(self, "options", options)

    def request(self, name: str) -> StartRequest:
        """The start of a new server of that name, for a launcher."""
        owner = None if self.detach else ProcessId.me()
        return StartRequest(replace(self.options, name=name), owner)

    def change_slots(self, server: ServerClient) -> tuple[str, ...]:
        """Set `num_batch_threads` of a running server if it was given; a line if it changed."""
        if self.num_batch_threads is None:
            return ()
        before = server.control.describe_server()["num_batch_threads"]
        if before == self.num_batch_threads:
            return ()
        server.control.set_slots(self.num_batch_threads)
        return (f"num_batch_threads changed from {before} to {self.num_batch_threads}",)

    def unlike(self, entry: Entry, base_path: Path) -> tuple[str, ...]:
        """A line with the settings that a running server has otherwise and cannot change; the
        token itself is never shown."""
        base = base_path if self.base_path is None else as_written(self.base_path)
        hosts = self.options.allowed_hosts
        known = ", ".join(entry.allowed_hosts) or "none"
        differs = {
            f"host (it is {entry.host})": self.host not in (DEFAULT_HOST, entry.host),
            f"port (it is {entry.port})": self.port not in (0, entry.port),
            "token": self.token not in ("", entry.token),
            f"base_path (it is {base_path})": not is_same_folder(base, base_path),
            "detach": self.detach and entry.owner is not None,
            "idle_seconds": self.idle_seconds not in (None, entry.idle_seconds),
            f"allowed_hosts (they are: {known})": hosts and set(hosts) != set(entry.allowed_hosts),
        }
        kept = ", its ".join(what for what, other in differs.items() if other)
        return (f"a running server keeps its {kept}: stop it first to change that",) if kept else ()
