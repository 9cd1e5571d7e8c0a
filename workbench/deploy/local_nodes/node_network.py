"""Gives each node of one machine an address of its own.

`Loopback` uses addresses like 127.81.0.2, which need no rights. `Namespaces` gives each node a
network namespace, linked by a virtual switch, so that a node can also be cut off. No namespace has
a name: each lives as long as the processes in it, so nothing remains when they are killed.
"""

from __future__ import annotations

import os
import random
import shlex
import shutil
import subprocess
import time
from collections.abc import Sequence
from typing import Protocol

import psutil

from workbench.core.status import failed_precondition, unavailable
from workbench.deploy.programs.owned_process import end_owned, start_owned

_SECONDS = 10.0


class Network(Protocol):
    """Addresses for nodes, by their number from 0."""

    def address(self, node: int) -> str:
        """The IP address of a node."""
        ...

    def wrap(self, node: int, command: Sequence[str]) -> list[str]:
        """The command that runs `command` where the node has its address."""
        ...

    def connect(self, node: int, guard: subprocess.Popen[bytes]) -> None:
        """Give the node that `guard` runs its address; called once after each start."""
        ...

    def silence(self, node: int) -> None:
        """Drop all packets to and from a node."""
        ...

    def close(self) -> None:
        """Remove the network."""
        ...


class Loopback:
    """Addresses of the loopback interface."""

    def __init__(self, random_source: random.Random) -> None:
        self._second = random_source.randrange(64, 250)

    def address(self, node: int) -> str:
        """The IP address of a node. Ray replaces 127.0.0.1 by the machine's own address."""
        return f"127.{self._second}.0.{node + 2}"

    def wrap(self, node: int, command: Sequence[str]) -> list[str]:
        """The command itself."""
        return list(command)

    def connect(self, node: int, guard: subprocess.Popen[bytes]) -> None:
        """Nothing is to be done."""

    def silence(self, node: int) -> None:
        """Raises FAILED_PRECONDITION: packets of the loopback interface cannot be dropped."""
        raise failed_precondition("Only a node in a network namespace of its own can be cut off")

    def close(self) -> None:
        """Nothing is to be done."""


class Namespaces:
    """A network namespace for each node. Needs root and the program `ip` (iproute2).

    Raises:
        ServingError: FAILED_PRECONDITION, they cannot be made here.
    """

    def __init__(self, random_source: random.Random) -> None:
        self._net = f"10.{random_source.randrange(64, 250)}.{random_source.randrange(1, 250)}"
        self._link = f"wb{random_source.randrange(10**6, 10**7)}"
        self._attempt: dict[int, int] = {}
        # The switch is in a namespace of its own, which goes with this process.
        self._switch = start_owned(["unshare", "--net", "sleep", "infinity"])
        try:
            self._pid = _pid_in_new_network(self._switch)
            self._inside("ip link add br0 type bridge")
            self._inside("ip link set br0 up")
            _run(f"ip link add {self._link} type veth peer name host netns {self._pid}")
            self._inside("ip link set host master br0 up")
            _run(f"ip addr add {self._net}.1/24 dev {self._link}")
            _run(f"ip link set {self._link} up")
        except BaseException:
            self.close()
            raise

    @staticmethod
    def possible() -> bool:
        """Whether this process may make network namespaces."""
        tools = all(shutil.which(each) for each in ("ip", "unshare", "nsenter"))
        if not tools or os.geteuid() != 0:
            return False
        return subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode == 0

    def address(self, node: int) -> str:
        """The IP address of a node; `.1` is this machine's own."""
        return f"{self._net}.{node + 2}"

    def wrap(self, node: int, command: Sequence[str]) -> list[str]:
        """The command in a new namespace, begun when the address is there."""
        waiting = (
            "until ip -o -4 addr show dev eth0 2>/dev/null | grep -q inet; do sleep 0.05; done"
        )
        return ["unshare", "--net", "sh", "-c", f"{waiting}; exec {shlex.join(command)}"]

    def connect(self, node: int, guard: subprocess.Popen[bytes]) -> None:
        """Plug the node's namespace into the switch."""
        pid = _pid_in_new_network(guard)
        # The port of a node that was killed may be there for a moment.
        self._attempt[node] = self._attempt.get(node, 0) + 1
        port = self._port(node)
        into = f"ip link add {port} type veth peer name eth0 netns /proc/{pid}/ns/net"
        self._inside(into)
        self._inside(f"ip link set {port} master br0 up")
        enter = f"nsenter --net=/proc/{pid}/ns/net"
        _run(f"{enter} ip link set lo up")
        _run(f"{enter} ip link set eth0 up")
        _run(f"{enter} ip route replace default dev eth0", check=False)
        _run(f"{enter} ip addr add {self.address(node)}/24 dev eth0")

    def silence(self, node: int) -> None:
        """Unplug a node, as when its machine loses power: connections to it stay open."""
        self._inside(f"ip link set {self._port(node)} down")

    def close(self) -> None:
        """Remove the switch; the namespaces of nodes go with their processes."""
        end_owned(self._switch, _SECONDS)

    def _port(self, node: int) -> str:
        return f"n{node}x{self._attempt[node]}"

    def _inside(self, command: str) -> None:
        _run(f"nsenter --net=/proc/{self._pid}/ns/net {command}")


def _pid_in_new_network(guard: subprocess.Popen[bytes]) -> int:
    """The process below a guard that is in another network namespace than this one."""
    end = time.monotonic() + _SECONDS
    ours = os.readlink("/proc/self/ns/net")
    while time.monotonic() < end:
        try:
            for child in psutil.Process(guard.pid).children():
                if os.readlink(f"/proc/{child.pid}/ns/net") != ours:
                    return child.pid
        except (psutil.Error, OSError):
            pass
        if guard.poll() is not None:
            break
        time.sleep(0.01)
    raise unavailable("No network namespace could be made: unshare --net failed")


def _run(command: str, check: bool = True) -> None:
    done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=_SECONDS)
    if check and done.returncode != 0:
        raise unavailable(f"{command!r} failed: {done.stderr.strip()}")
