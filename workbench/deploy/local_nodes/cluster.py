"""A real Ray cluster of several nodes on this machine.

    with LocalCluster(3) as cluster:
        fleet = server.deploy("ray", address=cluster.address, token=cluster.token)

Every node has its own processes, address, ports and folder. They end with the process that made the
cluster. A node can be killed, cut off and started again, the head too: it keeps its state.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from workbench.core.status import ServingError, failed_precondition, unavailable
from workbench.deploy.local_nodes.node_command import (
    NodePlace,
    free_ports,
    node_command,
    node_environment,
)
from workbench.deploy.local_nodes.node_network import Loopback, Namespaces, Network
from workbench.deploy.programs.owned_folder import make_owned_folder
from workbench.deploy.programs.owned_process import end_owned, start_owned
from workbench.deploy.remote.ray_head import RayHead

_START_SECONDS = 90.0
_STOP_SECONDS = 15.0
_ATTEMPTS = 3


@dataclass(eq=False)
class LocalNode:
    """One node of a local cluster.

    Attributes:
        number: 0 is the head.
        guard: the process that owns all others of the node; None while it does not run.
    """

    number: int
    place: NodePlace
    guard: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Its IP address."""
        return self.place.address

    @property
    def log(self) -> Path:
        """The file with what its start command wrote."""
        return self.place.folder.with_suffix(".log")

    def processes(self) -> list[psutil.Process]:
        """All processes of the node, the guard first."""
        if self.guard is None:
            return []
        with contextlib.suppress(psutil.Error):
            first = psutil.Process(self.guard.pid)
            return [first, *first.children(recursive=True)]
        return []


class LocalCluster:
    """A Ray cluster on this machine; a context manager.

    Args:
        nodes: how many, the head among them.
        namespaces: give each node a network namespace; by default where that is possible.
        cpus: that each node offers to Ray.
        note: called with a line for each node that has joined, or has to be started again.

    Raises:
        ServingError: FAILED_PRECONDITION, Ray is not installed; UNAVAILABLE, a node did not start.
    """

    def __init__(
        self,
        nodes: int = 3,
        *,
        namespaces: bool | None = None,
        cpus: int = 4,
        note: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._note = note
        source = random.SystemRandom()
        if namespaces is None:
            namespaces = Namespaces.possible()
        self._folder = make_owned_folder("wb-ray-")
        self.token = secrets.token_hex(32)
        self._environment = node_environment(self.token, self._folder / "state")
        self._network: Network = Namespaces(source) if namespaces else Loopback(source)
        addresses = [self._network.address(number) for number in range(nodes)]
        ports = free_ports(addresses, source)
        self.nodes = [
            LocalNode(number, NodePlace(address, port, self._folder / f"n{number}", cpus))
            for number, (address, port) in enumerate(zip(addresses, ports, strict=True))
        ]

    @property
    def head(self) -> LocalNode:
        """The node with the cluster's state and its REST API."""
        return self.nodes[0]

    @property
    def address(self) -> str:
        """The URL of the head's REST API."""
        return f"http://{self.head.address}:{self.head.place.dashboard_port}"

    @property
    def _rest(self) -> RayHead:
        return RayHead(self.address, self.token)

    def start(self) -> None:
        """Start all nodes, one after the other, and wait until all of them have joined."""
        for node in self.nodes:
            self.join(node)

    def join(self, node: LocalNode) -> None:
        """Start a node, and wait until it has joined, and until all other nodes are back if it is
        the head. On a busy machine Ray's own limit of time ends a node that starts; it is started
        again.

        Raises:
            ServingError: UNAVAILABLE, it has not joined at the third attempt.
        """
        for attempt in range(_ATTEMPTS):
            self.start_node(node)
            try:
                if node is self.head:
                    self._wait_for_head()
                self.wait_for_nodes(sum(each.guard is not None for each in self.nodes))
                self._note(f"node {node.number + 1} of {len(self.nodes)} runs at {node.address}")
                return
            except ServingError:
                self.kill(node)
                if attempt == _ATTEMPTS - 1:
                    raise
                self._note(f"node {node.number + 1} did not join in time, and is started again")

    def start_node(self, node: LocalNode) -> None:
        """Start a node that does not run, and return at once."""
        if node.guard is not None:
            raise failed_precondition(f"Node {node.number} runs already")
        if node is self.head:
            # A head refuses to start while it sees its own address in the arguments of others.
            (node.place.folder / "ray_current_cluster").unlink(missing_ok=True)
        command = node_command(node.place, self.head.place)
        with open(node.log, "ab") as log:
            node.guard = start_owned(
                self._network.wrap(node.number, command),
                stop_seconds=_STOP_SECONDS / 3,
                output=log,
                env=self._environment,
            )
        self._network.connect(node.number, node.guard)

    def kill(self, node: LocalNode) -> None:
        """Kill every process of a node at once, as when its machine fails."""
        # The guard goes last: its end would ask the others to end politely.
        for process in reversed(node.processes()):
            with contextlib.suppress(psutil.Error):
                process.kill()
        if node.guard is not None:
            node.guard.wait(_STOP_SECONDS)
        node.guard = None

    def silence(self, node: LocalNode) -> None:
        """Drop all packets to and from a node; its processes go on until it is killed."""
        self._network.silence(node.number)

    def alive(self) -> list[str]:
        """The addresses of the nodes that Ray believes to be alive.

        Raises:
            ServingError: UNAVAILABLE, the head does not answer.
        """
        return [node["node_ip"] for node in self._rest.nodes()]

    def wait_for_nodes(self, count: int, seconds: float = _START_SECONDS) -> None:
        """Wait until `count` nodes are alive.

        Raises:
            ServingError: UNAVAILABLE, a node has ended or has not joined in time, with its log.
        """
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(ServingError):
                if len(self.alive()) >= count:
                    return
            self._check_running()
            if time.monotonic() > end:
                raise unavailable(f"Of {count} nodes, some have not joined within {seconds:.0f} s")
            time.sleep(0.25)

    def _wait_for_head(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while True:
            self._check_running()
            with contextlib.suppress(ServingError):
                self._rest.version()
                return
            if time.monotonic() > end:
                raise unavailable(f"The head did not start within {_START_SECONDS:.0f} s")
            time.sleep(0.1)

    def _check_running(self) -> None:
        for node in self.nodes:
            if node.guard is not None and node.guard.poll() is not None:
                lines = node.log.read_text(errors="replace").split("\n")
                said = next((line for line in reversed(lines) if line.strip()), "it wrote nothing")
                load, _, _ = os.getloadavg()
                raise unavailable(
                    f"Node {node.number + 1} of {len(self.nodes)} has ended ({said.strip()}); the "
                    f"load of this machine is {load:.0f} for {os.cpu_count()} CPUs: start fewer "
                    "nodes, or end other programs"
                )

    def stop(self) -> None:
        """End all nodes and remove their files."""
        for node in reversed(self.nodes):
            if node.guard is not None:
                node.guard.terminate()
        for node in self.nodes:
            if node.guard is not None:
                end_owned(node.guard, _STOP_SECONDS)
                node.guard = None
        self._network.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> LocalCluster:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


def cluster_possible() -> bool:
    """Whether Ray is installed here."""
    from importlib.util import find_spec

    return find_spec("ray") is not None and os.name == "posix"
