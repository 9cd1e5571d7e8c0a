"""A fleet, found by its record: its plan, its addresses and its servers."""

from __future__ import annotations

from workbench.client.asking.asker import Asker
from workbench.client.asking.data_client import DataClient
from workbench.deploy.fleet.fleet_orders import Orders
from workbench.deploy.fleet.fleet_record import FleetRecord
from workbench.deploy.fleet.fleet_servers import FleetControl, FleetServer, FleetServers
from workbench.deploy.fleet.rolling import Note, Rolling
from workbench.deploy.plan.plan import Plan
from workbench.deploy.remote.ray_head import RayHead
from workbench.deploy.remote.remote_server import RemoteServer


class NamedFleet:
    """A fleet of servers behind balancers, all of which serve the same plan.

    Attributes:
        note: called with a line for each step of a change.
    """

    def __init__(
        self, record: FleetRecord, model: str | None = None, note: Note = lambda line: None
    ) -> None:
        self.name = record.name
        self.note = note
        self._servers = FleetServers(record)
        self._control = FleetControl(self._servers)
        self._data = DataClient()
        self._asker = Asker(self._control, self._data)
        self._model = model

    @property
    def record(self) -> FleetRecord:
        """Where the fleet is, as it is kept on this machine."""
        return self._servers.record

    @property
    def head(self) -> RayHead:
        """The REST API of the cluster's head."""
        return self._servers.head

    @property
    def _rolling(self) -> Rolling:
        return Rolling(self._servers, self.note)

    # What it is.

    @property
    def orders(self) -> Orders:
        """The declared state: the plan with its revision, and a rollout that has not ended."""
        return self._rolling.read()[0]

    @property
    def plan(self) -> Plan:
        """What every server has to serve."""
        return self.orders.plan

    @property
    def model(self) -> str:
        """The model that methods are about, unless they name another one."""
        if self._model is None:
            self._model = self.plan.models[0].name
        return self._model

    @property
    def address(self) -> str:
        """The URL of a balancer, for callers over REST."""
        return self._control.entry().url

    @property
    def addresses(self) -> list[str]:
        """The URLs of all balancers. A caller that knows two outlives the loss of one."""
        record = self._servers.record
        self._servers.look_for_balancers()
        return [f"http://{host}:{record.rest_port}" for host in self._servers.record.balancers]

    @property
    def grpc_address(self) -> str | None:
        """The address of a balancer for a gRPC channel, `host:port`."""
        return self._control.entry().grpc_address

    @property
    def token(self) -> str:
        """The bearer token that requests must carry; never shown by `repr`."""
        return self._servers.record.tokens.data

    @property
    def servers(self) -> list[RemoteServer]:
        """The servers that serve now, each with the methods of a server on this machine."""
        control = self._servers.control
        return [RemoteServer(control(each), self.model) for each in self._servers.find(True)]

    def find(self) -> list[FleetServer]:
        """The servers that serve now, with their nodes and revisions."""
        return self._servers.find(fresh=True)
