"""What the servers of a fleet have to serve: the fleet's declared state.

A plan with a revision, and while a change is rolled out, the next plan with the servers that have
been ordered to it. The engine keeps the orders and hands them to every server, also to one that
starts later. So whatever dies in the middle of a rollout, each server knows what it has to serve,
and a rollout that was broken off is seen, and can be continued or taken back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workbench.deploy.plan.plan import Plan

_LOG_ENTRIES = 100


@dataclass(frozen=True)
class NextPlan:
    """A change that is being rolled out.

    Attributes:
        servers: those that have been ordered to change.
    """

    revision: int
    plan: Plan
    servers: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data, for `from_json`."""
        return {
            "revision": self.revision,
            "plan": self.plan.to_json(),
            "servers": list(self.servers),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> NextPlan:
        """What `to_json` wrote."""
        return cls(data["revision"], Plan.from_json(data["plan"]), tuple(data["servers"]))


@dataclass(frozen=True)
class Orders:
    """The declared state of a fleet.

    Attributes:
        revision: of the plan; each change gets the next number, also one that is taken back.
        previous: the plan before, for `rollback`; None if there was none.
        log: what was done, oldest first: `wall` (seconds since the epoch), `kind`, `data`.
    """

    revision: int
    plan: Plan
    next: NextPlan | None = None
    previous: Plan | None = None
    log: tuple[Mapping[str, Any], ...] = ()

    def of(self, server: str) -> tuple[int, Plan]:
        """The revision and the plan that a server has to serve."""
        if self.next is not None and server in self.next.servers:
            return self.next.revision, self.next.plan
        return self.revision, self.plan

    def prepared(self, plan: Plan) -> Orders:
        """With a next plan, and no server ordered to it yet."""
        highest = max([self.revision, *(e["data"].get("revision", 0) for e in self.log)])
        return replace(self, next=NextPlan(highest + 1, plan))

    def ordered(self, servers: Sequence[str]) -> Orders:
        """With these servers ordered to the next plan."""
        assert self.next is not None
        return replace(self, next=replace(self.next, servers=tuple(servers)))

    def finished(self) -> Orders:
        """The next plan is the plan of all servers."""
        assert self.next is not None
        return replace(
            self,
            revision=self.next.revision,
            plan=self.next.plan,
            next=None,
            previous=self.plan,
        )

    def withdrawn(self) -> Orders:
        """The plan is that of all servers again."""
        return replace(self, next=None)

    def noted(self, wall: float, kind: str, **data: Any) -> Orders:
        """With one more entry in the log."""
        entry = {"wall": wall, "kind": kind, "data": data}
        return replace(self, log=(*self.log, entry)[-_LOG_ENTRIES:])

    def to_json(self) -> dict[str, Any]:
        """Plain data, for `from_json`."""
        return {
            "revision": self.revision,
            "plan": self.plan.to_json(),
            "next": None if self.next is None else self.next.to_json(),
            "previous": None if self.previous is None else self.previous.to_json(),
            "log": [dict(entry) for entry in self.log],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Orders:
        """What `to_json` wrote."""
        return cls(
            data["revision"],
            Plan.from_json(data["plan"]),
            NextPlan.from_json(data["next"]) if data["next"] else None,
            Plan.from_json(data["previous"]) if data["previous"] else None,
            tuple(data["log"]),
        )
