"""The decision of a tuning, asked again and again of a simulated server."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from tests.experiments.tuning.simulated import calibration, noisy, window
from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.sweep.certainty import Goal
from workbench.experiments.sweep.time_budget import Trial
from workbench.experiments.tuning.candidates import candidates, rank, shortlist
from workbench.experiments.tuning.tune import meets as answer_of
from workbench.experiments.tuning.tune import verify_in_turn

TRUE = calibration()
BASE = BatchingParameters(num_batch_threads=2)
SECONDS = 40
MOST_WRONG = 0.05
"""The stated rate of wrong answers, and of answers that differ from the usual one."""


def tuned(seed: int, p99_ms: float, rate: float) -> tuple[bool | None, BatchingParameters]:
    """The answer and the setting of a whole tuning, with its own calibration and arrivals."""
    found = candidates(BASE, noisy(TRUE, seed), p99_ms, rate, seed)
    chosen = shortlist(rank(found, p99_ms), 3)
    trials = [Trial(each.parameters, {"rate": rate}, SECONDS, 1.0) for each in chosen]
    goal = Goal(p99_ms=p99_ms)
    measured = 0

    def measure(trial: Trial) -> None:
        nonlocal measured
        number = 1000 * seed + len(trial.windows)
        trial.windows.append(window(TRUE, trial.parameters, trial.load, 1.0, number))
        measured += 1

    verify_in_turn(trials, goal, measure, lambda: float(SECONDS - measured))
    answers = [answer_of(trial, goal) for trial in trials]
    for wanted in (True, None):
        if wanted in answers:
            return wanted, trials[answers.index(wanted)].parameters
    return False, trials[0].parameters


def true_p99_ms(parameters: BatchingParameters, rate: float) -> float:
    """From a long run; infinite if requests are rejected."""
    long = window(TRUE, parameters, {"rate": rate}, 200.0, seed=999)
    return math.inf if long.failures else float(np.quantile(long.latency, 0.99)) * 1e3


@pytest.mark.parametrize(
    ("p99_ms", "rate", "expected", "runs"),
    [
        (8, 2500, True, 3),
        (20, 100, True, 3),
        (1.1, 500, False, 3),
        (20, 30_000, False, 3),
        pytest.param(20, 500, True, 100, marks=[pytest.mark.slow, pytest.mark.timeout(400)]),
    ],
)
def test_the_answer_is_right_and_the_same_when_asked_again(
    p99_ms: float, rate: float, expected: bool, runs: int
) -> None:
    answers = [tuned(seed, p99_ms, rate) for seed in range(runs)]

    wrong = sum(answer is not expected for answer, _ in answers)
    assert wrong <= MOST_WRONG * runs
    if expected:
        settings = Counter(parameters for _, parameters in answers)
        usual, times = settings.most_common(1)[0]
        assert times >= (1 - MOST_WRONG) * runs
        assert true_p99_ms(usual, rate) <= p99_ms


def test_a_setting_that_rejects_never_meets_a_latency() -> None:
    goal = Goal(p99_ms=1000)
    small = BatchingParameters(max_batch_size=1, max_enqueued_batches=1, num_batch_threads=2)
    trial = Trial(small, {"rate": 1200.0}, 10, 1.0)
    for seed in range(8):
        trial.windows.append(window(TRUE, small, trial.load, 1.0, seed))

    assert sum(each.failures["rejected"] for each in trial.windows) > 0
    assert answer_of(trial, goal) is False


def test_no_two_settings_that_are_the_same_are_verified() -> None:
    found = candidates(BASE, TRUE, 20, 100, 0)

    alone = [each for each in found if each.parameters.max_batch_size == 1]
    assert [each.parameters.batch_timeout_micros for each in alone] == [0]
    assert len({each.parameters for each in found}) == len(found)
    # The queue holds a second of requests, whatever the size of batches.
    assert all(
        c.parameters.max_enqueued_batches * c.parameters.max_batch_size >= 100 for c in found
    )
