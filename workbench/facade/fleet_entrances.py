"""`deploy` and `fleet`, which return a `Fleet`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from workbench.core.fleet.autoscaling import ScalingRule
from workbench.core.status import Code, ServingError, invalid_argument
from workbench.deploy.fleet import deploying
from workbench.deploy.fleet.fleet_record import read_record, record_names
from workbench.deploy.fleet.rolling import Note
from workbench.deploy.fleet.serve_config import Placement, check_room
from workbench.deploy.local_nodes.cluster import LocalCluster, cluster_possible
from workbench.deploy.plan.plan import Plan
from workbench.facade.notebook_fleet import Fleet

ENGINES = ("ray",)
_MOST_BALANCERS = 2


def deploy(
    plan: Plan,
    engine: str,
    *,
    address: str | None = None,
    token: str | None = None,
    local_nodes: int | None = None,
    balancers: int | None = None,
    scaling: ScalingRule | Mapping[str, Any] | None = None,
    balance: str = "leastconn",
    ports: tuple[int, int] = (8501, 8500),
    folder: str | os.PathLike[str] | None = None,
    progress: bool = True,
    timeout: float = deploying.DEPLOY_SECONDS,
) -> Fleet:
    """Deploy a plan; see `Server.deploy`."""
    if engine not in ENGINES:
        raise invalid_argument(
            f"The engine {engine!r} is not known: use {' or '.join(map(repr, ENGINES))}, or "
            "`export` for files of other engines"
        )
    if (address is None) == (local_nodes is None):
        raise invalid_argument(
            "Name either the address of a cluster, or the number of local_nodes to start"
        )
    deploying.check_unknown(plan.name, address)
    rule = ScalingRule.from_json(scaling) if isinstance(scaling, Mapping) else scaling
    rest, grpc = ports
    placement = Placement(
        balancers=balancers or _MOST_BALANCERS,
        rest_port=rest,
        grpc_port=grpc,
        metrics_port=rest + 1,
        agent_port=rest + 2,
        balance=balance,
        scaling=rule,
    )
    if local_nodes is not None:
        servers = placement.servers_at_first(plan.servers)
        check_room(servers, placement.servers_a_node, local_nodes)
    note: Note = print if progress else lambda line: None
    cluster = None if local_nodes is None else _local_cluster(local_nodes, note)
    try:
        if cluster is not None:
            address, token = cluster.address, cluster.token
        assert address is not None
        found = deploying.deploy(
            plan,
            address,
            token=token,
            placement=placement,
            fewer_balancers=balancers is None,
            folder=folder,
            timeout=timeout,
            note=note,
        )
    except BaseException:
        if cluster is not None:
            cluster.stop()
        raise
    fleet = Fleet(found.record, note=note)
    fleet.cluster = cluster
    return fleet


def _local_cluster(nodes: int, note: Note) -> LocalCluster:
    if not cluster_possible():
        raise ServingError(
            Code.FAILED_PRECONDITION,
            "Ray is not installed here: pip install 'serving-workbench[ray]'",
        )
    cluster = LocalCluster(nodes, note=note)
    note(f"starting a cluster of {nodes} nodes on this machine")
    try:
        cluster.start()
    except BaseException:
        cluster.stop()
        raise
    return cluster


def fleet(name: str | None = None, model: str | None = None) -> Fleet:
    """A fleet that was deployed before by this user; by default the only one.

    Args:
        model: the one that methods are about, by default the first.

    Raises:
        ServingError: NOT_FOUND, with the fleets that are known here.
    """
    return Fleet(read_record(name), model, note=print)


def fleets() -> list[Fleet]:
    """All fleets that this user has deployed and not deleted, by name."""
    return [fleet(name) for name in record_names()]
