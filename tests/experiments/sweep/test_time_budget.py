"""The time of a sweep: where it goes, and when it is enough."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.experiments.sweep.test_point import window
from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.load.measure import Window
from workbench.experiments.sweep.certainty import Goal, latency_intervals, seconds_lacking
from workbench.experiments.sweep.time_budget import Trial, spend


def some(count: int, seed: int, low: float = 0.001) -> Window:
    """A second with `count` requests that are answered one by one in `low` s to twice that."""
    random = np.random.default_rng(seed)
    return window(random.uniform(low, 2 * low, count), batch_of=1)


def trial(rate: float, seconds: float = 4.0) -> Trial:
    return Trial(BatchingParameters(num_batch_threads=2), {"rate": rate}, seconds, 1.0)


@pytest.mark.parametrize("goal", [Goal(), Goal(p99_ms=3.0), Goal(p99_ms=1.5)])
def test_the_seconds_that_are_lacking_are_enough(goal: Goal) -> None:
    begun = [some(150, 0), some(150, 1)]
    lacking = seconds_lacking(begun, goal)
    assert 0 <= lacking < math.inf

    more = [some(150, 10 + i) for i in range(math.ceil(1.3 * lacking))]

    assert goal.is_answer(latency_intervals([*begun, *more], "p99")["p99"])
    assert seconds_lacking([*begun, *more], goal) == 0.0
    half = [*begun, *more[: len(more) // 3]]
    assert lacking < 3 or not goal.is_answer(latency_intervals(half, "p99")["p99"])


def test_what_cannot_be_known_is_infinite() -> None:
    assert seconds_lacking([some(3, 0)], Goal()) == math.inf
    assert seconds_lacking([window(np.empty(0))], Goal()) == math.inf


def test_the_time_that_one_does_not_need_goes_to_those_that_lack_least() -> None:
    """At 5000/s two seconds are plenty; at 100/s four are too few, at 20/s even the rest."""
    many, few, hopeless = trials = [trial(5000.0), trial(100.0), trial(20.0)]
    order: list[float] = []

    def measure(one: Trial) -> None:
        order.append(one.load["rate"])
        one.windows.append(some(round(one.load["rate"]), len(order)))

    first: list[Trial] = []
    spend(trials, Goal(p99_ms=3.0), measure, first.append)

    assert first == trials
    assert order[: len(many.windows)] == [5000.0] * len(many.windows)
    assert sum(len(one.windows) for one in trials) <= 12
    assert many.is_settled(Goal(p99_ms=3.0))
    assert few.is_settled(Goal(p99_ms=3.0))
    assert len(few.windows) > 4
    assert not hopeless.is_settled(Goal(p99_ms=3.0))
    assert len(hopeless.windows) == 4


def test_a_server_that_does_not_keep_up_is_not_measured_to_the_end() -> None:
    overloaded = trial(1000.0, seconds=10.0)

    def measure(one: Trial) -> None:
        answered = some(500, len(one.windows))
        one.windows.append(replace(answered, sent=1000, failures={"rejected": 500}))

    spend([overloaded], Goal(), measure, lambda one: None)

    assert len(overloaded.windows) == 2
