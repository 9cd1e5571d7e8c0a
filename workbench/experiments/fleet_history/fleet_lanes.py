"""What each server of a fleet served over time, from its events and its balancers' memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from workbench.experiments.recording.recorded_timeline import Span, spans_between


class Failure(NamedTuple):
    """A version could not be loaded, `at` seconds on the timeline's axis."""

    at: float
    version: int
    why: str


class Requests(NamedTuple):
    """What the balancers sent from `start` to `end`, in seconds on the timeline's axis.

    Attributes:
        sent, failed: requests; failed are those that the server answered with an error of its own,
            or not at all. A balancer asks another server then, so callers may not have noticed.
    """

    start: float
    end: float
    sent: int
    failed: int


@dataclass(frozen=True)
class Lane:
    """One server.

    Attributes:
        node: the address of its node.
        start: when it was started, in seconds on the timeline's axis.
        end: when it was seen last; None if it serves now.
        spans: the states of its versions.
        failures: the versions that it could not load.
        requests: by time; there are none where a balancer sent none, or does not remember.
    """

    server: str
    node: str
    start: float
    end: float | None
    spans: tuple[Span, ...] = ()
    failures: tuple[Failure, ...] = ()
    requests: tuple[Requests, ...] = ()

    @property
    def sent(self) -> int:
        """All requests that the balancers remember."""
        return sum(each.sent for each in self.requests)

    @property
    def failed(self) -> int:
        """Those of them that failed."""
        return sum(each.failed for each in self.requests)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Lane:
        """What `dataclasses.asdict` made of one."""
        return cls(
            **{
                **data,
                "spans": tuple(Span(**each) for each in data["spans"]),
                "failures": tuple(Failure(*each) for each in data["failures"]),
                "requests": tuple(Requests(*each) for each in data["requests"]),
            }
        )


_Change = tuple[float, int, str]
"""When (seconds since the epoch) a version came into a state."""


def lanes_of(
    rows: Iterable[Mapping[str, Any]],
    memories: Sequence[Mapping[str, Any]],
    live: Iterable[str],
    model: str,
    zero: float,
    end: float,
) -> tuple[Lane, ...]:
    """The lanes of all servers that are known, in the order of their nodes.

    Args:
        rows: events of servers, with `wall`, `server`, `node`, `kind`, `model`, `version`, `data`;
            also of servers that are gone, if they were asked before.
        memories: what each balancer remembers (`ServerHistory.to_json`).
        live: the names of the servers that serve now.
        zero, end: of the timeline's axis; the first in seconds since the epoch.
    """
    seen = _seen(memories)
    events: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        events.setdefault(row["server"], []).append(row)
    serving = set(live)
    lanes = []
    for name in seen.keys() | events.keys():
        about, mine = seen.get(name), sorted(events.get(name, []), key=lambda row: row["wall"])
        last = max([*(row["wall"] for row in mine), *([about["seen"]] if about else [])])
        own = [row for row in mine if row.get("model") == model]
        until = None if name in serving else last - zero
        changes = _changes(own, about["serves"] if about else [], model)
        lanes.append(
            Lane(
                name,
                about["node"] if about else mine[0]["node"],
                (about["began"] if about else mine[0]["wall"]) - zero,
                until,
                tuple(_spans(changes, zero, end if until is None else until)),
                tuple(_failures(own, zero)),
                tuple(_requests(memories, name, zero)),
            )
        )
    first = {lane.node: lane.start for lane in sorted(lanes, key=lambda lane: -lane.start)}
    return tuple(sorted(lanes, key=lambda lane: (first[lane.node], lane.start, lane.server)))


def _seen(memories: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The servers that the balancers remember; of each server, what the one knows that has known it
    for longest, and when any of them saw it last."""
    found: dict[str, dict[str, Any]] = {}
    for memory in memories:
        for about in memory["servers"]:
            known = found.setdefault(about["server"], dict(about))
            if about["serves"] and about["serves"][0][0] < known["serves"][0][0]:
                known = found[about["server"]] = {**about, "seen": known["seen"]}
            known["seen"] = max(known["seen"], about["seen"])
    return found


def _changes(
    rows: Sequence[Mapping[str, Any]], serves: Sequence[Sequence[Any]], model: str
) -> list[_Change]:
    """The changes of state, from events and, later than those, from what the balancers were
    told."""
    states: dict[int, str] = {}
    found: list[_Change] = []

    def note(wall: float, version: int, state: str) -> None:
        if states.get(version) != state:
            states[version] = state
            found.append((wall, version, state))

    for row in rows:
        if row["kind"] == "state":
            note(row["wall"], int(row["version"]), row["data"]["state"])
    last = rows[-1]["wall"] if rows else 0.0
    for wall, versions in serves:
        if wall > last:
            wanted = versions.get(model, [])
            for version in sorted(states.keys() - set(wanted)):
                note(wall, version, "END")
            for version in wanted:
                note(wall, version, "AVAILABLE")
    return found


def _spans(changes: Iterable[_Change], zero: float, end: float) -> list[Span]:
    found = spans_between(
        ((wall - zero, version, state) for wall, version, state in changes), end, last="END"
    )
    return sorted(found, key=lambda span: (span.start, span.version))


def _failures(rows: Iterable[Mapping[str, Any]], zero: float) -> list[Failure]:
    return [
        Failure(
            row["wall"] - zero,
            int(row["version"]),
            f"{row['data'].get('code', '')}: {row['data'].get('message', '')}".strip(": "),
        )
        for row in rows
        if row["kind"] == "error"
    ]


def _requests(memories: Sequence[Mapping[str, Any]], name: str, zero: float) -> list[Requests]:
    """The rows of all balancers, by their time; rows of different balancers may overlap."""
    return sorted(
        Requests(since - zero, until - zero, sent, failed)
        for memory in memories
        for server, since, until, sent, failed in memory["requests"]
        if server == name
    )
