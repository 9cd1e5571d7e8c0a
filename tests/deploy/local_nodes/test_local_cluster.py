"""Nodes on loopback, and nodes whose owner is killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys

import psutil
import pytest

from workbench.core.status import Code, ServingError
from workbench.deploy.local_nodes import cluster as cluster_module
from workbench.deploy.local_nodes.cluster import LocalCluster
from workbench.deploy.local_nodes.node_command import free_ports
from workbench.deploy.local_nodes.node_network import Namespaces

pytestmark = [pytest.mark.fleet, pytest.mark.alone, pytest.mark.timeout(240)]


@pytest.mark.slow
def test_two_nodes_on_loopback() -> None:
    said: list[str] = []
    with LocalCluster(2, namespaces=False, note=said.append) as cluster:
        assert sorted(cluster.alive()) == sorted(node.address for node in cluster.nodes)
        assert all(node.address.startswith("127.") for node in cluster.nodes)
        with pytest.raises(ServingError, match="network namespace of its own") as refused:
            cluster.silence(cluster.nodes[1])
        assert refused.value.code is Code.FAILED_PRECONDITION
        with pytest.raises(ServingError, match="runs already"):
            cluster.start_node(cluster.head)
        family = [process for node in cluster.nodes for process in node.processes()]
        assert len(family) > 8
        # On a busy machine a node may have been started again before.
        runs = [line for line in said if " runs at " in line]
        assert runs == [f"node {n + 1} of 2 runs at {cluster.nodes[n].address}" for n in (0, 1)]
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


def test_a_node_that_ends_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('Traceback\\nno place\\n')"]
    monkeypatch.setattr(cluster_module, "node_command", lambda node, head: command)
    said: list[str] = []
    with (
        pytest.raises(ServingError) as refused,
        LocalCluster(1, namespaces=False, note=said.append),
    ):
        pass
    assert refused.value.code is Code.UNAVAILABLE
    assert "Node 1 of 1 has ended (no place); the load of this machine" in refused.value.message
    assert said == ["node 1 did not join in time, and is started again"] * 2


_OWNER = """
import sys
from workbench.deploy.local_nodes.cluster import LocalCluster
cluster = LocalCluster(1, namespaces=sys.argv[1] == "True")
cluster.start()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("namespaces", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_nodes_end_with_an_owner_that_is_killed(namespaces: bool) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(namespaces)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert owner.stdin is not None
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"ready\n"
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout
    family = psutil.Process(owner.pid).children(recursive=True)
    owner.send_signal(signal.SIGKILL)
    owner.wait(10)
    _, alive = psutil.wait_procs(family, timeout=15)
    assert alive == []
    if namespaces:
        after = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout
        # Its virtual network has gone with its processes.
        assert after.count(": wb") == links.count(": wb") - 1
    owner.stdin.close()
    owner.stdout.close()


def test_networks_are_made_only_where_they_can_be() -> None:
    assert Namespaces.possible()


def test_ports_of_nodes_do_not_overlap() -> None:
    ports = free_ports(["a", "b", "c"], random.Random(3))
    assert [port - ports[0] for port in ports] == [0, 100, 200]
