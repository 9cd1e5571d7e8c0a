"""A run of a fleet explorer as plain data for the browser: seconds of virtual time, and
microseconds of latency."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.experiments.fleet.fleet_result import FleetResult, ServerLane
from workbench.experiments.fleet.fleet_server import Phase
from workbench.widgets.fleet_explorer.fleet_scenario import FleetRun
from workbench.widgets.fleet_explorer.fleet_words import policies_sentence, sentence

STEPS = 160
"""Columns of a lane."""
_MOST_BINS, _BIN_REQUESTS = 60, 40
"""Latency over time has so many points, and each is of at least about so many requests."""


def page(run: FleetRun) -> dict[str, Any]:
    """Everything that the browser draws."""
    result, end = run.result, run.span
    at = (np.arange(STEPS) + 0.5) * end / STEPS
    return {
        "choice": run.choice.to_json(),
        "sentence": sentence(run),
        "policiesSentence": policies_sentence(run),
        "requests": len(result.arrived),
        "seconds": end,
        "millis": run.millis,
        "latency": latency_over_time(result, end),
        "lanes": [
            {
                "server": number,
                "queue": lane.outstanding(at).tolist(),
                "spells": [
                    {
                        "phase": spell.phase.value,
                        "start": round(spell.start, 6),
                        "end": round(min(spell.end, end), 6),
                    }
                    for spell in lane.spells
                    if spell.start < min(spell.end, end)
                ],
            }
            for number, lane in enumerate(result.lanes)
            if _was_there(lane, end)
        ],
        "policies": policies(run),
    }


def _was_there(lane: ServerLane, end: float) -> bool:
    return any(each.phase is not Phase.ABSENT and each.start < end for each in lane.spells)


def latency_over_time(result: FleetResult, end: float) -> dict[str, Any]:
    """Percentiles of the requests that came in equal parts of the time; null without an answer. All
    lists are equally long; `at` is the middle of each part."""
    bins = max(1, min(_MOST_BINS, len(result.arrived) // _BIN_REQUESTS))
    place = np.minimum((result.arrived / end * bins).astype(int), bins - 1)
    micros = (result.done - result.arrived) * 1e6
    groups = [micros[result.answered & (place == i)] for i in range(bins)]

    def percentile(level: float) -> list[float | None]:
        return [round(float(np.quantile(each, level))) if len(each) else None for each in groups]

    return {
        "at": ((np.arange(bins) + 0.5) * end / bins).round(6).tolist(),
        "p50": percentile(0.5),
        "p99": percentile(0.99),
        "failed": np.bincount(place[~result.answered], minlength=bins).tolist(),
    }


def policies(run: FleetRun) -> list[dict[str, Any]]:
    """The outcome with each policy."""
    lines = []
    for policy, result in run.comparison.results.items():
        found = result.summary()
        micros = {level: round(1e6 * value) for level, value in found["latency_s"].items()}
        lines.append(
            {
                "policy": policy,
                "p50": micros.get(50.0),
                "p99": micros.get(99.0),
                "longest": found["longest_queue"],
                "failed": found["failed_share"],
            }
        )
    return lines
