"""What a balancer costs, and what Ray's own HTTP proxy costs, in front of the same servers.

Two servers on three nodes of this machine, 32 connections in a closed loop, single examples of an
MLP as JSON. Rounds in turns; the medians and their ratios count. Exits with 1 if the balancer is
less than 10 times as fast as Ray's proxy, or less than half as fast as one server asked directly.

    python -m benchmarks.fleet
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.mlp import save_mlp
from tests.deploy.ray.closed_loop import ClosedLoop, Outcome
from workbench.deploy.fleet.fleet_client import FleetClient
from workbench.deploy.fleet.fleet_orders import Orders
from workbench.deploy.fleet.fleet_record import FleetRecord
from workbench.deploy.fleet.serve_config import Placement, applications, servers_name
from workbench.deploy.local_nodes.cluster import LocalCluster
from workbench.deploy.node.fleet_secret import new_secret
from workbench.deploy.plan.plan_sources import plan_of_folder

ROUNDS, SECONDS, CONNECTIONS = 3, 5.0, 32
LEAST_OF_PROXY, LEAST_OF_DIRECT = 10.0, 0.5
_WAIT_SECONDS = 240.0


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="wb-bench-") as folder, LocalCluster(3) as cluster:
        fleet = _deployed(Path(save_mlp(folder)).parent, cluster)
        host = cluster.head.address
        direct = min(fleet.find(), key=lambda server: server.node == host)
        ways = {
            "one server, asked directly": (f"http://{direct.node}:{direct.address.rest_port}", ""),
            "balancer, two servers": (f"http://{host}:8501", ""),
            "Ray's HTTP proxy, the same servers": (f"http://{host}:8000", "/asked"),
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        tails: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, (url, prefix) in ways.items():
                seen = _asked(url, fleet.token, prefix)
                rates[name].append(seen.rate)
                tails[name].append(seen.p99)
        fleet.delete()
    middle = {name: statistics.median(found) for name, found in rates.items()}
    base, balanced, proxied = middle.values()
    for name, rate in middle.items():
        tail = statistics.median(tails[name]) * 1e3
        print(f"{name:36} {rate:7.0f} requests/s  p99 {tail:6.1f} ms  {rate / base:5.2f}")
    print(f"the balancer answers {balanced / proxied:.1f} times as many as Ray's proxy")
    slow = balanced < LEAST_OF_PROXY * proxied or balanced < LEAST_OF_DIRECT * base
    return 1 if slow else 0


def _asked(url: str, token: str, prefix: str) -> Outcome:
    example = [[0.5] * 784]
    body = json.dumps({"instances": example})
    path = f"{prefix}/v1/models/mlp:predict"
    with ClosedLoop(url, token, path, body, CONNECTIONS) as load:
        time.sleep(SECONDS)
        seen = load.finish()
    if seen.failures:
        raise SystemExit(f"{url}: {seen.failures[:3]}")
    return seen


def _deployed(path: Path, cluster: LocalCluster) -> FleetClient:
    """A fleet whose replicas also pass requests on, behind Ray's proxies."""
    plan = plan_of_folder(path, name="bench")
    secret = new_secret()
    apps = applications(Orders(1, plan), Placement(balancers=3), secret)
    name = servers_name("bench")
    apps[name]["import_path"] = "benchmarks.fleet_application:servers"
    apps["ingress"] = {
        "name": "ingress",
        "route_prefix": "/asked",
        "import_path": "benchmarks.fleet_application:ingress",
        "args": {"application": name},
        "deployments": [{"name": "Ingress", "ray_actor_options": {"num_cpus": 0.1}}],
    }
    fleet = FleetClient(FleetRecord("bench", cluster.address, cluster.token, secret))
    fleet.head.deploy(apps, proxy_location="EveryNode")
    end = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < end:
        found = fleet.head.applications()
        if len(found) == len(apps) and all(app["status"] == "RUNNING" for app in found.values()):
            return fleet
        time.sleep(0.5)
    raise SystemExit(f"the fleet does not serve: {fleet.head.applications()}")


if __name__ == "__main__":
    sys.exit(main())
