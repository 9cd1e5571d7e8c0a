"""The control plane of a server on another machine."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.client.control_client import TIMEOUT_SECONDS, ControlClient
from workbench.core.status import ServingError, unavailable
from workbench.processes.lifetime import ProcessId
from workbench.processes.registry import Entry

_ELSEWHERE = ProcessId(0, 0.0)
"""No process of this machine."""


@dataclass(frozen=True)
class RemoteAddress:
    """Where a server of a fleet listens. Its `repr` shows no token.

    Attributes:
        server: its name, unique in the fleet.
        host: of its node, as the other nodes reach it.
        rest_port, grpc_port, control_port: of the data plane and of the control plane.
    """

    server: str
    host: str
    rest_port: int
    grpc_port: int | None = None
    control_port: int | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RemoteAddress:
        """Read an address; fields that are not its own are left out."""
        return cls(**{name: data[name] for name in cls.__dataclass_fields__ if name in data})

    def entry(self, token: str | None) -> Entry:
        """The server as an entry of a registry, for clients that take one."""
        return Entry(
            name=self.server,
            supervisor=_ELSEWHERE,
            server=_ELSEWHERE,
            host=self.host,
            port=self.rest_port,
            token=token,
            socket="",
            folder="",
            grpc_port=self.grpc_port,
            control_port=self.control_port,
        )


class RemoteControl(ControlClient):
    """`ControlClient` over TCP, to a server that is not in the registry of this machine.

    Args:
        address: of the server, with a control port.
        token: of its data plane; `control_token`: of its control plane.
    """

    def __init__(
        self,
        address: RemoteAddress,
        token: str | None,
        control_token: str,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        super().__init__(address.server, timeout)
        self.address = address
        self._entry = address.entry(token)
        self._headers = {"Authorization": f"Bearer {control_token}"}

    def entry(self) -> Entry:
        """The server's addresses and token. Nothing is asked, so it may have ended."""
        return self._entry

    def _connection(self, entry: Entry, timeout: float) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(entry.host, entry.control_port, timeout=timeout)

    def _unreachable(self, entry: Entry, error: Exception) -> ServingError:
        where = f"{entry.host}:{entry.control_port}"
        return unavailable(f"Server {self.name!r} does not answer at {where}: {error}")
