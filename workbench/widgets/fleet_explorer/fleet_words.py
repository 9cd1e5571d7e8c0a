"""A run of a fleet explorer in a sentence, from its figures."""

from __future__ import annotations

import numpy as np

from workbench.experiments.fleet.fleet_outcomes import Outcome
from workbench.experiments.fleet.fleet_result import FleetResult
from workbench.widgets.fleet_explorer.fleet_scenario import (
    CHANGE_AT,
    LOST_AT,
    LOST_FOR,
    SLOWER_BY,
    FleetRun,
)

_WARM = 0.1
"""A run begins with empty servers; so much of it is not compared with."""
_LONGER = 1.5
"""Queues grow if they become this many times as long, and by a request for each server."""
_POINTS = 40
_MOST_COUNTS = 8

Share = tuple[float, float]
"""A part of the run, as shares of its time."""


def sentence(run: FleetRun) -> str:
    """What happened to the fleet, to its queues and to the requests."""
    happened = _HAPPENED[run.choice.event](run)
    return f"{happened[0].upper()}{happened[1:]}{_failed(run.result)}."


def policies_sentence(run: FleetRun) -> str:
    """Which policy has the lowest 99th percentile, and which the highest."""
    found = {
        policy.replace("_", " "): result.summary()["latency_s"].get(99.0)
        for policy, result in run.comparison.results.items()
    }
    times = {policy: p99 for policy, p99 in found.items() if p99 is not None}
    if not times:
        return "No policy gets an answer."
    best, worst = min(times, key=times.__getitem__), max(times, key=times.__getitem__)
    if f"{times[best]:.2g}" == f"{times[worst]:.2g}":
        return f"The policies do not differ: p99 is {millis_text(times[best])}."
    return (
        f"Lowest p99: {best}, {millis_text(times[best])}. "
        f"Highest: {worst}, {millis_text(times[worst])}."
    )


def millis_text(seconds: float | None) -> str:
    """12 ms; a dash without a time."""
    return "–" if seconds is None else f"{seconds * 1e3:.3g} ms"


def _nothing(run: FleetRun) -> str:
    servers = run.choice.servers
    offered = _times(run.offered(servers))
    if servers == 1:
        return f"the server is offered {offered} what it can answer; {_of_all(run)}"
    return f"the {servers} servers are offered {offered} what they can answer; {_of_all(run)}"


def _loss(run: FleetRun) -> str:
    left = run.choice.servers - 1
    if left == 0:
        return "the only server is lost, and nothing answers until it is back"
    away = (LOST_AT, LOST_AT + LOST_FOR)
    return (
        f"with {left} of {run.choice.servers} servers the fleet is offered "
        f"{_times(run.offered(left))} what it can answer; "
        f"{_queues(run, away)}"
    )


def _smooth(run: FleetRun) -> str:
    serving = run.choice.servers - 1 + 1 / SLOWER_BY
    return (
        "while one server after the other loads the new version and is "
        f"{SLOWER_BY:g} times slower, the fleet is offered {_times(run.offered(serving))} what it "
        f"can answer; {_p99(run)}"
    )


def _unload_first(run: FleetRun) -> str:
    left = run.choice.servers - 1
    if left == 0:
        return "the only server is away while it changes its version, and nothing answers"
    return (
        f"with {left} of {run.choice.servers} servers while one changes its version, the fleet is "
        f"offered {_times(run.offered(left))} what it can answer; {_p99(run)}"
    )


def _autoscaling(run: FleetRun) -> str:
    (_, first, _), *changes = run.result.wanted
    rate = f"the rate falls from {run.choice.rate:,.0f}/s to a quarter at half-time"
    if not changes:
        return f"{rate}, and the autoscaler leaves the fleet at {_servers(first)}"
    shown = changes[:_MOST_COUNTS]
    steps = [f"{servers} ({why})" for _, servers, why in shown]
    steps += ["…"] * (len(changes) > len(shown))
    return f"{rate}; the autoscaler goes from {_servers(first)} to {', to '.join(steps)}"


_HAPPENED = {
    "nothing": _nothing,
    "loss": _loss,
    "smooth": _smooth,
    "unload_first": _unload_first,
    "autoscaling": _autoscaling,
}


def _times(share: float) -> str:
    return f"{share:.2g} times"


def _servers(count: int) -> str:
    return "1 server" if count == 1 else f"{count} servers"


def held(run: FleetRun, part: Share) -> float:
    """The mean number of requests in all servers during a part of the run."""
    at = np.linspace(*part, _POINTS) * run.span
    return float(sum(lane.outstanding(at).mean() for lane in run.result.lanes))


def _queues(run: FleetRun, part: Share) -> str:
    """What the queues do while a server is lost."""
    start, end = part
    before = held(run, (min(_WARM, start / 2), start))
    after = held(run, (end - 0.2 * (end - start), end))
    grow = after > _LONGER * before + run.choice.servers
    how = "grow" if grow else "overflow" if _rejects(run, part) else "do not grow"
    return (
        f"queues {how} until the lost server is back ({before:.0f} requests in all before, "
        f"{after:.0f} then)"
    )


def _of_all(run: FleetRun) -> str:
    """What the queues do during the whole run."""
    early, late = held(run, (_WARM, 0.3)), held(run, (0.8, 1.0))
    if late > _LONGER * early + run.choice.servers:
        return f"queues grow all the time, from {early:.0f} to {late:.0f} requests in all"
    p99 = millis_text(run.result.summary()["latency_s"].get(99.0))
    how = "overflow" if _rejects(run, (_WARM, 1.0)) else "do not grow"
    return f"queues {how}, and p99 is {p99}"


def _rejects(run: FleetRun, part: Share) -> bool:
    """Whether a server rejects requests that come during a part of the run."""
    arrived, (start, end) = run.result.arrived / run.span, part
    rejected = run.result.outcome == Outcome.REJECTED
    return bool((rejected & (arrived >= start) & (arrived <= end)).any())


def _p99(run: FleetRun) -> str:
    """The 99th percentile before the change and during it."""
    result = run.result
    ends = [
        spell.end
        for lane in result.lanes
        for spell in lane.spells
        if spell.phase.value in ("slower", "draining", "away")
    ]
    until = min(max(ends, default=run.span), run.span)
    begun = CHANGE_AT * run.span
    before = _p99_between(result, _WARM * run.span, begun)
    during = _p99_between(result, begun, until)
    return f"p99 is {millis_text(before)} before the change and {millis_text(during)} during it"


def _p99_between(result: FleetResult, start: float, end: float) -> float | None:
    arrived = result.arrived[result.answered]
    latency = result.latency[(arrived >= start) & (arrived < end)]
    return float(np.quantile(latency, 0.99)) if len(latency) else None


def _failed(result: FleetResult) -> str:
    """The requests that failed, by how."""
    counts = {words: n for words, n in result.outcome_counts.items() if words != "answered"}
    if not counts:
        return "; no request fails"
    parts = ", ".join(f"{count:,} {words}" for words, count in counts.items())
    return f"; {sum(counts.values()):,} of {len(result.arrived):,} requests fail ({parts})"
