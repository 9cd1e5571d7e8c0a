"""The timeline of a fleet: a lane for each server, and what was done to all of them.

It is data, and outlives the fleet: `to_json` and `from_json` keep it in a file.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from workbench.client.display.tables import aligned
from workbench.experiments.fleet_history.fleet_lanes import Lane, lanes_of
from workbench.experiments.fleet_history.fleet_marks import Mark, Rollout, marks_of, rollouts_of
from workbench.experiments.showing import figures, html_result

if TYPE_CHECKING:
    import pandas as pd

    from workbench.experiments.figure import Picture

_QUIET_SECONDS = 120.0
_MARGIN_SECONDS = 5.0


@dataclass(frozen=True)
class FleetTimeline:
    """One model of a fleet over time, on one axis: seconds since `zero`.

    Attributes:
        zero: the axis' zero, in seconds since the epoch: the first thing that is known.
        end: when it was made, in seconds on the axis.
        lanes: one for each server, those of a node together.
        marks: what was done to the fleet, oldest first.
        shown_from: where its figure begins, in seconds on the axis.
    """

    fleet: str
    model: str
    zero: float
    end: float
    lanes: tuple[Lane, ...]
    marks: tuple[Mark, ...]
    shown_from: float = 0.0

    @classmethod
    def of(
        cls,
        fleet: str,
        model: str,
        rows: Iterable[Mapping[str, Any]],
        memories: Sequence[Mapping[str, Any]],
        live: Iterable[str],
        now: float,
        seconds: float | None = None,
    ) -> FleetTimeline:
        """Make one.

        Args:
            rows: the fleet's own events and those of its servers, as in `Fleet.events()`.
            memories: what each balancer remembers (`ServerHistory.to_json`).
            live: the names of the servers that serve now.
            now: seconds since the epoch.
            seconds: how far the figure goes back from now; by default to the beginning of the
                changes that followed each other without two quiet minutes between them.
        """
        rows = list(rows)
        began = [each["began"] for memory in memories for each in memory["servers"]]
        zero = min([now, *began, *(row["wall"] for row in rows)])
        lanes = lanes_of(
            (row for row in rows if row.get("server")), memories, live, model, zero, now - zero
        )
        marks = marks_of((row for row in rows if not row.get("server")), zero)
        made = cls(fleet, model, zero, now - zero, lanes, marks)
        return made.last(seconds)

    def last(self, seconds: float | None = None) -> FleetTimeline:
        """The same, with a figure that goes back that far; see `of`."""
        start = self._lately() if seconds is None else self.end - seconds
        return replace(self, shown_from=max(start, 0.0))

    def _lately(self) -> float:
        """When the changes began that followed each other until the last one."""
        moments = {mark.at for mark in self.marks}
        for lane in self.lanes:
            moments |= {lane.start, *([] if lane.end is None else [lane.end])}
            moments |= {span.start for span in lane.spans}
        found = sorted(moments, reverse=True)
        start = found[0] if found else 0.0
        for moment in found:
            if moment < start - _QUIET_SECONDS:
                break
            start = moment
        return start - _MARGIN_SECONDS

    @property
    def rollouts(self) -> list[Rollout]:
        """The changes of the plan that went through the fleet, oldest first."""
        return rollouts_of(self.marks, self.end)

    @property
    def serving(self) -> list[Lane]:
        """The lanes of the servers that serve now."""
        return [lane for lane in self.lanes if lane.end is None]

    def node_of(self, server: str) -> str:
        """The node of a server; the server's own name if its lane is not known."""
        return next((lane.node for lane in self.lanes if lane.server == server), server)

    def summary(self) -> str:
        """The fleet in one sentence."""
        gone = len(self.lanes) - len(self.serving)
        parts = [f"{_count(len(self.serving), 'server')} serving"]
        parts += [f"{gone} gone"] if gone else []
        ended = [rollout.outcome for rollout in self.rollouts]
        for outcome in ("finished", "taken back", "not ended"):
            if outcome in ended:
                parts.append(f"{_count(ended.count(outcome), 'rollout')} {outcome}")
        sent, failed = (sum(getattr(lane, what) for lane in self.lanes) for what in _COUNTS)
        if sent:
            how = f"{failed:,} failed on a server" if failed else "none failed"
            parts.append(f"{sent:,} requests, {how}")
        when = time.strftime("%H:%M:%S", time.localtime(self.zero + self.end))
        return f"{self.model} on fleet {self.fleet} at {when}: {', '.join(parts)}"

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each state of a version on a server: times in seconds on the axis."""
        import pandas as pd

        rows = [
            (lane.node, lane.server, span.version, span.state, span.start, span.end)
            for lane in self.lanes
            for span in lane.spans
        ]
        return pd.DataFrame(rows, columns=["node", "server", "version", "state", "start", "end"])

    @property
    def steps(self) -> pd.DataFrame:
        """A row for each mark: `at` in seconds on the axis, kind, revision, words."""
        import pandas as pd

        rows = [(mark.at, mark.kind, mark.revision, mark.words) for mark in self.marks]
        frame = pd.DataFrame(rows, columns=["at", "kind", "revision", "words"])
        return frame.astype({"revision": "Int64"})

    def plot(self) -> Picture:
        """The lanes, and the rollouts above them, on one time axis; the steps in words below."""
        return figures(self)

    def to_json(self) -> dict[str, Any]:
        """Plain data, for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FleetTimeline:
        """What `to_json` wrote."""
        lanes = tuple(Lane.from_json(each) for each in data["lanes"])
        marks = tuple(Mark.from_json(each) for each in data["marks"])
        return cls(**{**data, "lanes": lanes, "marks": marks})

    def __str__(self) -> str:
        rows = [("node", "server", "serves", "requests", "failed")]
        for lane in self.lanes:
            row = (lane.node, lane.server, _serves(lane), f"{lane.sent:,}", f"{lane.failed:,}")
            rows.append(row)
        marks = [
            (
                f"{mark.at:.1f} s",
                "" if mark.revision is None else f"revision {mark.revision}",
                mark.words,
            )
            for mark in self.marks
        ]
        return "\n".join([self.summary(), *aligned(rows), *(aligned(marks) if marks else [])])

    def _repr_html_(self) -> str:
        return html_result(f"{self.summary()}.", self.steps, self.plot())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


def _serves(lane: Lane) -> str:
    """The versions that a server serves at the end, in words."""
    if lane.end is not None:
        return f"gone after {lane.end - lane.start:.0f} s"
    last = max((span.end for span in lane.spans), default=0.0)
    now = [s for s in lane.spans if s.end == last]
    return ", ".join(f"{span.version} {span.state.lower()}" for span in now) or "nothing"


_COUNTS = ("sent", "failed")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
