"""One real Ray cluster of three nodes, with one fleet of two servers, for all tests of this folder.

Each node has a network namespace of its own. The tests leave three nodes and two servers that serve
version 1 behind, and find them so.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.deploy.ray.closed_loop import ClosedLoop
from workbench.core.status import ServingError
from workbench.deploy.fleet.deploying import deploy
from workbench.deploy.fleet.fleet_client import FleetClient
from workbench.deploy.fleet.fleet_servers import FleetServer
from workbench.deploy.fleet.serve_config import Placement
from workbench.deploy.local_nodes.cluster import LocalCluster, LocalNode
from workbench.deploy.local_nodes.node_network import Namespaces
from workbench.deploy.plan.plan import Plan
from workbench.deploy.plan.plan_sources import plan_of_folder

WAIT_SECONDS = 120.0
PATH = "/v1/models/half:predict"
BODY = '{"instances":[1.0]}'
ANSWERS = {1: '{"predictions":[2.5]}', 2: '{"predictions":[3.5]}'}


@dataclass
class Cluster:
    """A running cluster with a deployed fleet.

    Attributes:
        folder: of the model's versions: 1 and 2 are good, 3 cannot be loaded.
        lines: what the fleet has noted.
    """

    local: LocalCluster
    fleet: FleetClient
    plan: Plan
    folder: Path
    lines: list[str]

    def url(self, node: LocalNode | None = None) -> str:
        """The balancer of a node, by default of the head."""
        return f"http://{(node or self.local.head).address}:8501"

    def load(
        self, connections: int = 32, node: LocalNode | None = None, pause: float = 0.0
    ) -> ClosedLoop:
        """Callers of the balancer of a node, which may have to start first."""
        self.wait_for_balancer(node)
        return ClosedLoop(self.url(node), self.fleet.token, PATH, BODY, connections, pause)

    def wait_for_balancer(self, node: LocalNode | None = None) -> None:
        """Wait until the balancer of a node answers."""
        headers = {"Authorization": f"Bearer {self.fleet.token}"}
        request = urllib.request.Request(f"{self.url(node)}/v1/models/half", headers=headers)
        end = time.monotonic() + WAIT_SECONDS
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(request, timeout=5).close()
                return
            assert time.monotonic() < end, f"no balancer answers at {self.url(node)}"
            time.sleep(0.2)

    def servers(self) -> list[FleetServer]:
        """The servers that serve now; none while no balancer answers."""
        try:
            return self.fleet.find()
        except ServingError:
            return []

    def serving_node(self) -> LocalNode:
        """A node with a server on it that is not the head."""
        hosts = {server.node for server in self.servers()}
        return next(node for node in self.local.nodes[1:] if node.address in hosts)

    def wait_for_servers(self, count: int, but: FleetServer | None = None) -> float:
        """Wait for so many servers, `but` not counted; returns the seconds that it took."""
        began = time.monotonic()
        while time.monotonic() < began + WAIT_SECONDS:
            found = [s for s in self.servers() if but is None or s.name != but.name]
            if len(found) == count:
                return time.monotonic() - began
            time.sleep(0.2)
        raise AssertionError(f"not {count} servers: {self.servers()}")


@pytest.fixture(scope="session")
def cluster(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    assert Namespaces.possible(), "these tests need root, iproute2 and util-linux"
    base = tmp_path_factory.mktemp("fleet")
    os.environ["JUPYTER_DATA_DIR"] = str(base / "data")
    folder = base / "half"
    for version, model in ((1, "half_plus_two"), (2, "half_plus_three"), (3, "corrupt")):
        shutil.copytree(models / model, folder / str(version))
    lines: list[str] = []
    with LocalCluster(3, namespaces=True) as local:
        plan = plan_of_folder(folder, name="shop", version_policy=[1], labels={"stable": 1})
        fleet = deploy(
            plan,
            local.address,
            token=local.token,
            placement=Placement(balancers=3),
            note=lines.append,
        )
        yield Cluster(local, fleet, plan, folder, lines)
        family = [process for node in local.nodes for process in node.processes()]
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
