"""What is decided before a fleet starts: where models lie, and whether servers have a place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.deploy.fleet.recorded_fleet import recorded, recorded_fleet, recorded_time
from workbench.core.fleet.autoscaling import ScalingRule
from workbench.core.model_settings import ModelConfig
from workbench.core.status import Code, ServingError
from workbench.deploy.fleet.deploying import _shared, _wait, check_unknown
from workbench.deploy.fleet.fleet_client import FleetClient
from workbench.deploy.fleet.fleet_orders import Orders
from workbench.deploy.fleet.serve_config import Placement, applications
from workbench.deploy.plan.plan import Plan, PlannedModel
from workbench.facade import fleet_entrances
from workbench.facade.fleet_entrances import deploy
from workbench.facade.notebook_fleet import Fleet


def plan_of(base: Path) -> Plan:
    return Plan("shop", (PlannedModel(ModelConfig("m", str(base)), (1,)),))


def test_a_second_fleet_of_a_name_gets_its_own_model(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    base = tmp_path / "runtime" / "workbench-m" / "models" / "m"
    found = []
    for model in ("half_plus_two", "half_plus_three"):
        shutil.rmtree(base, ignore_errors=True)
        shutil.copytree(models / model, base / "1")
        shared = _shared(plan_of(base), None, lambda line: None)
        copied = Path(shared.models[0].config.base_path) / "1"
        wanted = {p.name: p.read_bytes() for p in (models / model).rglob("*") if p.is_file()}
        assert {p.name: p.read_bytes() for p in copied.rglob("*") if p.is_file()} == wanted
        found.append(copied)
    assert found[0] != found[1]


def test_another_model_in_the_named_folder_is_never_served(models: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    shutil.copytree(models / "half_plus_two", first / "1")
    shutil.copytree(models / "half_plus_three", second / "1")
    shared = tmp_path / "shared"
    for _ in range(2):
        # The same model again is no mistake.
        assert _shared(plan_of(first), shared, print).models[0].versions == (1,)
    with pytest.raises(ServingError, match="holds another model than version 1") as refused:
        _shared(plan_of(second), shared, print)
    assert refused.value.code is Code.ALREADY_EXISTS


def test_a_second_fleet_of_a_name_on_another_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record would take the place of the first one's."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    with recorded_fleet("rolled") as recording:
        recording.record.write()
        with pytest.raises(ServingError, match=r"'shop' runs at .*: delete it first") as refused:
            deploy(plan_of(Path("/models/m")), "ray", local_nodes=2)
        assert refused.value.code is Code.ALREADY_EXISTS
        check_unknown("shop", recording.record.address + "/")
        recording.fail("head")
        check_unknown("shop", None)
    check_unknown("other", None)


def test_more_servers_than_the_nodes_have_place_for_are_refused_at_once() -> None:
    with pytest.raises(ServingError) as refused:
        deploy(plan_of(Path("/models/m")), "ray", local_nodes=1)
    assert refused.value == ServingError(
        Code.FAILED_PRECONDITION,
        "2 servers have no place: the cluster has 1 node, each with place for 1; add nodes, or ask "
        "for at most 1",
    )


def test_a_scaling_rule_decides_how_many_servers_are_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = plan_of(Path("/models/m"))
    placement = Placement(scaling=ScalingRule(max_servers=1))
    (servers, _) = applications(Orders(1, plan), placement, None).values()
    assert servers["deployments"][0]["autoscaling_config"]["initial_replicas"] == 1
    # So one node has place for them: nothing but Ray is missing here.
    monkeypatch.setattr(fleet_entrances, "cluster_possible", lambda: False)
    with pytest.raises(ServingError, match="Ray is not installed"):
        deploy(plan, "ray", local_nodes=1, scaling={"max_servers": 1})


def test_scaling_beyond_the_nodes() -> None:
    data = recorded("rolled")
    nodes = [{"node_ip": f"10.0.0.{n}", "node_id": str(n), "state": "ALIVE"} for n in (1, 2, 3)]
    data["head"]["/api/v0/nodes"] = {"data": {"result": {"result": nodes}}}
    with recorded_fleet(data) as recording, recorded_time(recording.wall):
        fleet = Fleet(recording.record)
        with pytest.raises(ServingError, match="9 servers have no place: the cluster has 3 nodes"):
            fleet.scale(9)


def test_what_ray_says_is_passed_on_while_servers_are_waited_for() -> None:
    said = (
        "Deployment 'Server' has 1 replicas that have taken more than 30s to be scheduled. "
        'Resources required for each replica: {"CPU": 64}, total resources available: {"CPU": 4}.'
    )
    data = recorded("during")
    app = data["head"]["/api/serve/applications/"]["applications"]["shop-servers"]
    app["deployments"]["Server"]["message"] = said
    lines: list[str] = []
    with recorded_fleet(data) as recording, recorded_time(recording.wall):
        fleet = FleetClient(recording.record)
        with pytest.raises(ServingError, match="does not serve after 1 s: Deployment 'Server'"):
            _wait(fleet, fleet.head, 3, 1.0, lines.append)
    assert [line for line in lines if line.startswith("Ray")] == [f"Ray says: {said}"]
