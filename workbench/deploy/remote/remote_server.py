"""A server of a fleet in the hands of a program."""

from __future__ import annotations

from workbench.client.asking.asker import Asker
from workbench.client.server import ServerClient
from workbench.core.status import ServingError, failed_precondition
from workbench.deploy.remote.remote_control import RemoteControl


class RemoteServer(ServerClient):
    """One server of a fleet, with the methods of `ServerClient`. Its lifetime is the fleet's.

    Args:
        control: its control plane.
        model: the model that methods are about, unless they name another one.
    """

    def __init__(self, control: RemoteControl, model: str) -> None:
        super().__init__(control.name, model)
        self.control = control
        self._asker = Asker(control, self._data)

    @property
    def running(self) -> bool:
        """Whether its control plane answers now."""
        try:
            self.control.describe_server()
        except ServingError:
            return False
        return True

    def stop(self, timeout: float = 0.0) -> None:
        """Refused: the fleet would start another server at once.

        Raises:
            ServingError: FAILED_PRECONDITION, with the cure.
        """
        raise failed_precondition(
            f"Server {self.name!r} belongs to a fleet, which would replace it: scale the fleet, or "
            "delete it"
        )

    def __repr__(self) -> str:
        return f"<Server {self.name} at {self.control.entry().url}>"
