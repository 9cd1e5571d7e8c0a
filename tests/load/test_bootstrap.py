"""The bootstrap of the benchmark of loads: it knows that requests of one batch share a fate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.load_interference import bootstrap
from tests.load.test_intervals import misses, shared_fate
from workbench.load.intervals import Interval


def mean(rows: NDArray[np.float64]) -> float:
    return float(rows.mean())


def test_it_covers_with_batches_and_not_without() -> None:
    aware = blind = 0
    for seed in range(50):
        values = shared_fate(seed, 60, 20)
        aware += misses([bootstrap(values, np.repeat(np.arange(60), 20), mean)], 1.0005)
        blind += misses([bootstrap(values, np.arange(1200), mean)], 1.0005)
    assert aware / 50 <= 0.15  # bootstrap intervals of 60 batches are a little short of 95 %
    assert blind / 50 > 0.4


def test_it_is_reproducible_and_takes_rows() -> None:
    rows = np.column_stack([np.arange(40.0), np.arange(40.0) + 3])
    of_batch = np.arange(40) // 4

    def difference(sample: NDArray[np.float64]) -> float:
        return float((sample[:, 1] - sample[:, 0]).mean())

    assert bootstrap(rows, of_batch, difference) == Interval(3, 3, 3, 0.95)
    first = bootstrap(rows, of_batch, lambda sample: mean(sample[:, 0]))
    assert bootstrap(rows, of_batch, lambda sample: mean(sample[:, 0])) == first
    assert first.estimate == 19.5
