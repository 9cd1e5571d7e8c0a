"""What was done to a fleet: marks on its timeline, and the rollouts that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

KINDS = (
    "deployed", "scaled", "rollout_began", "rollout_step", "rollout_looked", "rollout_taken_back",
    "rollout_finished",
)  # fmt: skip
"""The kinds of events of a fleet itself."""
Outcome = Literal["finished", "taken back", "not ended"]


@dataclass(frozen=True)
class Mark:
    """One step, `at` seconds on the timeline's axis.

    Attributes:
        words: what was done, without the revision.
        revision: of the plan; None for a change of the number of servers.
        servers: those that were ordered to change by it.
    """

    at: float
    kind: str
    words: str
    revision: int | None = None
    servers: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Mark:
        """What `dataclasses.asdict` made of one."""
        return cls(**{**data, "servers": tuple(data["servers"])})


@dataclass(frozen=True)
class Rollout:
    """A change of the plan on its way through the fleet.

    Attributes:
        what: the change in a phrase.
        start, end: seconds on the timeline's axis; `end` is that of the timeline if the rollout has
            not ended.
        steps: when servers were ordered to change.
        why: the reason why it was taken back, else what the last look found; empty if there was no
            look.
    """

    revision: int
    what: str
    start: float
    end: float
    outcome: Outcome
    steps: tuple[Mark, ...]
    why: str


def marks_of(rows: Iterable[Mapping[str, Any]], zero: float) -> tuple[Mark, ...]:
    """The marks of a fleet's own events, which have `wall`, `kind` and `data`.

    Args:
        zero: of the timeline's axis, in seconds since the epoch.
    """
    found = []
    for row in rows:
        if row["kind"] in KINDS:
            data = row["data"]
            found.append(
                Mark(
                    row["wall"] - zero,
                    row["kind"],
                    _words(row["kind"], data),
                    data.get("revision"),
                    _servers(data),
                )
            )
    return tuple(sorted(found, key=lambda mark: mark.at))


def _servers(data: Mapping[str, Any]) -> tuple[str, ...]:
    servers = data.get("servers")
    return tuple(servers) if isinstance(servers, list | tuple) else ()


def _words(kind: str, data: Mapping[str, Any]) -> str:
    match kind:
        case "deployed":
            return f"deployed on {_count(data['servers'])}"
        case "scaled":
            return f"{_count(data['servers'])} wanted"
        case "rollout_began":
            return str(data["what"])
        case "rollout_step":
            return f"changing {', '.join(data['servers'])}"
        case "rollout_looked":
            return str(data["finding"])
        case "rollout_taken_back":
            return f"taken back: {data['reason']}"
    return "all servers have it"


def _count(servers: int) -> str:
    return f"{servers} server{'s' * (servers != 1)}"


_ENDS: Mapping[str, Outcome] = {
    "rollout_finished": "finished",
    "rollout_taken_back": "taken back",
}


def rollouts_of(marks: Sequence[Mark], end: float) -> list[Rollout]:
    """The rollouts that the marks belong to, oldest first; one that has no last mark goes on until
    `end`."""
    by_revision: dict[int, list[Mark]] = {}
    for mark in marks:
        if mark.revision is not None and mark.kind != "deployed":
            by_revision.setdefault(mark.revision, []).append(mark)
    return [_rollout(revision, mine, end) for revision, mine in by_revision.items()]


def _rollout(revision: int, marks: Sequence[Mark], end: float) -> Rollout:
    first, last = marks[0], marks[-1]
    looked = [mark.words for mark in marks if mark.kind == "rollout_looked"]
    taken_back = last.kind == "rollout_taken_back"
    return Rollout(
        revision,
        first.words if first.kind == "rollout_began" else "",
        first.at,
        last.at if last.kind in _ENDS else end,
        _ENDS.get(last.kind, "not ended"),
        tuple(mark for mark in marks if mark.kind == "rollout_step"),
        last.words.removeprefix("taken back: ") if taken_back else "".join(looked[-1:]),
    )
