"""Brings a change to the servers of a fleet: one first, then the others in steps, or back.

`decide` looks at what the servers report and says what to do next. A server that cannot make the
change keeps what it had, and ends the rollout. A change that can be made may still be bad: after
each step the changed servers are compared for a while with those that have not changed yet, and if
they fail more requests, or answer more slowly, all of them go back.

A comparison must not go back by chance. More failures count only if they exceed what chance makes
of equal servers (`_CHANCE` standard errors; a good change goes back in fewer than 1 of 100
rollouts). Slow answers count only if they are seen in two looks, one after the other, because a
single pause of the machine can double a mean.

It has no clock and changes nothing itself: the caller says what time it is, and carries out what
was decided.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workbench.core.setting_kinds import (
    check_fields,
    check_known,
    number,
    plain_fields,
    setting,
    settings_of,
    whole,
)

_WHAT = "Rollout setting"
_CHANCE = 3.5


@dataclass(frozen=True, slots=True)
class RolloutRule:
    """How fast a change goes through a fleet, and what stops it.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the setting, its value, and the allowed values.
    """

    first: int = setting(1, whole(1), "the servers that change in the first step")
    growth: float = setting(
        2.0, number(1), "after a step, up to this many times as many servers have changed"
    )
    at_once: int = setting(1, whole(1), "the servers of one step that change at the same time")
    look_s: float = setting(
        5.0, number(0, unit="seconds"), "how long changed servers are compared after a step"
    )
    change_s: float = setting(
        600.0,
        number(0, above=True, unit="seconds"),
        "how long a server may take to change before the rollout stops",
    )
    gone_s: float = setting(
        10.0,
        number(0, unit="seconds"),
        "how long a server that reports nothing is waited for before it counts as gone",
    )
    least_requests: int = setting(
        50, whole(1), "a server with fewer requests than this is not judged"
    )
    max_error_share: float = setting(
        0.01,
        number(0, 1),
        "the share of requests that changed servers may fail beyond those that others fail",
    )
    max_latency_ratio: float = setting(
        2.0, number(1), "how many times as long as others changed servers may take to answer"
    )
    latency_floor_s: float = setting(
        0.005, number(0, unit="seconds"), "answers that are quicker than this are never too slow"
    )

    def __post_init__(self) -> None:
        check_fields(self, _WHAT)

    def to_json(self) -> dict[str, Any]:
        """All settings as plain data, for `from_json`."""
        return plain_fields(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RolloutRule:
        """The settings in `data`; those that it leaves out have their defaults."""
        for name in data:
            check_known(name, settings_of(cls), "rollout setting")
        return cls(**data)


@dataclass(frozen=True, slots=True)
class Counts:
    """What a server has answered since some time.

    Attributes:
        answered, failed: requests; `latency_s`: the sum of their times in the server.
    """

    answered: int = 0
    failed: int = 0
    latency_s: float = 0.0

    @property
    def requests(self) -> int:
        """Answered and failed ones."""
        return self.answered + self.failed

    @property
    def error_share(self) -> float:
        """Failed requests of all."""
        return self.failed / self.requests if self.requests else 0.0

    @property
    def mean_s(self) -> float:
        """The mean time of an answered request in the server."""
        return self.latency_s / self.answered if self.answered else 0.0

    def since(self, earlier: Counts) -> Counts:
        """What was added; all of it if the server began to count anew, as for a new version."""
        if self.answered < earlier.answered or self.failed < earlier.failed:
            return self
        return Counts(
            self.answered - earlier.answered,
            self.failed - earlier.failed,
            max(self.latency_s - earlier.latency_s, 0.0),
        )

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.answered + other.answered,
            self.failed + other.failed,
            self.latency_s + other.latency_s,
        )


@dataclass(frozen=True, slots=True)
class ServerReport:
    """One server of the fleet, now.

    Attributes:
        revision: the revision of the plan that it serves.
        refused: the revision that it could not change to, if there is one; `error`: why.
    """

    server: str
    revision: int
    counts: Counts = Counts()
    refused: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class RolloutState:
    """What one decision leaves to the next; `begin` makes the first.

    Attributes:
        target: the revision that is rolled out.
        ordered: the servers that were ordered to change, in that order; `waiting`: those of the
            step that are not yet.
        gone_since_s: since when a server that was ordered reports nothing; None: all report.
        since_s: when the step, or the look after it, began.
        looking: whether the servers of the step have changed and are compared; `looked`: whether
            that is done.
        suspect: whether the last look found slow answers, which a second look must confirm.
        before: the counts of all servers when the rollout began; `begun`: when the look began.
    """

    target: int
    ordered: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    gone_since_s: float | None = None
    since_s: float = 0.0
    looking: bool = False
    looked: bool = False
    suspect: bool = False
    before: Counts = Counts()
    begun: tuple[tuple[str, Counts], ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """Decide again a little later."""

    reason: str


@dataclass(frozen=True, slots=True)
class Change:
    """Order these servers to change, in addition to those that were ordered before."""

    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Looked:
    """The comparison after a step found nothing bad; `finding` says what it found."""

    finding: str


@dataclass(frozen=True, slots=True)
class GoBack:
    """Order all servers back to what they had."""

    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Every server has changed, and none is worse."""


Action = Wait | Change | Looked | GoBack | Finish


def begin(target: int, now_s: float, reports: Sequence[ServerReport]) -> RolloutState:
    """The state of a rollout that begins now."""
    total = sum((report.counts for report in reports), Counts())
    return RolloutState(target, since_s=now_s, before=total)


def decide(
    rule: RolloutRule, state: RolloutState, now_s: float, reports: Sequence[ServerReport]
) -> tuple[Action, RolloutState]:
    """What to do next, and the state for the next decision.

    Args:
        now_s: the time on any clock that does not go back.
        reports: of the servers that run. One that has just started serves what it was started with,
            and changes in a later step.
    """
    there = {report.server: report for report in reports}
    state = _without_gone(rule, state, now_s, there)
    ordered = tuple(server for server in state.ordered if server in there)
    for server in ordered:
        if there[server].refused == state.target:
            return GoBack(f"server {server} could not change: {there[server].error}"), state
    behind = [server for server in ordered if there[server].revision != state.target]
    if behind:
        if now_s - state.since_s > rule.change_s:
            late = f"server {behind[0]} has not changed within {rule.change_s:g} s"
            return GoBack(late), state
        return Wait(f"server {behind[0]} changes"), replace(state, looking=False)
    if state.gone_since_s is not None:
        return Wait("a server reports nothing"), state
    if state.waiting:
        return _order(rule, state, now_s, state.waiting)
    if ordered and not state.looking and not state.looked:
        begun = tuple((server, report.counts) for server, report in there.items())
        state = replace(state, looking=True, since_s=now_s, begun=begun)
    if state.looking:
        return _look(rule, state, now_s, there)
    return _next_step(rule, state, now_s, there)


def _look(
    rule: RolloutRule, state: RolloutState, now_s: float, there: Mapping[str, ServerReport]
) -> tuple[Action, RolloutState]:
    """Compare the changed servers with the others, until the look is over."""
    comparison = _compared(rule, state, there)
    if comparison.failing:
        return GoBack(f"the changed servers fail more requests: {comparison.finding}"), state
    if now_s - state.since_s < rule.look_s:
        return Wait(f"comparing: {comparison.finding}"), state
    if comparison.slow and state.suspect:
        return GoBack(f"the changed servers answer more slowly: {comparison.finding}"), state
    if comparison.slow:
        again = replace(state, looking=False, suspect=True)
        return Wait(f"slow, so looking again: {comparison.finding}"), again
    return Looked(comparison.finding), replace(state, looking=False, looked=True, suspect=False)


def _next_step(
    rule: RolloutRule, state: RolloutState, now_s: float, there: Mapping[str, ServerReport]
) -> tuple[Action, RolloutState]:
    """Order the next servers to change; none is left when every one has."""
    left = [server for server in there if server not in state.ordered]
    # One that has the target already, because its whole fleet was started again, needs no order.
    left = [server for server in left if there[server].revision != state.target]
    if not left:
        return (Finish() if there else Wait("no server runs")), state
    done = len(state.ordered)
    count = rule.first if not done else max(1, int(done * rule.growth) - done)
    return _order(rule, state, now_s, tuple(left[:count]))


def _order(
    rule: RolloutRule, state: RolloutState, now_s: float, step: tuple[str, ...]
) -> tuple[Action, RolloutState]:
    """Order as many servers of the step as may change at the same time."""
    now, later = step[: rule.at_once], step[rule.at_once :]
    ordered = state.ordered + now
    return Change(now), replace(
        state, ordered=ordered, waiting=later, since_s=now_s, looking=False, looked=False
    )


def _without_gone(
    rule: RolloutRule, state: RolloutState, now_s: float, there: Mapping[str, ServerReport]
) -> RolloutState:
    """The state without servers that have ended."""
    waiting = tuple(server for server in state.waiting if server in there)
    if all(server in there for server in state.ordered):
        return replace(state, waiting=waiting, gone_since_s=None)
    since = now_s if state.gone_since_s is None else state.gone_since_s
    if now_s - since < rule.gone_s:
        return replace(state, waiting=waiting, gone_since_s=since)
    ordered = tuple(server for server in state.ordered if server in there)
    return replace(state, ordered=ordered, waiting=waiting, gone_since_s=None)


@dataclass(frozen=True, slots=True)
class _Comparison:
    """What was compared, in words, and whether the changed servers are worse."""

    finding: str
    failing: bool = False
    slow: bool = False


def _compared(
    rule: RolloutRule, state: RolloutState, there: Mapping[str, ServerReport]
) -> _Comparison:
    """Changed servers against the others since the look began; against all servers before the
    rollout if the others get too few requests."""
    begun = dict(state.begun)
    new = old = Counts()
    for server, report in there.items():
        counts = report.counts.since(begun.get(server, Counts()))
        if server in state.ordered:
            new += counts
        else:
            old += counts
    against = "the others"
    if old.requests < rule.least_requests:
        old, against = state.before, "all servers before"
    if new.requests < rule.least_requests:
        return _Comparison(f"{new.requests} requests, too few to judge")
    finding = (
        f"{new.requests} requests, {new.error_share:.1%} failed ({against}: {old.error_share:.1%}),"
        f" {new.mean_s * 1e3:.1f} ms ({old.mean_s * 1e3:.1f} ms)"
    )
    beyond = new.error_share - old.error_share - rule.max_error_share
    error = math.sqrt(_variance(new) + _variance(old))
    slow = max(old.mean_s * rule.max_latency_ratio, rule.latency_floor_s)
    known = old.answered >= rule.least_requests
    return _Comparison(finding, beyond > _CHANCE * error, known and new.mean_s > slow)


def _variance(counts: Counts) -> float:
    """Of the share of failed requests; one more failed and one more answered request keep it above
    zero where all were alike."""
    share = (counts.failed + 1) / (counts.requests + 2)
    return share * (1 - share) / (counts.requests + 2)
