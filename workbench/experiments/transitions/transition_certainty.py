"""How well the runs of one policy tell what it costs, and how many more it would take."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from workbench.experiments.transitions.transition_run import GAP, SERVES, Run
from workbench.experiments.versions.agreement import median_interval
from workbench.load.intervals import quantile_interval

LEAST_RUNS = 5
"""With fewer, no interval holds at every look, and nothing says how the runs vary."""
_MOST_RUNS = 1000
_WORDS = {GAP: ("the gap", "ms"), SERVES: ("the time until the new version serves", "s")}


def deciding(runs: Sequence[Run]) -> tuple[str, list[float]]:
    """The measure that decides about a policy, and its value in each run: the gap, or without gaps
    the time until the new version serves."""
    gaps = [run.figures[GAP] for run in runs]
    if max(gaps) > 0:
        return GAP, gaps
    return SERVES, [run.figures[SERVES] for run in runs]


def is_certain(runs: Sequence[Run], precision: float) -> bool:
    """Whether the median of the deciding measure is known within `precision` (0.1 is 10 %). May be
    checked after each run: the interval holds at every look (`load.intervals.quantile_interval`).
    """
    if not runs:
        return False
    _, values = deciding(runs)
    return all(map(math.isfinite, values)) and not _is_wide(values, precision)


def runs_needed(values: Sequence[float], precision: float) -> int | None:
    """About how many runs in all would be certain, if further ones vary as these do. None if these
    are too few to say, or more than 1000 would be needed."""
    if len(values) < LEAST_RUNS:
        return None

    def too_few(count: int) -> bool:
        # So many values that are spread as these are.
        return _is_wide(np.quantile(values, (np.arange(count) + 0.5) / count), precision)

    low = high = len(values)
    while too_few(high):
        low, high = high, 2 * high
        if high > _MOST_RUNS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if too_few(middle) else (low, middle)
    return high


def verdict(runs: Sequence[Run], precision: float) -> str:
    """What is known of the policy of these runs, in a clause that begins with ``certain`` or ``not
    certain``."""
    measure, values = deciding(runs)
    what, unit = _WORDS[measure]
    count = len(values)
    never = sum(not math.isfinite(value) for value in values)
    if never:
        return f"not certain, as in {never} of {count} runs the new version never served"
    if is_certain(runs, precision):
        return f"certain, {what} is known within {precision:.0%}"
    found = median_interval(values)
    low, high = f"{found.low:.3g}", f"{found.high:.3g}"
    known = f"{low} {unit}" if low == high else f"{low} to {high} {unit}"
    said = f"not certain after {_runs(count)}, {what} is {known} so far"
    if count < LEAST_RUNS:
        return said
    needed = runs_needed(values, precision)
    if needed is None:
        return f"{said}, and it varies too much to be known within {precision:.0%}"
    return f"{said}, and about {_runs(needed - count)} more would tell it within {precision:.0%}"


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _is_wide(values: Sequence[float] | np.ndarray, precision: float) -> bool:
    return quantile_interval(values, 0.5).relative_width > 2 * precision
