"""The command line and the environment of one Ray node.

Each node of one machine needs its own address, its own ports and its own folder for temporary
files. Two nodes that start at the same moment in one folder take each other's names.
"""

from __future__ import annotations

import os
import random
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

_PORTS_A_NODE = 100
_LOWEST_PORT, _HIGHEST_PORT = 10_000, 30_000
"""Below the ports that the system hands out by itself."""
_TRIES = 200

FAST_CHECKS = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
"""Ray notices a dead node within 1.6 s instead of 14 s."""


@dataclass(frozen=True)
class NodePlace:
    """Where one node lives.

    Attributes:
        address: its IP address.
        port: the first of its own range of ports.
        folder: for its temporary files; the path must be short, as it holds sockets.
        cpus: how many CPUs it offers to Ray.
    """

    address: str
    port: int
    folder: Path
    cpus: int

    @property
    def cluster_port(self) -> int:
        """Of the cluster's own state (GCS), if this is the head."""
        return self.port

    @property
    def dashboard_port(self) -> int:
        """Of the head's REST API."""
        return self.port + 1


def node_command(node: NodePlace, head: NodePlace) -> list[str]:
    """The command that runs a node in the foreground; `head` is the node itself if it is one."""
    ports = {
        "node-manager-port": 10,
        "object-manager-port": 11,
        "dashboard-agent-listen-port": 12,
        "dashboard-agent-grpc-port": 13,
        "runtime-env-agent-port": 14,
        "metrics-export-port": 15,
        "min-worker-port": 20,
        "max-worker-port": _PORTS_A_NODE - 1,
    }
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
    command += ["--disable-usage-stats", f"--node-ip-address={node.address}"]
    command += [f"--temp-dir={node.folder}", f"--num-cpus={node.cpus}"]
    # It copies logs to a driver, and there is none. Each process less starts a node sooner.
    command += ["--include-log-monitor=false"]
    command += [f"--{name}={node.port + offset}" for name, offset in ports.items()]
    if node is head:
        return [
            *command,
            "--head",
            f"--port={head.cluster_port}",
            "--include-dashboard=true",
            f"--dashboard-host={head.address}",
            f"--dashboard-port={head.dashboard_port}",
            f"--ray-client-server-port={head.port + 2}",
            # Its only use is to add and remove nodes.
            "--no-monitor",
        ]
    return [*command, f"--address={head.address}:{head.cluster_port}"]


def node_environment(token: str, state: Path) -> dict[str, str]:
    """The environment of every node.

    Args:
        token: without it, neither a program nor another node can join.
        state: the folder in which the head keeps the cluster's state, so that it can come back.
    """
    return {
        **os.environ,
        **FAST_CHECKS,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_gcs_storage": "rocksdb",
        "RAY_gcs_storage_path": str(state),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Nodes wait so long for a head that comes back, and end after 60 s otherwise.
        "RAY_gcs_rpc_server_reconnect_timeout_s": "300",
        # Ray runs what it starts at niceness 15, and so everything that a server starts.
        "RAY_worker_niceness": "0",
        "RAY_SERVE_PROXY_PREFER_LOCAL_NODE_ROUTING": "0",
        "PYTHONWARNINGS": "ignore",
    }


def free_ports(addresses: list[str], random_source: random.Random) -> list[int]:
    """The first ports of one range of ports for each address, all of which are free now."""
    width = _PORTS_A_NODE * len(addresses)
    for _ in range(_TRIES):
        first = random_source.randrange(_LOWEST_PORT, _HIGHEST_PORT - width, _PORTS_A_NODE)
        starts = [first + _PORTS_A_NODE * place for place in range(len(addresses))]
        if all(_is_free("", port) for start in starts for port in range(start, start + 20)):
            return starts
    raise OSError(f"no {width} free ports in a row between {_LOWEST_PORT} and {_HIGHEST_PORT}")


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((address, port))
        except OSError:
            return False
    return True
