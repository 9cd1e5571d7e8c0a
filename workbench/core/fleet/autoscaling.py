"""How many servers a fleet needs: one decision, taken again and again.

`decide` compares what the servers report with a `ScalingRule`. It has no clock and starts nothing:
the caller says what time it is, and starts or stops servers until as many run as are wanted. The
deployment and the simulator of a fleet both call it.

A fleet *flaps* when it grows and shrinks in turns although the load stays the same. Three things
make it flap, and each has its rule here:

* **A server that starts takes processor time from those that serve.** So queues grow and rejections
  appear *because* the fleet grows. While servers start, only the rate of arrivals can ask for more,
  because it does not depend on how fast the servers are; and nothing shrinks.
* **A short lull looks like a low load.** A fleet shrinks only when fewer servers would have been
  enough all the time for `down_cooldown_s`, and with room to spare (`down_share`).
* **An empty queue does not say that fewer servers would be enough.** So the rate at which servers
  were last overloaded is remembered, and the fleet does not shrink to where each would get that
  much again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from workbench.core.setting_kinds import (
    check_fields,
    number,
    optional,
    plain_fields,
    read_fields,
    setting,
    whole,
)
from workbench.core.status import invalid_argument

_WHAT = "Scaling setting"
_MOST_SERVERS = 10_000
_MOST_GROWTH = 2
"""A queue says that there are too few servers, but hardly how many are missing: it at most doubles
them."""


@dataclass(frozen=True, slots=True)
class ScalingRule:
    """When a fleet gets more servers, and when fewer.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the setting, its value, and the allowed values.
    """

    min_servers: int = setting(1, whole(1, _MOST_SERVERS), "the fewest servers")
    max_servers: int = setting(4, whole(1, _MOST_SERVERS), "the most servers")
    target_rate: float | None = setting(
        None,
        optional(number(0, above=True, unit="requests/s"), "to ignore the rate"),
        "the requests per second that each server should get",
    )
    target_queued: float = setting(
        16.0,
        number(0, above=True, unit="requests"),
        "the requests that may wait in each server; more waiting requests add servers",
    )
    down_share: float = setting(
        0.7,
        number(0, 1, above=True),
        "servers are removed only if the others then get at most this share of their targets",
    )
    up_cooldown_s: float = setting(
        5.0,
        number(0, unit="seconds"),
        "the pause between two growths, and the time that new servers get to empty the queues; "
        "rejected requests add a server without it",
    )
    down_cooldown_s: float = setting(
        60.0,
        number(0, unit="seconds"),
        "how long fewer servers must have been enough before any is removed",
    )
    start_patience_s: float = setting(
        120.0,
        number(0, unit="seconds"),
        "how long servers that start hold back other decisions; a server that takes longer counts "
        "as stuck",
    )

    def __post_init__(self) -> None:
        check_fields(self, _WHAT)
        if self.min_servers > self.max_servers:
            raise invalid_argument(
                "min_servers must not be larger than max_servers; they were "
                f"{self.min_servers} and {self.max_servers}"
            )

    def to_json(self) -> dict[str, Any]:
        """All settings as plain data, for `from_json`."""
        return plain_fields(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ScalingRule:
        """The settings in `data`; those that it leaves out have their defaults.

        Raises:
            ServingError: INVALID_ARGUMENT, for an unknown name or a value that is not allowed.
        """
        return read_fields(cls, data, "scaling setting")


@dataclass(frozen=True, slots=True)
class FleetLoad:
    """What the servers of a fleet report together, since the last decision.

    Attributes:
        ready: servers that serve.
        starting: servers that were started and do not serve yet.
        queued: requests that wait in the servers' queues.
        requests_per_s: requests that arrived, rejected ones included.
        rejected_per_s: requests that found a queue full.
    """

    ready: int
    starting: int = 0
    queued: float = 0.0
    requests_per_s: float = 0.0
    rejected_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ScalingState:
    """What one decision leaves to the next.

    Attributes:
        wanted: servers wanted at the last decision; before the first one, those that run.
        reason: why the last decision changed that number; empty: it did not.
        grown_at_s: when the fleet last grew.
        unsettled_since_s: since when servers that are wanted do not serve yet; None: all serve.
        unsettled_until_s: the last decision at which servers did not serve yet.
        roomy_since_s: since when fewer servers would have been enough; None: they are not.
        roomy_servers: the most servers needed since then.
        overload_rate: the requests per second for each server at which the fleet was last
            overloaded; None: it never was.
    """

    wanted: int
    reason: str = ""
    grown_at_s: float | None = None
    unsettled_since_s: float | None = None
    unsettled_until_s: float | None = None
    roomy_since_s: float | None = None
    roomy_servers: int = 0
    overload_rate: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data, for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ScalingState:
        """The state that `to_json` wrote."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})


def decide(
    rule: ScalingRule, state: ScalingState, now_s: float, load: FleetLoad
) -> tuple[int, ScalingState]:
    """The number of servers wanted from now on, and the state for the next decision.

    Args:
        now_s: the time on any clock that does not go back.
    """
    state, settled = _settled(rule, state, now_s, load)
    overloaded = settled and _is_overloaded(rule, load)
    state = _learned(state, load, overloaded, settled)
    wanted, reason = _grown(rule, state, now_s, load, overloaded)
    if wanted > state.wanted:
        return wanted, replace(
            state, wanted=wanted, reason=reason, grown_at_s=now_s, roomy_since_s=None
        )
    state = _shrunk(rule, state, now_s, load, settled and not overloaded)
    return state.wanted, state


_REJECTED, _QUEUE, _RATE, _LOW = "requests rejected", "queue", "rate", "low load"


def _settled(
    rule: ScalingRule, state: ScalingState, now_s: float, load: FleetLoad
) -> tuple[ScalingState, bool]:
    """Whether all servers that are wanted have served since the last decision."""
    wanted = _within(rule, state.wanted)
    state = replace(state, wanted=wanted, reason="")
    since = state.unsettled_since_s
    if load.starting == 0 and load.ready >= wanted:
        # What was reported since the last decision may still come from the time of the start.
        return replace(state, unsettled_since_s=None), since is None
    since = now_s if since is None else since
    stuck = now_s - since >= rule.start_patience_s
    until = state.unsettled_until_s if stuck else now_s
    return replace(state, unsettled_since_s=since, unsettled_until_s=until), stuck


def _is_overloaded(rule: ScalingRule, load: FleetLoad) -> bool:
    return load.rejected_per_s > 0 or load.queued > rule.target_queued * load.ready


def _learned(state: ScalingState, load: FleetLoad, overloaded: bool, settled: bool) -> ScalingState:
    """What this load says about the rate that a server can take."""
    each, known = load.requests_per_s / max(load.ready, 1), state.overload_rate
    if overloaded:
        return replace(state, overload_rate=each)
    # Servers that take more without an overload have become faster.
    return replace(state, overload_rate=each) if settled and known and each > known else state


def _grown(
    rule: ScalingRule, state: ScalingState, now_s: float, load: FleetLoad, overloaded: bool
) -> tuple[int, str]:
    """As many servers as the load asks for now, and why."""
    asked = [(state.wanted, "")]
    if overloaded and load.rejected_per_s > 0:
        asked.append((state.wanted + 1, _REJECTED))
    pause = rule.up_cooldown_s
    if overloaded and _passed(pause, now_s, state.grown_at_s, state.unsettled_until_s):
        queue = math.ceil(load.queued / rule.target_queued)
        asked.append((min(queue, _MOST_GROWTH * state.wanted), _QUEUE))
    if rule.target_rate is not None and _passed(pause, now_s, state.grown_at_s):
        asked.append((math.ceil(load.requests_per_s / rule.target_rate), _RATE))
    wanted, reason = max(asked, key=lambda each: each[0])
    return _within(rule, wanted), reason


def _passed(pause_s: float, now_s: float, *events_s: float | None) -> bool:
    """Whether each of these events, if it has happened, was at least `pause_s` ago."""
    return all(at is None or now_s - at >= pause_s for at in events_s)


def _shrunk(
    rule: ScalingRule, state: ScalingState, now_s: float, load: FleetLoad, calm: bool
) -> ScalingState:
    """Fewer servers are wanted if they would have been enough for long."""
    needed = _within(rule, _needed(rule, state, load))
    if not calm or needed >= state.wanted:
        return replace(state, roomy_since_s=None)
    since = state.roomy_since_s
    if since is None:
        since, most = now_s, needed
    else:
        most = max(state.roomy_servers, needed)
    if now_s - since < rule.down_cooldown_s:
        return replace(state, roomy_since_s=since, roomy_servers=most)
    return replace(state, wanted=most, reason=_LOW, roomy_since_s=None)


def _needed(rule: ScalingRule, state: ScalingState, load: FleetLoad) -> int:
    """The fewest servers that would each get at most `down_share` of what a server may get."""
    needed = load.queued / (rule.target_queued * rule.down_share)
    for rate in (rule.target_rate, state.overload_rate):
        if rate:
            needed = max(needed, load.requests_per_s / (rate * rule.down_share))
    return math.ceil(needed)


def _within(rule: ScalingRule, servers: int) -> int:
    return min(max(servers, rule.min_servers), rule.max_servers)
