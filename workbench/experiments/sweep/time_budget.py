"""Spends a limited time of load on several settings, where it decides most.

Each setting is a trial. First every trial is measured until it has its answer or its own time is
over. The time that was not needed then goes to those that lack the least for an answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.load.measure import Window
from workbench.experiments.sweep.certainty import Goal, latency_intervals, seconds_lacking
from workbench.experiments.sweep.point import STABLE, condition

SURE_SECONDS = 2.0
"""After this much load, a server that does not keep up, or fails, is not measured further."""
_ROUNDING = 1e-9


@dataclass(eq=False)
class Trial:
    """One setting under one load.

    Attributes:
        load: ``{"rate": ...}`` or ``{"clients": ...}``, a second.
        seconds: the load that it has at first, at most; `window_seconds`: of each window.
        windows: those measured so far.
    """

    parameters: BatchingParameters
    load: Mapping[str, float]
    seconds: float
    window_seconds: float
    windows: list[Window] = field(default_factory=list)

    @property
    def loaded(self) -> float:
        """The seconds of load so far."""
        return sum(window.seconds for window in self.windows)

    def is_settled(self, goal: Goal) -> bool:
        """Whether more load would not change the answer."""
        if not self.windows:
            return False
        if condition(self.load, self.windows) != STABLE:
            return self.loaded >= min(SURE_SECONDS, self.seconds) - _ROUNDING
        found = latency_intervals(self.windows, "p99")
        return "p99" in found and goal.is_reached(found["p99"])

    def lacks(self, goal: Goal) -> float:
        """The seconds that an answer lacks, in whole windows; see `seconds_lacking`."""
        if self.is_settled(goal):
            return 0.0
        seconds = seconds_lacking(self.windows, goal)
        if math.isinf(seconds):
            return math.inf
        return math.ceil(seconds / self.window_seconds - _ROUNDING) * self.window_seconds


def spend(
    trials: Sequence[Trial],
    goal: Goal,
    measure: Callable[[Trial], None],
    on_first: Callable[[Trial], None],
) -> None:
    """Measure all trials within the sum of their seconds.

    Args:
        measure: adds a window to a trial.
        on_first: called when a trial's own time is over, or it has its answer.
    """
    for trial in trials:
        while not trial.is_settled(goal) and _has_time(trial, trial.seconds - trial.loaded):
            measure(trial)
        on_first(trial)
    while True:
        left = sum(trial.seconds - trial.loaded for trial in trials)
        lacking = {trial: trial.lacks(goal) for trial in trials}
        soon = [t for t, lacks in lacking.items() if 0 < lacks <= left and _has_time(t, left)]
        if not soon:
            return
        measure(min(soon, key=lacking.__getitem__))


def _has_time(trial: Trial, seconds: float) -> bool:
    return seconds >= trial.window_seconds - _ROUNDING
