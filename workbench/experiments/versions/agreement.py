"""The arithmetic of comparing two versions, on arrays: do they agree, and is one faster?"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.load.intervals import Interval

ALPHA = 0.001
"""The probability of calling two equally fast versions different."""
MARGIN = 0.05
"""A relative difference in latency that counts as none."""

Verdict = Literal["different", "equivalent", "not certain"]


@dataclass(frozen=True)
class PairedLatency:
    """The second version's latency as a multiple of the first's, from pairs of requests.

    Attributes:
        ratio: the median over the pairs; `low` and `high` are its interval with confidence
            1 - `alpha`.
        first, second: median latencies in seconds.
        pairs: their number.
    """

    ratio: float
    low: float
    high: float
    first: float
    second: float
    pairs: int
    alpha: float
    margin: float

    @property
    def verdict(self) -> Verdict:
        """``different``: the interval excludes 1, and the ratio is beyond the margin;
        ``equivalent``: the interval lies within the margin; else ``not certain``."""
        inner, outer = 1 / (1 + self.margin), 1 + self.margin
        if inner < self.low and self.high < outer:
            return "equivalent"
        if (self.low > 1 or self.high < 1) and not inner < self.ratio < outer:
            return "different"
        return "not certain"

    def __str__(self) -> str:
        interval = f"{self.ratio:.2f} times ({self.low:.2f} to {self.high:.2f})"
        if self.verdict == "equivalent":
            return f"as fast as the first, within {self.margin:.0%}: {interval}"
        if self.verdict == "different":
            return f"{'slower' if self.ratio > 1 else 'faster'} than the first: {interval}"
        return f"not measurably faster or slower after {self.pairs} pairs: {interval}"


def paired_latency(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    alpha: float = ALPHA,
    margin: float = MARGIN,
) -> PairedLatency:
    """Compare latencies (seconds, [pairs]) measured back to back, in that order, pair by pair.

    Successive pairs share the state of the machine and are not independent. So the medians of
    blocks are compared, about as many blocks as a block has pairs (batch medians). The interval
    comes from order statistics over the blocks, so it holds for every distribution. It is valid
    for one look, at a number of pairs fixed beforehand.

    Raises:
        ValueError: too few pairs for an interval at this `alpha`.
    """
    least = next(count for count in itertools.count(1) if lower_rank(count, alpha) >= 0)
    pairs = len(first)
    if pairs < least:
        raise ValueError(
            f"{pairs} pairs are too few for alpha {alpha:g}: measure at least {least} pairs"
        )
    blocks = np.array_split(np.log(second) - np.log(first), max(least, round(math.sqrt(pairs))))
    ratios = np.sort([np.median(block) for block in blocks])
    rank = lower_rank(len(ratios), alpha)
    return PairedLatency(
        ratio=math.exp(float(np.median(ratios))),
        low=math.exp(float(ratios[rank])),
        high=math.exp(float(ratios[-1 - rank])),
        first=float(np.median(first)),
        second=float(np.median(second)),
        pairs=pairs,
        alpha=alpha,
        margin=margin,
    )


def lower_rank(count: int, alpha: float) -> int:
    """The highest rank, from 0, below which the median lies with a probability of at most
    `alpha` / 2; -1 if there is none."""
    below, ways, rank = 0, 1, -1
    limit = Fraction(alpha) / 2 * 2**count
    while below + ways <= limit:
        rank += 1
        below += ways
        ways = ways * (count - rank) // (rank + 1)
    return rank


def median_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """The median of a few measurements with an interval from order statistics, valid for one look.
    NaN is left out.

    With too few measurements for `confidence`, the interval is their whole range with the
    confidence that this has (94 % for five).
    """
    ranked = sorted(value for value in values if not math.isnan(value))
    if not ranked:
        return Interval(math.nan, math.nan, math.nan, confidence)
    rank = max(0, lower_rank(len(ranked), 1 - confidence))
    outside = sum(math.comb(len(ranked), k) for k in range(rank + 1)) / 2 ** (len(ranked) - 1)
    middle = (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2
    return Interval(ranked[rank], middle, ranked[-1 - rank], 1 - outside)


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact p-value of McNemar's test that two classifiers are equally good, from the numbers
    of cases that only the first and only the second gets right."""
    total = only_first + only_second
    tail = ways = 1
    for k in range(1, min(only_first, only_second) + 1):
        ways = ways * (total - k + 1) // k
        tail += ways
    return min(1.0, float(2 * tail / 2**total))


@dataclass(frozen=True)
class OutputDifference:
    """How one output differs between two versions.

    Attributes:
        name: the output's name.
        numeric: whether differences can be measured; strings are only equal or not.
        largest, mean: absolute differences; NaN where the output is not numeric or the shapes
            differ. Two NaN are equal, NaN and a number differ infinitely.
        equal: the share of examples whose answers are equal within the tolerances.
        shapes: both versions' shapes for the same inputs.
    """

    name: str
    numeric: bool
    largest: float
    mean: float
    equal: float
    shapes: tuple[tuple[int, ...], tuple[int, ...]]


def output_difference(
    name: str, first: NDArray[Any], second: NDArray[Any], rtol: float, atol: float
) -> OutputDifference:
    """Compare one output, [examples, ...], of two versions for the same inputs."""
    shapes = (first.shape, second.shape)
    numeric = first.dtype.kind in "fiubc" and second.dtype.kind in "fiubc"
    largest = mean = math.nan
    equal = 0.0
    if first.shape == second.shape:
        same = per_example_equal(first, second, rtol, atol)
        equal = float(same.mean()) if same.size else 1.0
        if numeric and first.size:
            difference = absolute_difference(first, second)
            largest, mean = float(difference.max()), float(difference.mean())
    return OutputDifference(name, numeric, largest, mean, equal, shapes)


def absolute_difference(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Element by element, in double precision."""
    wide = np.complex128 if "c" in first.dtype.kind + second.dtype.kind else np.float64
    one, two = first.astype(wide), second.astype(wide)
    with np.errstate(invalid="ignore"):
        difference = np.abs(one - two)
    difference[(one == two) | (np.isnan(one) & np.isnan(two))] = 0.0
    difference[np.isnan(difference)] = math.inf
    return np.asarray(difference, np.float64)


def per_example_equal(
    first: NDArray[Any], second: NDArray[Any], rtol: float, atol: float
) -> NDArray[np.bool_]:
    """For each example, whether its whole answer is equal within the tolerances."""
    if first.dtype.kind in "fiubc" and second.dtype.kind in "fiubc":
        with np.errstate(invalid="ignore"):
            allowed = atol + rtol * np.abs(first)
        same = absolute_difference(first, second) <= np.where(np.isfinite(allowed), allowed, 0.0)
    else:
        same = first == second
    return np.asarray(same.reshape(len(first), -1).all(axis=1), np.bool_)


def classes_of(output: NDArray[Any]) -> NDArray[Any] | None:
    """The class of each example: the index of the largest score, or the label itself; None where
    the output is not a classification.

    Args:
        output: scores [examples, classes] of floats, or labels [examples] or [examples, 1] of
            whole numbers or strings.
    """
    if output.ndim == 2 and output.shape[1] > 1 and output.dtype.kind == "f":
        return np.asarray(output.argmax(axis=1))
    if output.dtype.kind in "iubO" and (output.ndim == 1 or output.shape[1:] == (1,)):
        return output.reshape(-1)
    return None


def confusion(labels: NDArray[Any], answers: NDArray[Any]) -> tuple[list[Any], NDArray[np.int64]]:
    """The sorted classes, and the counts of labels (rows) by answers (columns)."""
    counts = Counter(zip(labels.tolist(), answers.tolist(), strict=True))
    classes = sorted(set(itertools.chain.from_iterable(counts)))
    table = [[counts[label, answer] for answer in classes] for label in classes]
    return classes, np.array(table, np.int64)
