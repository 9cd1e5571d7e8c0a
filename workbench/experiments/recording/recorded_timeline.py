"""Turns the events of a recording into stretches of time: states, gaps, decisions, drains."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.core.versions.policies import Act
from workbench.core.versions.reconcile import begun
from workbench.core.versions.states import HarnessState

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Span:
    """A version was in a state from `start` to `end` (seconds on the recording's axis)."""

    version: int
    state: str
    start: float
    end: float


@dataclass(frozen=True)
class Gap:
    """No version was available from `start` to `end`; `end` is infinite where none came back."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """The gap's length; infinite where no version came back."""
        return self.end - self.start


@dataclass(frozen=True)
class Decision:
    """A decision of the transition policy, with its reason."""

    at: float
    version: int
    act: str
    why: str


@dataclass(frozen=True)
class Drain:
    """From `start` to `end`, a version took no new requests and answered its pending ones.

    Attributes:
        pending: requests at the start; `unanswered`: those left at the end.
    """

    version: int
    start: float
    end: float
    pending: int
    unanswered: int


@dataclass(frozen=True)
class Release:
    """Held requests were released at `at`.

    Attributes:
        since: when the first of them was held; `requests`: their number.
    """

    at: float
    since: float
    requests: int


# Events that report a harness state, by its name with underscores.
_OF_HARNESS = (
    "load_approved", "staging", "staged", "loading", "quiescing", "quiesced", "unloading",
)  # fmt: skip


class RecordedTimeline:
    """Reads stretches of time from the events of one model.

    Attributes:
        events: the server's events, with a column `at` in seconds on the recording's axis.
    """

    model: str
    events: pd.DataFrame

    @property
    def end(self) -> float:
        """When the recording ended, in seconds on the axis."""
        raise NotImplementedError

    def own_events(self, *kinds: str) -> Iterator[dict[Any, Any]]:
        """The model's events of these kinds (by default all), oldest first. In each, `data` is a
        dictionary."""
        mine = self.events[self.events["model"] == self.model].sort_values("at", kind="stable")
        for event in mine.to_dict("records"):
            if not kinds or event["kind"] in kinds:
                data = event.get("data")
                yield {**event, "data": data if isinstance(data, dict) else {}}

    def spans(self) -> list[Span]:
        """Each version's public states over time."""
        changes = (
            (e["at"], int(e["version"]), e["data"]["state"]) for e in self.own_events("state")
        )
        return spans_between(changes, self.end, last="END")

    def harness_spans(self) -> list[Span]:
        """Each version's harness states over time: the steps that the manager takes."""
        return spans_between(self._harness_changes(), self.end, last="")

    def _harness_changes(self) -> Iterator[tuple[float, int, str]]:
        known: dict[int, str] = {}
        for event in self.own_events("state", "decision", *_OF_HARNESS):
            version, state = int(event["version"]), event["kind"].replace("_", "-")
            if event["kind"] == "decision":
                before = HarnessState(known.get(version, "new"))
                state = begun(Act(event["data"]["act"]), before).value
            elif event["kind"] == "state":
                state = event["data"].get("harness")
            if state is not None and known.get(version) != state:
                known[version] = state
                yield event["at"], version, state

    def resident(self) -> list[Span]:
        """For each version, from the first public state in which its worker exists to the last."""
        whole: dict[int, Span] = {}
        merged: list[Span] = []
        for span in self.spans():
            if span.state == "START":
                continue
            known = whole.get(span.version)
            if known is not None and abs(known.end - span.start) < 1e-9:
                known.end = span.end
            else:
                whole[span.version] = Span(span.version, "resident", span.start, span.end)
                merged.append(whole[span.version])
        return merged

    @property
    def gaps(self) -> list[Gap]:
        """When no version was available, from the server's own events. The time before the first
        available one is not a gap."""
        found: list[Gap] = []
        serving: set[int] = set()
        since: float | None = None
        for event in self.own_events("state"):
            version = int(event["version"])
            if event["data"]["state"] == "AVAILABLE":
                if not serving and since is not None:
                    found.append(Gap(since, float(event["at"])))
                    since = None
                serving.add(version)
            elif version in serving:
                serving.discard(version)
                if not serving:
                    since = float(event["at"])
        return found if since is None else [*found, Gap(since, math.inf)]

    def decisions(self) -> list[Decision]:
        """The transition policy's decisions, with times and reasons."""
        return [
            Decision(e["at"], int(e["version"]), e["data"].get("act", ""), e["data"].get("why", ""))
            for e in self.own_events("decision")
            if 0 <= e["at"] <= self.end
        ]

    def warm_ups(self) -> list[Span]:
        """When versions ran their warm-up requests."""
        running: dict[int, Span] = {}
        found: list[Span] = []
        for event in self.own_events("warmup_started", "warmup_finished"):
            version = int(event["version"])
            if event["kind"] == "warmup_started":
                running[version] = Span(version, "warm-up", event["at"], self.end)
                found.append(running[version])
            elif version in running:
                running.pop(version).end = event["at"]
        return found

    def drains(self) -> list[Drain]:
        """When versions that accepted no more requests answered their pending ones."""
        begun: dict[int, tuple[float, int]] = {}
        found: list[Drain] = []
        for event in self.own_events("quiescing", "quiesced"):
            version, data = int(event["version"]), event["data"]
            if event["kind"] == "quiescing":
                begun[version] = (event["at"], int(data.get("pending", 0)))
            elif version in begun:
                left = int(data.get("unanswered", 0))
                start, pending = begun.pop(version)
                found.append(Drain(version, start, event["at"], pending, left))
        return found + [Drain(v, start, self.end, n, n) for v, (start, n) in begun.items()]

    def releases(self) -> list[Release]:
        """When held requests were released."""
        return [
            Release(e["at"], e["at"] - float(data.get("seconds", 0.0)), int(data["requests"]))
            for e in self.own_events("held_released")
            for data in (e["data"],)
        ]

    @property
    def wanted_at(self) -> float:
        """When the wanted versions first changed after the recording began; 0.0 if they never did.
        It is the zero of figures that compare recordings."""
        wanted = (float(e["at"]) for e in self.own_events("aspired", "unaspired") if e["at"] >= 0)
        return next(wanted, 0.0)


def spans_between(changes: Iterable[tuple[float, int, str]], end: float, last: str) -> list[Span]:
    """Spans between 0 and `end`, from changes (time, version, new state), oldest first. A version
    that enters the state `last` has no span from then on."""
    open_spans: dict[int, Span] = {}
    spans: list[Span] = []
    for at, version, state in changes:
        before = open_spans.pop(version, None)
        if before is not None:
            before.end = at
        if state != last:
            open_spans[version] = Span(version, state, at, end)
            spans.append(open_spans[version])
    return [s for s in spans if s.end > 0 and s.start < end]
