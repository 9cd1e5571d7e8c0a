"""The settings of a served model: as plain data, and changed on a server that runs already."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.client.links import as_written, is_same_folder
from workbench.core.batching_parameters import BatchingParameters
from workbench.core.status import invalid_argument
from workbench.core.transitions import policy_name
from workbench.core.versions import VersionPolicy
from workbench.runtime.registry import Entry

if TYPE_CHECKING:
    from workbench.client.server import Server

DEFAULT_TRANSITION = "smooth"
DEFAULT_HOST = "127.0.0.1"


def batching_json(
    parameters: BatchingParameters | Mapping[str, Any] | None,
) -> dict[str, Any] | None:
    """Batching parameters as plain data, checked here so that the error is the caller's."""
    if parameters is None:
        return None
    if isinstance(parameters, Mapping):
        parameters = BatchingParameters.from_json(parameters)
    if not isinstance(parameters, BatchingParameters):
        raise invalid_argument(
            f"Batching {parameters!r} is not understood: give BatchingParameters, a dictionary of "
            "them, or None for automatic batching"
        )
    return parameters.to_json()


def labels_json(labels: Mapping[str, int]) -> dict[str, int]:
    """Labels as plain data."""
    if not isinstance(labels, Mapping):
        raise invalid_argument(f"Labels must map names to version numbers; were {labels!r}")
    return dict(labels)


class ModelSettings:
    """What `serve` is told about a model; None where it is told nothing.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the setting that cannot be.
    """

    def __init__(
        self, transition: Any, version_policy: Any, batching: Any, labels: Any, slots: int | None
    ) -> None:
        self.slots = slots
        self.asked: dict[str, Any] = {}
        """As the control plane takes them, by name."""
        if transition is not None:
            self.asked["transition"] = policy_name(transition)
        if version_policy is not None:
            self.asked["version_policy"] = VersionPolicy.parse(version_policy).to_json()
        if batching is not None:
            self.asked["batching"] = batching_json(batching)
        if labels is not None:
            self.asked["labels"] = labels_json(labels)

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
    """What `serve` is told about a server, which has it from its start to its end."""

    host: str
    port: int
    token: str | None
    base_path: str | os.PathLike[str] | None
    detach: bool
    idle_seconds: float | None

    def unlike(self, entry: Entry, base_path: Path) -> tuple[str, ...]:
        """What is otherwise on a running server, a line; the token itself is never named."""
        other = []
        if self.host not in (DEFAULT_HOST, entry.host):
            other.append(f"host (it is {entry.host})")
        if self.port not in (0, entry.port):
            other.append(f"port (it is {entry.port})")
        if self.token not in ("", entry.token):
            other.append("token")
        if self.base_path is not None and not is_same_folder(as_written(self.base_path), base_path):
            other.append(f"base_path (it is {base_path})")
        if self.detach and entry.owner is not None:
            other.append("detach")
        if self.idle_seconds not in (None, entry.idle_seconds):
            other.append("idle_seconds")
        if not other:
            return ()
        return (f"a running server keeps its {', its '.join(other)}: stop it first to change that",)
