"""What Ray Serve imports: the application of the servers, and that of the balancers."""

from __future__ import annotations

from typing import Any

from ray import serve

from workbench.deploy.fleet.serve_config import BALANCER, SERVER
from workbench.deploy.ray.balancer_replica import BalancerReplica
from workbench.deploy.ray.server_replica import ServerReplica


def servers(args: dict[str, Any]) -> Any:
    """The servers of a fleet; `args` has its name, `fleet`, and its secret, unless the nodes have
    that in their environment."""
    return serve.deployment(ServerReplica, name=SERVER).bind(args["fleet"], args.get("secret"))


def balancers(args: dict[str, Any]) -> Any:
    """The balancers of a fleet; `args` has its name, the ports, and the secret."""
    return serve.deployment(BalancerReplica, name=BALANCER).bind(args)
