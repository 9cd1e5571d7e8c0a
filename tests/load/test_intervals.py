"""Intervals: exact values where there are any, and coverage as promised where not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.load.intervals import Interval, quantile_interval

LOOKS = (50, 100, 150, 200, 300, 400, 600, 800, 1200, 1600)


def shared_fate(seed: int, batches: int, size: int) -> NDArray[np.float64]:
    """Latencies of full batches: all requests of a batch wait for the same executor."""
    random = np.random.default_rng(seed)
    values = np.repeat(random.exponential(size=batches), size)
    return values + random.uniform(0, 0.001, len(values))


def misses(intervals: list[Interval], truth: float) -> bool:
    return any(not each.low <= truth <= each.high for each in intervals)


@pytest.mark.parametrize("quantile", [0.5, 0.9])
def test_error_rate_over_all_looks_is_below_alpha(quantile: float) -> None:
    truth = -math.log(1 - quantile)
    runs = [np.random.default_rng(seed).exponential(size=LOOKS[-1]) for seed in range(300)]
    wrong = sum(
        misses([quantile_interval(run[:n], quantile, confidence=0.8) for n in LOOKS], truth)
        for run in runs
    )
    assert wrong / len(runs) <= 0.2
    # The usual interval for one look, at the same looks, is wrong far more often.
    z = 1.2816
    usual_wrong = 0
    for run in runs:
        bounds = []
        for n in LOOKS:
            ranked = np.sort(run[:n])
            half = z * math.sqrt(n * quantile * (1 - quantile))
            low, high = math.floor(n * quantile - half), math.ceil(n * quantile + half)
            bounds.append(Interval(ranked[low - 1], 0, ranked[min(high, n) - 1], 0.8))
        usual_wrong += misses(bounds, truth)
    assert usual_wrong / len(runs) > 0.3


def test_batches_are_the_unit() -> None:
    size, quantile = 20, 0.9
    truth = -math.log(1 - quantile)
    looks = [25, 50, 100, 200]
    blind, aware = 0, 0
    for seed in range(100):
        values = shared_fate(seed, looks[-1], size)
        of_batch = np.repeat(np.arange(looks[-1]), size)
        blind += misses(
            [quantile_interval(values[: n * size], quantile, confidence=0.9) for n in looks], truth
        )
        aware += misses(
            [
                quantile_interval(
                    values[: n * size],
                    quantile,
                    confidence=0.9,
                    batches=of_batch[: n * size],
                    max_batch=size,
                )
                for n in looks
            ],
            truth,
        )
    assert aware / 100 <= 0.1
    assert blind / 100 > 0.4


def test_independent_requests_in_batches_cost_little() -> None:
    """The bets learn how much the requests of a batch have in common."""
    values = np.random.default_rng(3).exponential(size=20_000)
    plain = quantile_interval(values, 0.5)
    batched = quantile_interval(values, 0.5, batches=np.arange(20_000) // 10, max_batch=10)
    assert batched.estimate == plain.estimate
    assert batched.high - batched.low < 1.4 * (plain.high - plain.low)


def test_batches_of_one_are_independent_values() -> None:
    values = np.random.default_rng(3).exponential(size=500)
    assert quantile_interval(values, 0.9, batches=np.arange(500)) == quantile_interval(values, 0.9)


def test_intervals_shrink_and_contain_their_estimate() -> None:
    values = np.random.default_rng(4).exponential(size=40_000)
    seen = [quantile_interval(values[:n], 0.99) for n in (100, 1000, 10_000, 40_000)]
    assert not seen[0].bounded
    assert all(each.low <= each.estimate <= each.high for each in seen)
    widths = [each.relative_width for each in seen]
    assert widths == sorted(widths, reverse=True)
    assert seen[0].relative_width == math.inf
    assert seen[-1].relative_width < 0.1


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert quantile_interval(np.full(2000, 7.0), 0.5) == Interval(7, 7, 7, 0.95)
    assert quantile_interval([7.0], 0.5) == Interval(-math.inf, 7, math.inf, 0.95)


def test_order_does_not_matter() -> None:
    random = np.random.default_rng(5)
    values = shared_fate(5, 100, 5)
    of_batch = np.repeat(np.arange(100), 5)
    shuffled = random.permutation(500)
    assert quantile_interval(
        values[shuffled], 0.8, batches=of_batch[shuffled], max_batch=5
    ) == quantile_interval(values, 0.8, batches=of_batch, max_batch=5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: quantile_interval([], 0.5), "there are no values"),
        (lambda: quantile_interval([1.0], 1.0), "quantile must be between 0 and 1; was 1.0"),
        (
            lambda: quantile_interval([1.0], 0.5, confidence=1),
            "confidence must be between 0 and 1; was 1",
        ),
        (
            lambda: quantile_interval([1.0, 2.0], 0.5, batches=[0, 0]),
            "a batch holds 2 values, more than max_batch=1",
        ),
    ],
)
def test_what_cannot_be_worked_out(call: object, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        call()  # type: ignore[operator]
    assert str(raised.value) == message
