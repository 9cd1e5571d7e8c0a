"""`Fleet`: a fleet of servers in the hands of a user, with its views."""

from __future__ import annotations

from typing import Any

from workbench.deploy.fleet.fleet_client import FleetClient
from workbench.deploy.local_nodes.cluster import LocalCluster


class Fleet(FleetClient):
    """Many servers that serve the same plan, behind balancers; with the verbs of `Server`.

    Attributes:
        cluster: the cluster on this machine that was started for it; None if it runs elsewhere.
    """

    cluster: LocalCluster | None = None

    def delete(self, timeout: float = 60.0) -> None:
        """End all servers and balancers of the fleet, and the cluster that was started for it. The
        folders of its models stay."""
        try:
            super().delete(timeout)
        finally:
            if self.cluster is not None:
                self.cluster.stop()
                self.cluster = None

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))
