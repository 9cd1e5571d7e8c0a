"""Intervals: exact values where there are any, and coverage as promised where not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.load.intervals import (
    Interval,
    batch_bootstrap,
    needed_samples,
    proportion_interval,
    quantile_interval,
    rate_interval,
)

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


def test_bootstrap_covers_with_batches_and_not_without() -> None:
    aware, blind = 0, 0
    for seed in range(100):
        values = shared_fate(seed, 60, 20)
        for name, batches in (("aware", np.repeat(np.arange(60), 20)), ("blind", np.arange(1200))):
            interval = batch_bootstrap(
                values, batches, lambda rows: float(rows.mean()), confidence=0.9, resamples=200
            )
            missed = misses([interval], 1.0005)
            aware += missed and name == "aware"
            blind += missed and name == "blind"
    assert aware / 100 <= 0.2  # bootstrap intervals of 60 batches are a little short of 90 %
    assert blind / 100 > 0.5


def test_bootstrap_is_reproducible_and_takes_rows() -> None:
    rows = np.column_stack([np.arange(40.0), np.arange(40.0) + 3])
    of_batch = np.arange(40) // 4

    def difference(sample: NDArray[np.float64]) -> float:
        return float((sample[:, 1] - sample[:, 0]).mean())

    assert batch_bootstrap(rows, of_batch, difference) == Interval(3, 3, 3, 0.95)

    def mean(sample: NDArray[np.float64]) -> float:
        return float(sample[:, 0].mean())

    first = batch_bootstrap(rows, of_batch, mean, seed=1)
    assert batch_bootstrap(rows, of_batch, mean, seed=1) == first
    assert batch_bootstrap(rows, of_batch, mean, seed=2) != first
    assert first.estimate == 19.5


def test_wilson_s_interval() -> None:
    # Newcombe, Statistics in Medicine 17, 1998, table I, method 3.
    def bounds(successes: int, total: int) -> tuple[float, float]:
        interval = proportion_interval(successes, total)
        return round(interval.low, 4), round(interval.high, 4)

    assert bounds(81, 263) == (0.2553, 0.3662)
    assert bounds(15, 148) == (0.0624, 0.1605)
    assert bounds(0, 20) == (0.0, 0.1611)
    assert bounds(1, 29) == (0.0061, 0.1718)
    assert bounds(20, 20) == (0.8389, 1.0)


def test_rate_interval() -> None:
    interval = rate_interval(100, 10)
    assert interval.estimate == 10
    assert (interval.low, interval.high) == pytest.approx((8.222, 12.162), abs=0.001)
    assert rate_interval(0, 10).low == 0
    random = np.random.default_rng(6)
    wrong = sum(misses([rate_interval(n, 1)], 30) for n in random.poisson(30, 2000).tolist())
    assert wrong / 2000 == pytest.approx(0.05, abs=0.02)


def test_needed_samples_are_mlperf_s() -> None:
    assert [needed_samples(each) for each in (0.9, 0.95, 0.99)] == [23_886, 50_426, 262_742]
    assert needed_samples(0.5, confidence=0.95, margin=0.05) == 385


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
        (lambda: batch_bootstrap([], [], np.mean), "there are no values"),
        (lambda: proportion_interval(3, 2), "3 of 2 is not a share"),
        (lambda: rate_interval(3, 0), "3 events in 0 s are no rate"),
        (lambda: needed_samples(0.0), "quantile must be between 0 and 1; was 0.0"),
        (lambda: needed_samples(0.9, margin=0), "margin must be positive; was 0"),
    ],
)
def test_what_cannot_be_worked_out(call: object, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        call()  # type: ignore[operator]
    assert str(raised.value) == message
