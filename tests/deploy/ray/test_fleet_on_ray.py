"""A fleet on real Ray nodes: deployed, asked, rolled, scaled."""

from __future__ import annotations

import time

import pytest

from tests.deploy.ray.conftest import ANSWERS, WAIT_SECONDS, Cluster
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.fleet.rollout import RolloutRule
from workbench.core.status import Code, ServingError
from workbench.deploy.fleet.deploying import deploy
from workbench.deploy.fleet.fleet_client import connect_fleet
from workbench.deploy.fleet.serve_config import Placement

pytestmark = [pytest.mark.fleet, pytest.mark.alone, pytest.mark.timeout(300)]
QUICK = RolloutRule(look_s=1.0)


def test_every_server_serves_as_planned(cluster: Cluster) -> None:
    fleet = cluster.fleet
    assert fleet.differences() == {}
    status = fleet.status()
    assert list(status["versions"]) == ["half 1", "half 1"]
    assert status["node"].nunique() == 2
    assert fleet.predict([1.0, 2.0]).tolist() == [2.5, 3.0]
    assert fleet.predict([1.0], label="stable").tolist() == [2.5]
    assert set(fleet.versions["state"]) == {"AVAILABLE"}
    assert set(fleet.memory()["role"]) >= {"server", "worker", "zygote", "supervisor"}
    with pytest.raises(ServingError, match="the versions of half are: 1 AVAILABLE"):
        fleet.predict([1.0], version=9)
    # Another process of this user finds it by its name.
    assert connect_fleet("shop").predict([1.0]).tolist() == [2.5]
    with pytest.raises(ServingError, match="has a fleet named 'shop'") as refused:
        deploy(cluster.plan, cluster.local.address, token=cluster.local.token)
    assert refused.value.code is Code.ALREADY_EXISTS


def test_every_server_is_steered_like_one_on_this_machine(cluster: Cluster) -> None:
    for server in cluster.fleet.servers:
        assert server.predict([1.0]).tolist() == [2.5]
        assert server.transition == "smooth"
        with pytest.raises(ServingError, match="belongs to a fleet"):
            server.stop()
    stranger = deploy
    with pytest.raises(ServingError) as refused:
        stranger(cluster.plan, cluster.local.address, token="wrong")
    assert refused.value.code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)


def test_settings_change_on_all_servers(cluster: Cluster) -> None:
    fleet = cluster.fleet
    names = {server.name for server in cluster.servers()}
    parameters = BatchingParameters(max_batch_size=16, batch_timeout_micros=500)
    fleet.batching = parameters
    assert [server.batching for server in fleet.servers] == [parameters] * 2
    fleet.batching = None
    assert fleet.differences() == {}
    # No server was replaced.
    assert {server.name for server in cluster.servers()} == names


def test_a_version_is_rolled_server_by_server_under_load(cluster: Cluster) -> None:
    fleet = cluster.fleet
    names = {server.name for server in cluster.servers()}
    with cluster.load() as load:
        time.sleep(2)
        fleet.serve_versions([2], rule=QUICK)
        time.sleep(1)
        assert fleet.rollback() == 1
        time.sleep(1)
        seen = load.finish()
    assert seen.failures == []
    assert set(seen.answers) == set(ANSWERS.values())
    assert {server.name for server in cluster.servers()} == names
    assert fleet.differences() == {}
    events = fleet.events()
    steps = events[events["kind"] == "rollout_step"]
    assert [len(data["servers"]) for data in steps["data"]] == [1] * len(steps)
    # From its order until it serves: at no time were two servers changing.
    loading = events[(events["version"] == 2) & events["server"].notna()]
    spans = [
        (lane["wall"].min(), lane[lane["kind"] == "state"]["wall"].iloc[-1])
        for _, lane in loading[loading["wall"] > steps["wall"].iloc[-4]].groupby("server")
    ]
    assert len(spans) == 2
    assert any("0.0% failed" in str(data) for data in events["data"])


def test_a_broken_version_stops_at_the_first_server(cluster: Cluster) -> None:
    fleet = cluster.fleet
    with cluster.load() as load:
        time.sleep(1)
        with pytest.raises(ServingError, match="taken back from all servers: server shop-") as why:
            fleet.serve_versions([3], rule=QUICK)
        time.sleep(1)
        seen = load.finish()
    assert why.value.code is Code.ABORTED
    assert "Checksum does not match" in why.value.message
    assert seen.failures == []
    assert set(seen.answers) == {ANSWERS[1]}
    assert fleet.differences() == {}
    touched = [s.name for s in fleet.servers if 3 in s.describe_versions()]
    assert len(touched) == 1


def test_a_rollout_that_was_broken_off_is_seen_and_resumed(cluster: Cluster) -> None:
    fleet = cluster.fleet

    class Killed(BaseException):
        pass

    def die(line: str) -> None:
        if "changing" in line:
            raise Killed

    fleet.note = die
    with pytest.raises(Killed):
        fleet.serve_versions([2], rule=QUICK)
    fleet.note = cluster.lines.append
    orders = fleet.orders
    assert orders.next is not None
    assert len(orders.next.servers) == 1
    with pytest.raises(ServingError, match="resume it, or take it back"):
        fleet.serve_versions([2])
    fleet.resume(QUICK)
    assert fleet.differences() == {}
    assert fleet.predict([1.0]).tolist() == [3.5]
    fleet.serve_versions([1], labels={"stable": 1}, rule=QUICK)
    with pytest.raises(ServingError, match="nothing to take back"):
        fleet.take_back()


def test_servers_go_and_come_by_hand(cluster: Cluster) -> None:
    with cluster.load() as load:
        time.sleep(1)
        cluster.fleet.scale(1)
        time.sleep(5)
        assert len(cluster.servers()) == 1
        cluster.fleet.scale(2)
        time.sleep(2)
        seen = load.finish()
    assert seen.failures == []
    assert cluster.fleet.plan.servers == 2
    counts = cluster.fleet.balancer_counts()
    assert set(counts[counts["backend"] == "rest"]["status"]) <= {"UP", "DRAIN", "DOWN"}


@pytest.mark.slow
def test_the_load_decides_how_many_servers_there_are(cluster: Cluster) -> None:
    """A second fleet beside the first, with a scaling rule of its own."""
    from dataclasses import replace

    from workbench.core.fleet.autoscaling import ScalingRule

    rule = ScalingRule(max_servers=2, target_queued=8, up_cooldown_s=1.0, down_cooldown_s=4.0)
    placement = Placement(
        balancers=1, rest_port=8601, grpc_port=8600, metrics_port=8602, agent_port=8603,
        scaling=rule,
    )  # fmt: skip
    plan = replace(cluster.plan, name="elastic", servers=1)
    elastic = deploy(plan, cluster.local.address, token=cluster.local.token, placement=placement)
    other = Cluster(cluster.local, elastic, plan, cluster.folder, [])
    from tests.deploy.ray.closed_loop import ClosedLoop
    from tests.deploy.ray.conftest import BODY, PATH

    with pytest.raises(ServingError, match="The load decides"):
        elastic.scale(2)
    with ClosedLoop(elastic.address, elastic.token, PATH, BODY, 64) as load:
        other.wait_for_servers(2)
        time.sleep(2)
        seen = load.finish()
    assert seen.failures == []
    # With nothing to do, one is enough again.
    other.wait_for_servers(1)
    elastic.delete()
    end = time.monotonic() + WAIT_SECONDS
    while {"elastic-servers"} & cluster.fleet.head.applications().keys():
        assert time.monotonic() < end
        time.sleep(0.2)
    assert len(cluster.servers()) == 2
