"""Turns the events of a recording into stretches of time: states, gaps, decisions, drains.

Everything here is a function of the events of one model, with a column `at` in seconds on the
recording's axis.
"""

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


# Harness states that events of other kinds than `state` report.
_HARNESS_OF = {
    "load_approved": "load-approved",
    "staging": "staging",
    "staged": "staged",
    "loading": "loading",
    "quiescing": "quiescing",
    "quiesced": "quiesced",
    "unloading": "unloading",
}


def of_model(events: pd.DataFrame, model: str) -> Iterator[dict[str, Any]]:
    """The model's events as dictionaries, oldest first; `data` is a dictionary in each."""
    for event in (
        events[events["model"] == model].sort_values("at", kind="stable").to_dict("records")
    ):
        named = {str(name): value for name, value in event.items()}
        data = named.get("data")
        yield {**named, "data": data if isinstance(data, dict) else {}}


def public_spans(events: pd.DataFrame, model: str, end: float) -> list[Span]:
    """Each version's public states between 0 and `end`."""
    changes = (
        (e["at"], int(e["version"]), e["data"]["state"])
        for e in of_model(events, model)
        if e["kind"] == "state"
    )
    return spans_between(changes, end, last="END")


def harness_spans(events: pd.DataFrame, model: str, end: float) -> list[Span]:
    """Each version's harness states between 0 and `end`: the steps the manager takes."""
    return spans_between(_harness_changes(events, model), end, last="")


def _harness_changes(events: pd.DataFrame, model: str) -> Iterator[tuple[float, int, str]]:
    known: dict[int, str] = {}
    for event in of_model(events, model):
        state = _HARNESS_OF.get(event["kind"])
        if event["kind"] == "decision":
            before = HarnessState(known.get(int(event["version"]), "new"))
            state = begun(Act(event["data"]["act"]), before).value
        elif event["kind"] == "state":
            state = event["data"].get("harness")
        if state is None:
            continue
        version = int(event["version"])
        if known.get(version) != state:
            known[version] = state
            yield event["at"], version, state


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


def resident(spans: list[Span]) -> list[Span]:
    """From the first public state in which a version's worker exists to the last."""
    whole: dict[int, Span] = {}
    merged: list[Span] = []
    for span in spans:
        if span.state == "START":
            continue
        known = whole.get(span.version)
        if known is not None and abs(known.end - span.start) < 1e-9:
            known.end = span.end
        else:
            whole[span.version] = Span(span.version, "resident", span.start, span.end)
            merged.append(whole[span.version])
    return merged


def gaps(events: pd.DataFrame, model: str) -> list[Gap]:
    """When no version was available. The time before the first available one is not a gap."""
    found: list[Gap] = []
    serving: set[int] = set()
    since: float | None = None
    for event in of_model(events, model):
        if event["kind"] != "state":
            continue
        version = int(event["version"])
        if event["data"]["state"] == "AVAILABLE":
            if not serving and since is not None:
                found.append(Gap(float(since), float(event["at"])))
                since = None
            serving.add(version)
        elif version in serving:
            serving.discard(version)
            if not serving:
                since = event["at"]
    if since is not None:
        found.append(Gap(float(since), math.inf))
    return found


def decisions(events: pd.DataFrame, model: str) -> list[Decision]:
    """The policy's decisions, oldest first."""
    return [
        Decision(e["at"], int(e["version"]), e["data"].get("act", ""), e["data"].get("why", ""))
        for e in of_model(events, model)
        if e["kind"] == "decision"
    ]


def warm_ups(events: pd.DataFrame, model: str, end: float) -> list[Span]:
    """When versions ran their warm-up requests."""
    found: dict[int, Span] = {}
    done: list[Span] = []
    for event in of_model(events, model):
        if event["kind"] == "warmup_started":
            version = int(event["version"])
            found[version] = Span(version, "warm-up", event["at"], end)
            done.append(found[version])
        elif event["kind"] == "warmup_finished" and int(event["version"]) in found:
            found.pop(int(event["version"])).end = event["at"]
    return done


def drains(events: pd.DataFrame, model: str, end: float) -> list[Drain]:
    """When versions that were being unloaded answered their last requests."""
    begun: dict[int, tuple[float, int]] = {}
    found: list[Drain] = []
    for event in of_model(events, model):
        if event["kind"] == "quiescing":
            begun[int(event["version"])] = (event["at"], int(event["data"].get("pending", 0)))
        elif event["kind"] == "quiesced" and int(event["version"]) in begun:
            start, pending = begun.pop(int(event["version"]))
            left = int(event["data"].get("unanswered", 0))
            found.append(Drain(int(event["version"]), start, event["at"], pending, left))
    found += [Drain(v, start, end, pending, pending) for v, (start, pending) in begun.items()]
    return found


def releases(events: pd.DataFrame, model: str) -> list[Release]:
    """When held requests were released."""
    return [
        Release(e["at"], e["at"] - float(e["data"].get("seconds", 0.0)), int(e["data"]["requests"]))
        for e in of_model(events, model)
        if e["kind"] == "held_released"
    ]


def wanted_at(events: pd.DataFrame, model: str) -> float:
    """When the wanted versions first changed after the recording began; 0.0 if they never did."""
    for event in of_model(events, model):
        if event["at"] >= 0 and event["kind"] in ("aspired", "unaspired"):
            return float(event["at"])
    return 0.0
