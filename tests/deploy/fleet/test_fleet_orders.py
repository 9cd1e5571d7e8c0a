"""The declared state of a fleet, and how Ray Serve gets it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from workbench.core.fleet.autoscaling import ScalingRule
from workbench.core.model_settings import ModelConfig
from workbench.core.status import Code, ServingError
from workbench.deploy.fleet.fleet_orders import Orders
from workbench.deploy.fleet.fleet_record import FleetRecord, read_record, record_names
from workbench.deploy.fleet.serve_config import (
    Placement,
    applications,
    read_application,
    servers_application,
)
from workbench.deploy.plan.plan import Plan, PlannedModel

SECRET = "a-secret"


def plan(version: int = 1) -> Plan:
    model = PlannedModel(ModelConfig("m", "/models/m"), (version,), {version: 1 << 28})
    return Plan("shop", (model,), servers=3, server_bytes=1 << 29)


def test_only_servers_that_were_ordered_get_the_next_plan() -> None:
    orders = Orders(4, plan(1)).prepared(plan(2)).ordered(["b"])
    assert orders.of("a") == (4, plan(1))
    assert orders.of("b") == (5, plan(2))
    done = orders.finished()
    assert done.of("a") == done.of("b") == (5, plan(2))
    assert done.previous == plan(1)
    assert orders.withdrawn().of("b") == (4, plan(1))


def test_a_revision_that_was_taken_back_is_not_used_again() -> None:
    orders = Orders(1, plan(1)).prepared(plan(2))
    orders = orders.noted(5.0, "rollout_began", revision=2).withdrawn()
    following = orders.prepared(plan(3)).next
    assert following is not None
    assert following.revision == 3


def test_orders_survive_json_and_their_log_is_bounded() -> None:
    orders = Orders(1, plan(1)).prepared(plan(2)).ordered(["a", "b"])
    for n in range(300):
        orders = orders.noted(float(n), "scaled", servers=n)
    assert len(orders.log) == 100
    assert orders.log[-1] == {"wall": 299.0, "kind": "scaled", "data": {"servers": 299}}
    assert Orders.from_json(json.loads(json.dumps(orders.to_json()))) == orders
    finished = orders.finished()
    assert Orders.from_json(finished.to_json()) == finished


def test_a_change_of_plan_changes_only_what_is_reconfigured() -> None:
    """Ray replaces a replica if anything but `user_config` and the number of replicas changes."""
    placement = Placement()
    before = servers_application(Orders(1, plan(1)), placement, SECRET)
    after = servers_application(Orders(1, plan(1)).prepared(plan(2)), placement, SECRET)
    (old,), (new,) = before.pop("deployments"), after.pop("deployments")
    assert before == after
    assert old.pop("user_config") != new.pop("user_config")
    assert old == new


def test_the_secret_is_an_argument_and_in_no_order() -> None:
    apps = applications(Orders(1, plan()), Placement(), SECRET)
    assert list(apps) == ["shop-servers", "shop-balancers"]
    for app in apps.values():
        assert app["args"].pop("secret") == SECRET
        assert SECRET not in json.dumps(app)
    assert SECRET not in json.dumps(applications(Orders(1, plan()), Placement(), None))


def test_a_server_gets_the_memory_and_processors_of_the_plan() -> None:
    wanted = replace(plan(), options={"num_batch_threads": 3})
    (deployment,) = servers_application(Orders(1, wanted), Placement(), None)["deployments"]
    options = deployment["ray_actor_options"]
    assert (options["num_cpus"], options["memory"]) == (3.0, wanted.memory_bytes)
    assert deployment["num_replicas"] == 3


def test_the_load_decides_where_there_is_a_rule() -> None:
    placement = Placement(scaling=ScalingRule(min_servers=2, max_servers=5))
    (deployment,) = servers_application(Orders(1, plan()), placement, None)["deployments"]
    assert "num_replicas" not in deployment
    scaling = deployment["autoscaling_config"]
    assert [scaling[f"{kind}_replicas"] for kind in ("min", "initial", "max")] == [2, 3, 5]
    assert Placement.from_json(json.loads(json.dumps(placement.to_json()))) == placement


def test_the_orders_are_read_from_what_is_deployed() -> None:
    orders = Orders(7, plan())
    app = {"deployed_app_config": servers_application(orders, Placement(), None)}
    assert read_application(app, "shop")[0] == orders
    for other in ({}, {"deployed_app_config": {"deployments": []}}, {"deployed_app_config": None}):
        with pytest.raises(ServingError, match="no fleet named 'shop'") as refused:
            read_application(other, "shop")
        assert refused.value.code is Code.NOT_FOUND


def test_a_record_is_private_and_found_again(
    tmp_path: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    with pytest.raises(ServingError, match="No fleet is known"):
        read_record()
    one = FleetRecord("one", "http://10.0.0.2:8265", "t0ken", SECRET, ("10.0.0.2",))
    one.write()
    assert read_record() == read_record("one") == one
    (file,) = (tmp_path / "workbench" / "fleets").iterdir()  # type: ignore[operator]
    assert file.stat().st_mode & 0o777 == 0o600
    assert SECRET not in repr(one)
    assert "t0ken" not in repr(one)
    replace(one, name="two").write()
    with pytest.raises(ServingError, match="Several fleets are known: one, two"):
        read_record()
    with pytest.raises(ServingError, match="No fleet named 'three' is known here: one, two"):
        read_record("three")
    one.remove()
    assert record_names() == ["two"]
