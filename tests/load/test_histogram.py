"""Latency histograms: what goes in comes out, within 0.1 %."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.load.histogram import LONGEST_MICROS, LatencyHistogram


def test_percentiles_are_within_the_precision() -> None:
    values = np.random.default_rng(1).lognormal(8, 1.5, 20_007)
    histogram = LatencyHistogram()
    histogram.record_seconds(values / 1e6)
    levels = [1, 50, 90, 99, 99.9, 100]
    exact = np.percentile(values, levels, method="inverted_cdf").tolist()
    assert len(histogram) == 20_007
    assert list(histogram.percentiles(levels)) == levels
    assert list(histogram.percentiles(levels).values()) == pytest.approx(exact, rel=0.001, abs=1)


def test_small_values_are_exact() -> None:
    histogram = LatencyHistogram([1, 2, 3, 4, 1000, 7, 7, 7, 7, 7])
    assert histogram.percentiles([10, 50, 90, 100]) == {10: 1, 50: 7, 90: 7, 100: 1000}


def test_nothing_is_lost_beyond_the_range() -> None:
    histogram = LatencyHistogram([-5, LONGEST_MICROS * 10])
    assert len(histogram) == 2
    assert histogram.percentiles([50, 100]) == {
        50: 0,
        100: pytest.approx(LONGEST_MICROS, rel=0.001),
    }


def test_an_empty_histogram_has_no_percentiles() -> None:
    assert LatencyHistogram().percentiles() == {}


def test_merging_is_recording_together() -> None:
    first, second = LatencyHistogram(range(0, 5000, 3)), LatencyHistogram(range(0, 90_000, 7))
    together = LatencyHistogram([*range(0, 5000, 3), *range(0, 90_000, 7)])
    first.merge(second)
    assert len(first) == len(together)
    assert first.percentiles() == together.percentiles()


def test_a_histogram_survives_as_text() -> None:
    histogram = LatencyHistogram(range(0, 70_000, 11))
    text = histogram.to_text()
    assert text.isascii()
    again = LatencyHistogram.from_text(text)
    assert len(again) == len(histogram)
    assert again.percentiles() == histogram.percentiles()
    again.merge(histogram)
    assert len(again) == 2 * len(histogram)
    assert LatencyHistogram.from_text(LatencyHistogram().to_text()).percentiles() == {}


@pytest.mark.parametrize("text", ["", "HISTF", "not a histogram at all", "é"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError) as raised:
        LatencyHistogram.from_text(text)
    assert str(raised.value) == "this is not an encoded latency histogram"


def test_what_was_not_measured_is_refused() -> None:
    with pytest.raises(ValueError) as raised:
        LatencyHistogram().record_seconds(np.array([0.1, np.nan]))
    assert str(raised.value) == "a latency that was not measured (NaN) cannot be recorded"
