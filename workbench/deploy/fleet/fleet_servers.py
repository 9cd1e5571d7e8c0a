"""Finds the servers and the balancers of a fleet, and asks them."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from workbench.client.control_client import ControlClient
from workbench.core.fleet.rollout import Counts, ServerReport
from workbench.core.status import Code, ServingError, unavailable
from workbench.deploy.fleet.fleet_record import FleetRecord
from workbench.deploy.fleet.serve_config import BALANCER, SERVER, balancers_name, servers_name
from workbench.deploy.remote.ray_head import RayHead
from workbench.deploy.remote.remote_control import RemoteAddress, RemoteControl
from workbench.processes.registry import Entry

T = TypeVar("T")

_AGENT_SECONDS = 3.0
_CONTROL_SECONDS = 10.0
_FRESH_SECONDS = 1.0
_AT_ONCE = 16
"""Servers that are asked at a time."""


@dataclass(frozen=True)
class FleetServer:
    """One server of a fleet, as its balancers see it.

    Attributes:
        node: the address of its node; `began`: when it was started, seconds since the epoch.
        revision: of the plan that it serves; `refused`: the one that it could not change to;
            `error`: why.
    """

    address: RemoteAddress
    node: str
    began: float
    revision: int
    refused: int | None
    error: str

    @property
    def name(self) -> str:
        """The server's name."""
        return self.address.server

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FleetServer:
        """Read what a balancer's agent answers for a server."""
        own = {n: data[n] for n in ("node", "began", "revision", "refused", "error")}
        return cls(RemoteAddress.from_json(data), **own)


class FleetServers:
    """The servers of one fleet. What was found is used again for a second.

    Attributes:
        asked_since: when this object was made, in seconds since the epoch.
        answered_at: when each balancer answered last, by its host.
        application: what the head answered last about the servers; empty if it never did.
    """

    def __init__(self, record: FleetRecord) -> None:
        self.record = record
        self.head = RayHead(record.address, record.token)
        self.asked_since = time.time()
        self.answered_at: dict[str, float] = {}
        self.application: Mapping[str, Any] = {}
        self._found: list[FleetServer] = []
        self._ever: dict[str, FleetServer] = {}
        self._found_at = 0.0

    def find(self, fresh: bool = False) -> list[FleetServer]:
        """The servers that serve now, oldest first.

        Raises:
            ServingError: UNAVAILABLE, no balancer answers.
        """
        if fresh or time.monotonic() - self._found_at > _FRESH_SECONDS:
            answers = self.ask_balancers()
            # A balancer that was started just now may not know all of them.
            best = max(answers.values(), key=lambda answer: len(answer["servers"]))
            found = [FleetServer.from_json(each) for each in best["servers"]]
            self._found = sorted(found, key=lambda server: (server.began, server.name))
            self._ever |= {server.name: server for server in found}
            self._found_at = time.monotonic()
        return self._found

    @property
    def known(self) -> list[FleetServer]:
        """Those that were found last, and those found before that the head still has. Nothing is
        asked, so they may have ended."""
        found = {server.name for server in self._found}
        there = {name for name, _ in self.replicas} - found
        return [*self._found, *(self._ever[name] for name in there if name in self._ever)]

    @property
    def replicas(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The servers that the head had when it answered last: their names, and Ray's words for
        them (`state`, and `node_ip` once it has a node)."""
        deployment = (self.application.get("deployments") or {}).get(SERVER) or {}
        return [
            (f"{self.record.name}-{each['replica_id']}", each)
            for each in deployment.get("replicas", [])
        ]

    def read_application(self) -> Mapping[str, Any]:
        """The application of its servers, as the head knows it now; empty if there is none.

        Raises:
            ServingError: UNAVAILABLE, the head does not answer.
        """
        name = servers_name(self.record.name)
        self.application = self.head.applications().get(name, {})
        return self.application

    def ask_balancers(self) -> dict[str, dict[str, Any]]:
        """What each balancer that answers knows, by its host.

        Raises:
            ServingError: UNAVAILABLE, none answers.
        """
        answers, error = self._ask(self.record.balancers, "servers")
        if not answers:
            self.look_for_balancers()
            answers, error = self._ask(self.record.balancers, "servers")
        if not answers:
            hosts = ", ".join(self.record.balancers) or "none is known"
            raise unavailable(
                f"No balancer of fleet {self.record.name!r} answers ({hosts}): {error}"
            )
        return answers

    def histories(self) -> dict[str, dict[str, Any]]:
        """What each balancer that answers remembers (`ServerHistory.to_json`), by its host."""
        return self._ask(self.record.balancers, "history")[0]

    def look_for_balancers(self) -> tuple[str, ...]:
        """Ask the head on which nodes balancers run, and keep that."""
        app = self.head.applications().get(balancers_name(self.record.name))
        replicas = ((app or {}).get("deployments") or {}).get(BALANCER, {}).get("replicas", [])
        running = [each for each in replicas if each["state"] == "RUNNING"]
        hosts = tuple(sorted({each["node_ip"] for each in running if each["node_ip"]}))
        if hosts and hosts != self.record.balancers:
            self.record = replace(self.record, balancers=hosts)
            self.record.write()
        return hosts

    def _ask(self, hosts: tuple[str, ...], question: str) -> tuple[dict[str, dict[str, Any]], str]:
        answers, error = {}, "the cluster runs none"
        for host in hosts:
            try:
                answers[host] = self._ask_agent(host, question)
            except ServingError as failed:
                error = failed.message
        return answers, error

    def _ask_agent(self, host: str, question: str) -> dict[str, Any]:
        url = f"http://{host}:{self.record.agent_port}/{question}"
        headers = {"Authorization": f"Bearer {self.record.tokens.control}"}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            request = urllib.request.Request(url, headers=headers)
            with opener.open(request, timeout=_AGENT_SECONDS) as response:
                answer: dict[str, Any] = json.load(response)
                self.answered_at[host] = time.time()
                return answer
        except urllib.error.HTTPError as refused:
            with refused:
                if refused.code == 401:
                    raise ServingError(
                        Code.UNAUTHENTICATED,
                        f"The balancer at {host} does not accept this fleet's token: the fleet was "
                        "deployed anew by somebody else",
                    ) from None
                raise unavailable(f"The balancer at {host} answers {refused.code}") from None
        except (OSError, ValueError) as error:
            raise unavailable(f"The balancer at {host} does not answer: {error}") from error

    def control(self, server: FleetServer, timeout: float = _CONTROL_SECONDS) -> RemoteControl:
        """The control plane of a server, which gets `timeout` seconds for each answer."""
        tokens = self.record.tokens
        return RemoteControl(server.address, tokens.data, tokens.control, timeout)

    def ask(self, question: Callable[[RemoteControl], T]) -> dict[str, T]:
        """Ask every server at the same time; the answers by the name of the server. Those that do
        not answer are left out."""
        return self.ask_these(self.find(), question)

    def ask_these(
        self,
        servers: Sequence[FleetServer],
        question: Callable[[RemoteControl], T],
        timeout: float = _CONTROL_SECONDS,
    ) -> dict[str, T]:
        """`ask` these servers, each of which gets `timeout` seconds for each answer."""

        def one(server: FleetServer) -> list[T]:
            with contextlib.suppress(ServingError):
                return [question(self.control(server, timeout))]
            return []

        with ThreadPoolExecutor(_AT_ONCE, "fleet") as pool:
            answers = list(pool.map(one, servers))
        return {s.name: a[0] for s, a in zip(servers, answers, strict=True) if a}

    def reports(self) -> list[ServerReport]:
        """All servers, for a rollout."""
        servers = self.find(fresh=True)
        counts = self.ask(_counts)
        return [
            ServerReport(s.name, s.revision, counts.get(s.name, Counts()), s.refused, s.error)
            for s in servers
        ]


def _counts(control: RemoteControl) -> Counts:
    total = Counts()
    for model in control.describe_models():
        for version in model["versions"]:
            if version["state"] == "AVAILABLE":
                total += _counts_of(version)
    return total


def _counts_of(version: Mapping[str, Any]) -> Counts:
    requests, batches = version.get("requests", {}), version.get("batches", {})
    micros = batches.get("queued_micros", 0) + batches.get("request_run_micros", 0)
    return Counts(requests.get("answered", 0), requests.get("failed", 0), micros / 1e6)


class FleetControl(ControlClient):
    """`ControlClient` of a whole fleet: its entry is a balancer, and questions go to the first
    server that answers. Changes are refused: they go to all servers, through the fleet's plan."""

    def __init__(self, servers: FleetServers) -> None:
        super().__init__(servers.record.name)
        self._servers = servers
        self._place = 0

    def entry(self) -> Entry:
        """The balancer that requests are sent to."""
        record = self._servers.record
        hosts = record.balancers or self._servers.look_for_balancers()
        if not hosts:
            raise unavailable(f"Fleet {self.name!r} has no balancer that runs")
        host = hosts[self._place % len(hosts)]
        address = RemoteAddress(self.name, host, record.rest_port, record.grpc_port)
        return address.entry(record.tokens.data)

    def next_balancer(self) -> None:
        """Send later requests to another balancer."""
        self._place += 1

    def _request(self, method: str, path: str, *rest: Any, **more: Any) -> Any:
        if method != "GET":
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"{method} {path} would change one server of fleet {self.name!r}: change the plan, "
                "which changes all of them",
            )
        error: ServingError | None = None
        for fresh in (False, True):
            for server in self._servers.find(fresh):
                try:
                    return self._servers.control(server)._request(method, path, *rest, **more)
                except ServingError as failed:
                    if failed.code is not Code.UNAVAILABLE:
                        raise
                    error = failed
        raise error or unavailable(f"Fleet {self.name!r} has no server that serves")
