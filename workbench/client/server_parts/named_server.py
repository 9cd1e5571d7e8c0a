"""A running server, found by its name: its addresses, its state and its models."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from workbench.client.control_answers import ModelDescription, VersionDescription
from workbench.client.control_client import ControlClient
from workbench.client.outcomes import Outcome
from workbench.processes import registry


class NamedServer:
    """One running server and one of its models. It holds no connection that could break.

    Attributes:
        model: the model that methods are about, unless they name another one.
        outcome: how `serve` obtained this server, or what the last `publish` has changed; None if
            it was only connected to.
        control: the server's control plane, one method for each route.
    """

    def __init__(self, name: str, model: str, outcome: Outcome | None = None) -> None:
        self.name = name
        self.model = model
        self.outcome = outcome
        self.control = ControlClient(name)

    @property
    def url(self) -> str:
        """The model's address over REST."""
        return f"{self.address}/v1/models/{quote(self.model, safe='')}"

    @property
    def address(self) -> str:
        """The data plane's `http://host:port`."""
        return self.control.entry().url

    @property
    def grpc_address(self) -> str | None:
        """The address for a gRPC channel (`host:port`). The token goes into the metadata
        ``authorization: Bearer <token>``. None if the server has no gRPC."""
        return self.control.entry().grpc_address

    @property
    def token(self) -> str | None:
        """The bearer token that requests must carry; never shown by `repr`."""
        return self.control.entry().token

    @property
    def running(self) -> bool:
        """Whether the server runs now."""
        return registry.read(self.name) is not None

    def status(self) -> dict[str, Any]:
        """Everything the server reports about itself and its models, as plain data."""
        return {**self.control.describe_server(), "models": self.control.describe_models()}

    def describe(self) -> ModelDescription:
        """The model's settings and versions, as plain data."""
        return self.control.describe_model(self.model)

    def describe_versions(self) -> dict[int, VersionDescription]:
        """The model's versions by number, highest first, as plain data."""
        return {version["version"]: version for version in self.describe()["versions"]}
