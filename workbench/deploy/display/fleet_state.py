"""What a fleet is now: its plan, its servers as they and the balancers report them, and who does
not answer."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from workbench.core.status import ServingError
from workbench.deploy.fleet.fleet_orders import Orders
from workbench.deploy.fleet.fleet_servers import FleetServer, FleetServers
from workbench.deploy.fleet.serve_config import SERVER, read_application
from workbench.deploy.plan.plan_differences import Difference, differences

ANSWER_SECONDS = 3.0
"""A server that has just died is not waited for any longer."""
_STALLED_SECONDS = 15.0
"""A rollout in which no server changes takes its next step sooner than this, unless it looks at
each step for much longer than by default."""


@dataclass(frozen=True)
class ServerState:
    """One server.

    Attributes:
        state: ``serves``, ``changing``, ``refused``, ``no answer``, or Ray's word for one that does
            not serve yet.
        versions: those that serve, by model; None if they are not known.
        answered, failed: requests of the versions that are loaded; None if not known.
        memory_bytes: of all its processes (PSS); None if not known.
        differs: what it has otherwise than planned, in words.
        error: why it could not change to a revision.
        balanced: what each balancer says of it, by host: ``UP``, ``DOWN``, ``DRAIN``.
    """

    name: str
    node: str
    state: str
    revision: int | None = None
    versions: Mapping[str, Sequence[int]] | None = None
    answered: int | None = None
    failed: int | None = None
    memory_bytes: int | None = None
    differs: tuple[str, ...] = ()
    error: str = ""
    balanced: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RolloutState:
    """A rollout that has not ended.

    Attributes:
        reached: how many servers have been ordered to change; `changed`: how many have.
        quiet_s: seconds since its last step; stalled: whether the next one should have come.
    """

    revision: int
    what: str
    reached: int
    changed: int
    quiet_s: float
    stalled: bool


@dataclass(frozen=True)
class FleetState:
    """A fleet at one moment; it holds no secret.

    Attributes:
        wall: when it was asked, in seconds since the epoch.
        addresses: the URLs of its balancers; `grpc_port`: theirs for gRPC.
        orders: its declared state; None if it is not known.
        troubles: a sentence for the head, and for each balancer, that does not answer.
        engine: what Ray says if it is not content with the servers; empty if it is.
    """

    name: str
    wall: float
    addresses: tuple[str, ...]
    grpc_port: int
    orders: Orders | None
    rollout: RolloutState | None
    servers: tuple[ServerState, ...]
    troubles: tuple[str, ...]
    engine: str = ""

    @property
    def serving(self) -> int:
        """How many servers answer and are not starting."""
        return sum(s.state in ("serves", "changing", "refused") for s in self.servers)

    @property
    def gist(self) -> tuple[Any, ...]:
        """What a reader would notice: the numbers that change all the time are left out."""
        servers = [(s.name, s.state, s.versions, s.revision, s.balanced) for s in self.servers]
        rollout = None if self.rollout is None else replace(self.rollout, quiet_s=0.0)
        return self.headline, rollout, len(self.troubles), self.engine, servers

    @property
    def headline(self) -> str:
        """How many servers serve, and which revision, in a phrase."""
        if self.orders is None:
            return f"{self.serving} servers serve"
        wanted = self.orders.plan.servers
        return f"{self.serving} of {wanted} servers serve, revision {self.orders.revision}"


def fleet_state(fleet: FleetServers) -> FleetState:
    """Ask a fleet. What does not answer is named in the result, and nothing is raised for it."""
    now = time.time()
    troubles: list[str] = []
    orders = _orders(fleet, now, troubles)
    balanced = _balanced(fleet, now, troubles)
    found = fleet.known
    about = fleet.ask_these(
        found,
        lambda c: (c.describe_server(), c.describe_models(), c.memory()),
        ANSWER_SECONDS,
    )
    servers = [_server(each, about.get(each.name), orders, balanced) for each in found]
    servers += _others(fleet, {each.name for each in found})
    record = fleet.record
    return FleetState(
        record.name,
        now,
        tuple(f"http://{host}:{record.rest_port}" for host in record.balancers),
        record.grpc_port,
        orders,
        None if orders is None else _rollout(orders, servers, now),
        tuple(sorted(servers, key=lambda server: (server.node, server.name))),
        tuple(troubles),
        _engine(fleet),
    )


def _orders(fleet: FleetServers, now: float, troubles: list[str]) -> Orders | None:
    try:
        fleet.read_application()
    except ServingError as error:
        troubles.append(f"{error.message}. {_since(fleet.head.answered_at, fleet, now)}")
    if not fleet.application:
        if not troubles:
            troubles.append(
                f"The head at {fleet.head.address} knows no fleet {fleet.record.name!r}."
            )
        return None
    try:
        return read_application(fleet.application, fleet.record.name)[0]
    except ServingError as error:
        troubles.append(error.message)
        return None


def _engine(fleet: FleetServers) -> str:
    deployment = (fleet.application.get("deployments") or {}).get(SERVER) or {}
    content = deployment.get("status", "HEALTHY") == "HEALTHY"
    return "" if content else (deployment.get("message") or "").strip()


def _balanced(fleet: FleetServers, now: float, troubles: list[str]) -> dict[str, dict[str, str]]:
    """What each balancer says of each server, by the names of both."""
    with contextlib.suppress(ServingError):
        fleet.look_for_balancers()
    try:
        fleet.find(fresh=True)
        answers = fleet.ask_balancers()
    except ServingError as error:
        answers = {}
        if not fleet.record.balancers:
            troubles.append(error.message)
    for host in fleet.record.balancers:
        if host not in answers:
            since = _since(fleet.answered_at.get(host), fleet, now)
            troubles.append(f"The balancer at {host} does not answer. {since}")
    found: dict[str, dict[str, str]] = {}
    for host, answer in answers.items():
        for server, counts in answer["counts"].items():
            # REST and gRPC are checked in one way.
            found.setdefault(server, {})[host] = counts[0]["status"]
    return found


def _since(answered_at: float | None, fleet: FleetServers, now: float) -> str:
    if answered_at is None:
        return f"It has never answered since {clock(fleet.asked_since)}, when it was first asked."
    return f"It answered last at {clock(answered_at)}, {ago(now - answered_at)} ago."


def clock(wall: float) -> str:
    """A time of the day."""
    return time.strftime("%H:%M:%S", time.localtime(wall))


def ago(seconds: float) -> str:
    """A duration in words."""
    for unit, name in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(seconds, 0.0):.0f} s"


def rollout_words(rollout: RolloutState, servers: int) -> tuple[str, tuple[str, ...]]:
    """A rollout that has not ended in words, and the calls that end one that is broken off."""
    what = f" ({rollout.what})" if rollout.what else ""
    how = "seems to be broken off" if rollout.stalled else "is under way"
    said = (
        f"The rollout of revision {rollout.revision}{what} {how}: {rollout.changed} of {servers} "
        f"servers have it"
    )
    if rollout.changed != rollout.reached:
        changing = rollout.reached - rollout.changed
        said += f", {changing} {'is' if changing == 1 else 'are'} changing"
    said += f"; its last step was {ago(rollout.quiet_s)} ago."
    return said, ("fleet.resume()", "fleet.take_back()") if rollout.stalled else ()


def versions_words(server: ServerState) -> str:
    """The versions that serve; with the model's name if there are several models."""
    if server.versions is None:
        return ""
    words = {name: ", ".join(map(str, versions)) for name, versions in server.versions.items()}
    if len(words) == 1:
        return next(iter(words.values())) or "none"
    return "; ".join(f"{name} {numbers or 'none'}" for name, numbers in words.items())


def balanced_words(server: ServerState) -> str:
    """What the balancers say of a server: one word if they agree, else how many say what."""
    said = list(server.balanced.values())
    counts = {word: said.count(word) for word in said}
    if len(counts) == 1:
        word, count = next(iter(counts.items()))
        return f"{word} ({count})" if count > 1 else word
    return ", ".join(f"{word} ({count})" for word, count in counts.items())


def _server(
    each: FleetServer,
    about: tuple[Any, Any, Any] | None,
    orders: Orders | None,
    balanced: Mapping[str, Mapping[str, str]],
) -> ServerState:
    known = ServerState(
        each.name, each.node, "no answer", each.revision, error=each.error,
        balanced=balanced.get(each.name, {}),
    )  # fmt: skip
    if about is None:
        return known
    described, models, samples = about
    revision, plan = (each.revision, None) if orders is None else orders.of(each.name)
    state = "serves"
    if each.refused is not None:
        state = "refused"
    elif revision != each.revision:
        state = "changing"
    versions = {
        model["name"]: [v["version"] for v in model["versions"] if v["state"] == "AVAILABLE"]
        for model in models
    }
    counted = [v.get("requests", {}) for model in models for v in model["versions"]]
    found: list[Difference] = []
    # A server that changes differs from what it has been ordered to on purpose.
    if plan is not None and state != "changing":
        found = differences(plan, {**described, "models": models})
    return replace(
        known,
        state=state,
        versions={name: tuple(sorted(numbers)) for name, numbers in versions.items()},
        answered=sum(each.get("answered", 0) for each in counted),
        failed=sum(each.get("failed", 0) for each in counted),
        memory_bytes=sum(int(sample["pss"]) for sample in samples),
        differs=tuple(map(str, found)),
    )


def _others(fleet: FleetServers, found: Iterable[str]) -> Iterator[ServerState]:
    """The servers that only the head knows: they start, or they end."""
    for name, replica in fleet.replicas:
        if name not in found:
            state = replica["state"].lower().replace("_", " ")
            yield ServerState(name, replica.get("node_ip") or "no node yet", state)


def _rollout(orders: Orders, servers: Sequence[ServerState], now: float) -> RolloutState | None:
    if orders.next is None:
        return None
    revision = orders.next.revision
    ordered = [server for server in servers if server.name in orders.next.servers]
    changed = sum(server.revision == revision for server in ordered)
    mine = [entry for entry in orders.log if entry["data"].get("revision") == revision]
    quiet = now - mine[-1]["wall"] if mine else 0.0
    begun = (entry["data"] for entry in mine if entry["kind"] == "rollout_began")
    began: Mapping[str, Any] = next(begun, {})
    changing = any(server.state == "changing" for server in ordered)
    # A look may be repeated before it decides.
    stalled = not changing and quiet > max(_STALLED_SECONDS, 3 * began.get("look_s", 0.0))
    what = began.get("what", "")
    return RolloutState(revision, what, len(ordered), changed, quiet, stalled)
