"""A fleet as applications of Ray Serve, in Serve's declarative configuration.

Two applications: the servers, and the balancers in front of them. The servers' `user_config` holds
the orders. A change of orders makes Serve call `reconfigure` on one server after another; it never
replaces a server. The balancers' configuration never changes with the models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.core.fleet.autoscaling import ScalingRule
from workbench.core.status import ServingError, failed_precondition, not_found
from workbench.deploy.fleet.fleet_orders import Orders

_MODULE = "workbench.deploy.ray.application"
SERVER, BALANCER = "Server", "Balancer"
"""The names of the two deployments."""
_HEALTH_CHECK = {"health_check_period_s": 2.0, "health_check_timeout_s": 10.0}
_STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Placement:
    """Where the servers and balancers of a fleet run.

    Attributes:
        servers_a_node, balancers: the most servers on one node; how many nodes have a balancer.
        rest_port, grpc_port, metrics_port, agent_port: of each balancer, on its node's address.
        scaling: how the number of servers follows the load; None: it is fixed.
    """

    servers_a_node: int = 1
    balancers: int = 2
    rest_port: int = 8501
    grpc_port: int = 8500
    metrics_port: int = 8502
    agent_port: int = 8503
    balance: str = "leastconn"
    scaling: ScalingRule | None = None

    def servers_at_first(self, wanted: int) -> int:
        """How many servers are started, if so many are wanted."""
        rule = self.scaling
        return wanted if rule is None else min(max(wanted, rule.min_servers), rule.max_servers)

    def to_json(self) -> dict[str, Any]:
        """Plain data, for `from_json`."""
        scaling = None if self.scaling is None else self.scaling.to_json()
        return {**vars(self), "scaling": scaling}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Placement:
        """What `to_json` wrote."""
        scaling = data.get("scaling")
        return cls(**{**data, "scaling": ScalingRule.from_json(scaling) if scaling else None})


def check_room(servers: int, servers_a_node: int, nodes: int) -> None:
    """Check that so many servers have a place.

    Raises:
        ServingError: FAILED_PRECONDITION, with how many would.
    """
    if servers > servers_a_node * nodes:
        raise failed_precondition(
            f"{servers} servers have no place: the cluster has {nodes} "
            f"{'node' if nodes == 1 else 'nodes'}, each with place for {servers_a_node}; add "
            f"nodes, or ask for at most {servers_a_node * nodes}"
        )


def servers_name(fleet: str) -> str:
    """The name of the application with the servers."""
    return f"{fleet}-servers"


def balancers_name(fleet: str) -> str:
    """The name of the application with the balancers."""
    return f"{fleet}-balancers"


def applications(
    orders: Orders, placement: Placement, secret: str | None
) -> dict[str, dict[str, Any]]:
    """Both applications of a fleet, by name.

    Args:
        secret: of the fleet; None where the nodes have it in their environment already.
    """
    both = servers_application(orders, placement, secret), _balancers(orders, placement, secret)
    return {app["name"]: app for app in both}


def servers_application(orders: Orders, placement: Placement, secret: str | None) -> dict[str, Any]:
    """The application with the servers."""
    plan = orders.plan
    deployment: dict[str, Any] = {
        "name": SERVER,
        "max_replicas_per_node": placement.servers_a_node,
        "user_config": orders.to_json(),
        "ray_actor_options": {
            "num_cpus": plan.cpu_count,
            "memory": plan.memory_bytes,
            # Ray hides the GPUs of a node from a replica that asks for none.
            **({"num_gpus": plan.gpus} if plan.gpus else {}),
        },
        "graceful_shutdown_timeout_s": _STOP_SECONDS,
        **_HEALTH_CHECK,
    }
    if placement.scaling is None:
        deployment["num_replicas"] = plan.servers
    else:
        rule = placement.scaling
        deployment["autoscaling_config"] = {
            "min_replicas": rule.min_servers,
            "max_replicas": rule.max_servers,
            "initial_replicas": placement.servers_at_first(plan.servers),
            # The rule has its own delays.
            "upscale_delay_s": 0.0,
            "downscale_delay_s": 0.0,
            "metrics_interval_s": 1.0,
            "look_back_period_s": 2.0,
            "policy": {
                "policy_function": "workbench.deploy.ray.scaling_policy:ScalingPolicy",
                "policy_kwargs": {"rule": rule.to_json()},
            },
        }
    return {
        "name": servers_name(plan.name),
        "route_prefix": f"/{servers_name(plan.name)}",
        "import_path": f"{_MODULE}:servers",
        "args": {"fleet": plan.name, **_secret(secret)},
        "deployments": [deployment],
    }


def _balancers(orders: Orders, placement: Placement, secret: str | None) -> dict[str, Any]:
    name = orders.plan.name
    ports = ("rest_port", "grpc_port", "metrics_port", "agent_port", "balance")
    return {
        "name": balancers_name(name),
        "route_prefix": f"/{balancers_name(name)}",
        "import_path": f"{_MODULE}:balancers",
        "args": {
            "fleet": name,
            **{port: getattr(placement, port) for port in ports},
            **_secret(secret),
        },
        "deployments": [
            {
                "name": BALANCER,
                "num_replicas": placement.balancers,
                "max_replicas_per_node": 1,
                # It waits for the kernel and for HAProxy, and hardly needs a processor. A node that
                # offers none to Ray, such as a head that does nothing else, gets no balancer.
                "ray_actor_options": {"num_cpus": 0.01},
                "graceful_shutdown_timeout_s": _STOP_SECONDS,
                **_HEALTH_CHECK,
            }
        ],
    }


def _secret(secret: str | None) -> dict[str, Any]:
    """An argument, and not an environment: Ray has workers waiting on each node, but none with an
    environment of its own, and starting one takes seconds."""
    return {} if secret is None else {"secret": secret}


def read_application(app: Mapping[str, Any], fleet: str) -> tuple[Orders, Mapping[str, Any]]:
    """The orders in a deployed application of servers, and the deployment's configuration.

    Raises:
        ServingError: NOT_FOUND, the application is not that of a fleet's servers.
    """
    try:
        deployment = app["deployed_app_config"]["deployments"][0]
        return Orders.from_json(deployment["user_config"]), deployment
    except (KeyError, IndexError, TypeError, ServingError) as error:
        raise not_found(f"The cluster has no fleet named {fleet!r}: {error}") from error
