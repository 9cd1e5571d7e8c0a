"""Nodes are killed, cut off, and lose their head, under load; nothing is lost."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

from tests.deploy.ray.conftest import ANSWERS, WAIT_SECONDS, Cluster
from workbench.core.fleet.rollout import RolloutRule
from workbench.core.status import ServingError

pytestmark = [pytest.mark.fleet, pytest.mark.alone, pytest.mark.timeout(600)]


def fail_one(cluster: Cluster, cut_off: bool) -> tuple[float, float, int]:
    """Let a node that serves fail under load, and start it again.

    Returns:
        The slowest answer and the time until two servers serve again, in seconds; the answers.
    """
    node = cluster.serving_node()
    server = next(server for server in cluster.servers() if server.node == node.address)
    with cluster.load() as load:
        time.sleep(3)
        began = time.monotonic()
        (cluster.local.silence if cut_off else cluster.local.kill)(node)
        again = cluster.wait_for_servers(2, but=server)
        # As many requests as in a third of the whole.
        time.sleep(max(0.0, 12.0 - (time.monotonic() - began)))
        seen = load.finish()
    if cut_off:
        cluster.local.kill(node)
    cluster.local.join(node)
    assert seen.failures == []
    assert set(seen.answers) == {ANSWERS[1]}
    return seen.slowest, again, seen.ok


def test_a_node_that_is_killed_loses_nothing(cluster: Cluster) -> None:
    print(fail_one(cluster, cut_off=False))


@pytest.mark.slow
def test_a_node_that_is_killed_three_times_loses_nothing(cluster: Cluster) -> None:
    results = [fail_one(cluster, cut_off=False) for _ in range(3)]
    print(results)
    assert sum(answers for _, _, answers in results) >= 100_000


@pytest.mark.slow
def test_a_node_that_is_cut_off_loses_nothing(cluster: Cluster) -> None:
    print(fail_one(cluster, cut_off=True))


@pytest.mark.slow
def test_the_head_is_lost_and_comes_back(cluster: Cluster) -> None:
    node = cluster.local.nodes[1]
    fleet = cluster.fleet
    before = {server.name for server in cluster.servers() if server.node != cluster.url()}
    on_head = {s.name for s in cluster.servers() if s.node == cluster.local.head.address}
    # About 300 requests a second.
    with cluster.load(3, node, pause=0.01) as load:
        time.sleep(2)
        cluster.local.kill(cluster.local.head)
        time.sleep(2)
        cluster.local.join(cluster.local.head)
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            try:
                apps = fleet.head.applications()
            except ServingError:
                apps = {}
            if apps and all(app["status"] == "RUNNING" for app in apps.values()):
                break
            time.sleep(0.5)
        cluster.wait_for_servers(2)
        seen = load.finish()
    assert seen.failures == []
    # Servers of other nodes were not replaced.
    assert before - on_head <= {server.name for server in cluster.servers()}
    names = {server.name for server in cluster.servers()}
    fleet.serve_versions([2], rule=RolloutRule(look_s=0.0))
    assert fleet.predict([1.0]).tolist() == [3.5]
    fleet.serve_versions([1], labels={"stable": 1}, rule=RolloutRule(look_s=0.0))
    assert {server.name for server in cluster.servers()} == names


_DEPLOYER = """
import sys
from dataclasses import replace
from pathlib import Path
from workbench.deploy.fleet.deploying import deploy
from workbench.deploy.fleet.serve_config import Placement
from workbench.deploy.plan.plan_sources import plan_of_folder
folder, address, token, name = sys.argv[1:]
placement = Placement(
    balancers=1, rest_port=8701, grpc_port=8700, metrics_port=8702, agent_port=8703
)
plan = plan_of_folder(folder, name=name, servers=1, version_policy=[1])
deploy(plan, address, token=token, placement=placement, note=lambda line: print(line, flush=True))
"""


@pytest.mark.parametrize("seconds", [0.0, 4.0])
def test_a_deployer_that_is_killed_leaves_nothing_that_cannot_be_deleted(
    cluster: Cluster, seconds: float
) -> None:
    from workbench.deploy.fleet.fleet_client import connect_fleet

    name = f"orphan{round(seconds)}"
    local = cluster.local
    deployer = subprocess.Popen(
        [sys.executable, "-c", _DEPLOYER, str(cluster.folder), local.address, local.token, name],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert deployer.stdout is not None
    for line in deployer.stdout:
        if "servers serve" in line:
            break
    time.sleep(seconds)
    deployer.kill()
    deployer.wait(10)
    deployer.stdout.close()
    connect_fleet(name).delete()
    end = time.monotonic() + 10.0
    while left := [p.info for p in psutil.process_iter(["cmdline"]) if name in str(p.info)]:
        assert time.monotonic() < end, left
        time.sleep(0.2)
