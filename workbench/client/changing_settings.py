"""The settings of a served model: as plain data, and changed on a server that runs already."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.client.publishing.links import as_written, is_same_folder
from workbench.core.model_settings import MODEL_SETTINGS, check_setting
from workbench.core.setting_kinds import truth
from workbench.core.versions.version_policy import VersionPolicy
from workbench.processes.registry import Entry
from workbench.processes.server_options import SERVER_OPTIONS, ServerOptions

if TYPE_CHECKING:
    from workbench.client.server import Server

DEFAULT_TRANSITION = "smooth"
DEFAULT_HOST = "127.0.0.1"


def plain_setting(name: str, value: Any) -> Any:
    """A model's setting as the control plane takes it, checked here so that the error is the
    caller's.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the setting, its value, and what is allowed.
    """
    return MODEL_SETTINGS[name].kind.plain(check_setting(name, value))


class ModelSettings:
    """What `serve` is told about a model; None where it is told nothing.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the setting that cannot be.
    """

    def __init__(
        self,
        transition: Any,
        version_policy: Any,
        batching: Any,
        labels: Any,
        slots: Any,
        probe: Any,
    ) -> None:
        self.slots = SERVER_OPTIONS["num_batch_threads"].check("num_batch_threads", slots)
        given = {
            "transition": transition,
            "version_policy": version_policy,
            "batching": batching,
            "labels": labels,
            "probe": probe,
        }
        self.asked: dict[str, Any] = {
            name: plain_setting(name, value) for name, value in given.items() if value is not None
        }
        """As the control plane takes them, by name."""

    def for_new(self) -> dict[str, Any]:
        """The settings of a model that is served for the first time."""
        return {
            "version_policy": VersionPolicy().to_json(),
            "transition": DEFAULT_TRANSITION,
            "batching": None,
            "labels": {},
            **self.asked,
        }

    def change(self, server: Server, *names: str) -> tuple[str, ...]:
        """Give a running server's model the settings of these names that were asked for.

        Returns:
            What has changed, a line each.
        """
        lines = []
        described = server._describe(server.model)
        for name in names:
            if name in self.asked and self.asked[name] != described[name]:
                setattr(server, name, self.asked[name])
                lines.append(
                    f"{name} changed from {_words(described[name])} to {_words(self.asked[name])}"
                )
        if self.slots is not None and "batching" in names:
            before = server.status()["num_batch_threads"]
            if before != self.slots:
                server._control.request("PATCH", "/server", {"num_batch_threads": self.slots})
                lines.append(f"num_batch_threads changed from {before} to {self.slots}")
        return tuple(lines)


def _words(value: Any) -> str:
    if value is None:
        return "automatic"
    if not isinstance(value, dict):
        return str(value)
    return ", ".join(f"{k}={v}" for k, v in value.items() if v not in (None, [])) or "none"


@dataclass(frozen=True)
class ServerSettings:
    """What `serve` is given about a server, which keeps it from its start to its end.

    Raises:
        ServingError: INVALID_ARGUMENT, `detach` is not a boolean.
    """

    options: ServerOptions
    base_path: str | os.PathLike[str] | None
    detach: bool

    def __post_init__(self) -> None:
        truth().check("detach", self.detach)

    def unlike(self, entry: Entry, base_path: Path) -> tuple[str, ...]:
        """What is otherwise on a running server, a line; the token itself is never named."""
        options, other = self.options, []
        if options.host not in (DEFAULT_HOST, entry.host):
            other.append(f"host (it is {entry.host})")
        if options.port not in (0, entry.port):
            other.append(f"port (it is {entry.port})")
        if options.token not in ("", entry.token):
            other.append("token")
        if self.base_path is not None and not is_same_folder(as_written(self.base_path), base_path):
            other.append(f"base_path (it is {base_path})")
        if self.detach and entry.owner is not None:
            other.append("detach")
        if options.idle_seconds not in (None, entry.idle_seconds):
            other.append("idle_seconds")
        if options.allowed_hosts and set(options.allowed_hosts) != set(entry.allowed_hosts):
            there = ", ".join(entry.allowed_hosts) or "none"
            other.append(f"allowed_hosts (they are: {there})")
        if not other:
            return ()
        return (f"a running server keeps its {', its '.join(other)}: stop it first to change that",)
