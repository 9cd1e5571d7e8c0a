"""The arithmetic of comparing two versions, against what is known and by planted differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workbench.experiments.versions.agreement import (
    absolute_difference,
    classes_of,
    confusion,
    mcnemar,
    median_interval,
    output_difference,
    paired_latency,
    per_example_equal,
)


def pairs(seed: int, slower: float = 1.0, count: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Latencies of two versions on a machine that drifts, with the tail that servers have."""
    random = np.random.default_rng(seed)
    drift = np.exp(np.cumsum(random.normal(0, 0.02, count)))
    noise = np.exp(random.normal(0, 0.15, (2, count)))
    noise += random.exponential(2.0, (2, count)) * (random.random((2, count)) < 0.03)
    first, second = 1e-3 * drift * noise
    return first, slower * second


@pytest.mark.parametrize("seed", range(20))
def test_two_of_the_same_are_never_called_different(seed: int) -> None:
    assert paired_latency(*pairs(seed)).verdict != "different"


@pytest.mark.parametrize("seed", range(20))
def test_a_planted_slowdown_is_found(seed: int) -> None:
    found = paired_latency(*pairs(seed, slower=1.25))
    assert found.verdict == "different"
    assert found.low < 1.25 < found.high
    faster = paired_latency(*reversed(pairs(seed, slower=1.25)))
    assert faster.verdict == "different"
    assert faster.ratio < 1


def test_what_is_measured_often_enough_is_called_equivalent() -> None:
    found = paired_latency(*pairs(7, count=4000))
    assert found.verdict == "equivalent"
    assert str(found).startswith("as fast as the first, within 5%: ")


def test_a_small_difference_is_neither() -> None:
    found = paired_latency(*pairs(3, slower=1.06, count=300))
    assert found.verdict == "not certain"
    assert str(found).startswith("not measurably faster or slower after 300 pairs: ")


@pytest.mark.parametrize(("slower", "word"), [(2.0, "slower"), (0.5, "faster")])
def test_words(slower: float, word: str) -> None:
    assert str(paired_latency(*pairs(1, slower))).startswith(f"{word} than the first: ")


@pytest.mark.parametrize("blocks", [12, 22, 39])
@pytest.mark.parametrize("alpha", [0.001, 0.05])
def test_the_interval_is_as_narrow_as_its_confidence_allows(blocks: int, alpha: float) -> None:
    # As many pairs in a block as there are blocks, all the same.
    each = blocks
    first = np.ones(blocks * each)
    second = np.exp(np.repeat(np.arange(blocks, dtype=float), each) / blocks)
    found = paired_latency(first, second, alpha=alpha)
    rank = round(math.log(found.low) * blocks)
    assert round(math.log(found.high) * blocks) == blocks - 1 - rank
    assert stats.binom.cdf(rank, blocks, 0.5) <= alpha / 2 < stats.binom.cdf(rank + 1, blocks, 0.5)
    assert found.pairs == blocks * each


@pytest.mark.parametrize("seed", range(20))
def test_a_stretch_of_noise_that_hits_one_of_two_equals_is_no_difference(seed: int) -> None:
    random = np.random.default_rng(seed)
    first, second = (1e-3 * np.exp(random.normal(0, 0.05, 500)) for _ in range(2))
    # For two thirds of the time something else runs where the second version does.
    second[:150] *= 1.2
    first[300:480] *= 1.2
    assert paired_latency(first, second).verdict == "not certain"


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"10 pairs are too few for alpha 0\.001: measure at least 11 pairs"
    ):
        paired_latency(np.ones(10), np.ones(10))


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_binomial_test(first: int, second: int) -> None:
    total = first + second
    expected = stats.binomtest(first, total).pvalue if total else 1.0
    assert mcnemar(first, second) == pytest.approx(expected)


def test_mcnemar_of_many() -> None:
    assert mcnemar(7000, 7400) == pytest.approx(stats.binomtest(7000, 14400).pvalue)


def test_the_interval_of_a_median_names_its_confidence() -> None:
    five = median_interval([5.0, 1.0, 4.0, 2.0, 3.0])
    assert (five.low, five.estimate, five.high, five.confidence) == (1.0, 3.0, 5.0, 0.9375)
    twelve = median_interval(list(range(12)))
    assert (twelve.low, twelve.estimate, twelve.high) == (2.0, 5.5, 9.0)
    assert twelve.confidence == pytest.approx(1 - 2 * stats.binom.cdf(2, 12, 0.5))
    assert median_interval([7.0]).confidence == 0.0
    assert median_interval([1.0, math.nan, math.inf]).high == math.inf
    assert math.isnan(median_interval([math.nan]).estimate)


def test_it_holds_the_median_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    draws = [median_interval(random.exponential(size=9).tolist()) for _ in range(2000)]
    inside = np.mean([each.low <= math.log(2) <= each.high for each in draws])
    assert inside == pytest.approx(draws[0].confidence, abs=0.015)


def test_differences_of_numbers() -> None:
    first = np.array([[1.0, np.nan], [np.inf, 2.0]], np.float32)
    second = np.array([[1.5, np.nan], [np.inf, np.nan]], np.float32)
    assert absolute_difference(first, second).tolist() == [[0.5, 0.0], [0.0, math.inf]]
    assert per_example_equal(first, second, 0.0, 0.5).tolist() == [True, False]


def test_an_output_compared() -> None:
    found = output_difference("y", np.array([1.0, 2.0]), np.array([1.0, 2.5]), 0.0, 1e-6)
    assert (found.largest, found.mean, found.equal) == (0.5, 0.25, 0.5)
    words = np.array([b"a", b"b"], object)
    found = output_difference("words", words, words, 0.0, 0.0)
    assert (found.numeric, found.equal) == (False, 1.0)
    assert math.isnan(found.largest)
    found = output_difference("y", np.zeros((2, 3)), np.zeros((2, 4)), 0.0, 0.0)
    assert (found.equal, found.shapes) == (0.0, ((2, 3), (2, 4)))


def test_classes() -> None:
    scores = np.array([[0.1, 0.9], [0.8, 0.2]], np.float32)
    assert classes_of(scores).tolist() == [1, 0]  # type: ignore[union-attr]
    assert classes_of(np.array([3, 4])).tolist() == [3, 4]  # type: ignore[union-attr]
    assert classes_of(np.array([[b"a"], [b"b"]], object)).tolist() == [b"a", b"b"]  # type: ignore[union-attr]
    assert classes_of(np.array([1.5, 2.5])) is None
    assert classes_of(np.zeros((2, 3), np.int64)) is None


def test_confusion() -> None:
    classes, table = confusion(np.array([0, 0, 2]), np.array([0, 1, 2]))
    assert classes == [0, 1, 2]
    assert table.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
