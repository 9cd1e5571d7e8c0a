"""How certain a measured figure is: intervals that may be looked at while the run goes on.

An interval that holds for one look at the end does not hold for a look every second: a run that
stops as soon as the figure looks good stops too early too often. The intervals of quantiles here
are *confidence sequences*: with probability `confidence` they contain the true quantile **at every
look at once**, however many there are. So a run may stop when they are narrow.

Requests that were answered in one batch waited for the same executor, so they are not independent
samples: 64 requests of one batch say little more than one. The unit is the batch, wherever the
batch of a request is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_FEWEST_GROUPS = 40
_LATE = 0.9
"""Values above this quantile count as late."""
_HARDLY = 0.25
"""Groups that are correlated less are taken to be independent."""

BETS = 14
"""Stakes of the mixture: nearly the largest possible one, and halved again and again."""
_CAPITAL = np.array([1 / ((bet + 1) * (bet + 2)) for bet in range(BETS)])
_SHARES = np.log(_CAPITAL / _CAPITAL.sum())
"""The logarithms of the capital of each stake. Few samples are decided by the largest stakes, so
these have the most; the smallest ones still have enough for a narrow interval of many samples."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the range that contains the true value with probability `confidence`.

    A bound that the samples do not give (yet) is infinite.
    """

    low: float
    estimate: float
    high: float
    confidence: float

    @property
    def bounded(self) -> bool:
        """Whether there are enough samples for both bounds."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def relative_width(self) -> float:
        """The width as a fraction of the estimate; infinite while a bound is missing."""
        return (self.high - self.low) / abs(self.estimate) if self.estimate else math.inf


def quantile_interval(
    values: ArrayLike,
    quantile: float,
    *,
    confidence: float = 0.95,
    batches: ArrayLike | None = None,
    max_batch: int = 1,
    repeated: float = 1.0,
) -> Interval:
    """The `quantile` (0 to 1) of `values`, with an interval that stays valid under repeated
    looks at growing `values`.

    For a candidate x, let Y be the sum over one batch of `1 - quantile` for each value up to x and
    `-quantile` for each value above. At the true quantile Y is 0 on average, so betting on it does
    not pay: the wealth of a bettor who stakes a share on each Y in turn is a martingale. By Ville's
    inequality it ever exceeds `1 / alpha` with probability `alpha` at most. The interval is every x
    against which no bettor has become that rich. One half of alpha is for bets that x is too high,
    one for bets that it is too low. The capital is spread over `BETS` stakes, because the best
    stake depends on the spread of Y.

    Sources: Howard and Ramdas, "Sequential estimation of quantiles with applications to A/B
    testing and best-arm identification", Bernoulli 28(3), 2022, for confidence sequences of
    quantiles; Waudby-Smith and Ramdas, "Estimating means of bounded random variables by
    betting", JRSS B 86(1), 2024, for the bets.

    Args:
        values: shape (n,), in any unit.
        quantile: strictly between 0 and 1.
        confidence: of the whole sequence of looks.
        batches: shape (n,), the batch of each value; None: values are independent. Batches are
            taken to be independent of each other.
        max_batch: values in the largest batch that is *possible*. (The largest that was seen would
            be a choice made by looking at the data.)
        repeated: the interval is made as if the values had come this many times. It predicts how
            narrow the interval would be after a longer run of the same kind.

    Raises:
        ValueError: no values, a quantile out of range, or a batch larger than `max_batch`.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1; was {confidence}")
    if not 0 < quantile < 1:
        raise ValueError(f"quantile must be between 0 and 1; was {quantile}")
    sample = np.asarray(values, dtype=np.float64)
    if not len(sample):
        raise ValueError("there are no values")
    order = np.argsort(sample, kind="stable")
    ranked = sample[order]
    if batches is None:
        wealth_at = _independent_wealth(len(sample), quantile, repeated)
    else:
        members = np.unique(np.asarray(batches), return_inverse=True)[1][order]
        wealth_at = _batched_wealth(members, quantile, max_batch, repeated)
    rich = math.log(2 / (1 - confidence))
    estimate = float(np.quantile(ranked, quantile, method="inverted_cdf"))

    # The wealth of either bet changes only at ranks, and only in one direction, so each bound is
    # found by bisection over ranks: the first rank below which there are not too few values, and
    # the first below which there are too many.
    lowest = _first(lambda rank: wealth_at(rank, -1) < rich, len(ranked) + 1)
    highest = _first(lambda rank: wealth_at(rank, +1) >= rich, len(ranked) + 1)
    low = float(ranked[lowest - 1]) if lowest > 0 else -math.inf
    high = float(ranked[highest - 1]) if highest <= len(ranked) else math.inf
    return Interval(low, estimate, high, confidence)


def _first(holds: Callable[[int], bool], end: int) -> int:
    """The first of 0 ... end - 1 that `holds`, or `end`; it must hold for all after it too."""
    start = 0
    while start < end:
        middle = (start + end) // 2
        if holds(middle):
            end = middle
        else:
            start = middle + 1
    return start


WealthAtRank = Callable[[int, int], float]
"""The logarithm of the wealth after betting on all batches, when the `rank` smallest values lie
below the candidate, for those who bet that too many (+1) or too few (-1) do."""


def _stakes(quantile: float, direction: int, max_batch: int) -> NDArray[np.float64]:
    # At the full stake one wrong bet would lose everything.
    worst = (quantile if direction > 0 else 1 - quantile) * max_batch
    stakes: NDArray[np.float64] = np.ldexp(0.9 * direction / worst, -np.arange(BETS))
    return stakes


def _wealth(gains: NDArray[np.float64]) -> float:
    """The logarithm of the whole wealth, from that of what each stake's capital has become per
    unit; without overflow."""
    held = _SHARES + gains
    top = float(held.max())
    return top + math.log(float(np.exp(held - top).sum()))


def _independent_wealth(total: int, quantile: float, repeated: float) -> WealthAtRank:
    gains = {side: np.log1p(_stakes(quantile, side, 1) * (1 - quantile)) for side in (-1, 1)}
    losses = {side: np.log1p(_stakes(quantile, side, 1) * -quantile) for side in (-1, 1)}
    return lambda rank, side: _wealth(
        repeated * (rank * gains[side] + (total - rank) * losses[side])
    )


def _batched_wealth(
    members: NDArray[np.intp], quantile: float, max_batch: int, repeated: float
) -> WealthAtRank:
    """`members[i]` is the number of the batch of the value with rank i."""
    sizes = np.bincount(members)
    if sizes.max() > max_batch:
        raise ValueError(f"a batch holds {sizes.max()} values, more than max_batch={max_batch}")
    stakes = {side: _stakes(quantile, side, max_batch) for side in (-1, 1)}

    def wealth_at(rank: int, side: int) -> float:
        below = np.bincount(members[:rank], minlength=len(sizes))
        # Few different outcomes occur, so each is worked out once.
        outcomes, counts = np.unique(below - quantile * sizes, return_counts=True)
        return _wealth(np.log1p(np.outer(stakes[side], outcomes)) @ (counts * repeated))

    return wealth_at


def group_size(values: ArrayLike, batches: ArrayLike) -> int:
    """How many batches in a row must be taken together for the groups to be nearly independent.

    Where requests queue, one batch that is late makes the next ones late, so neighbours are not
    independent samples either. Groups are doubled until the numbers of values above the 90th
    percentile are hardly correlated between neighbouring groups, or too few groups are left to
    tell.

    Args:
        values: shape (n,), in any unit.
        batches: shape (n,), the batch of each value, numbered in the order of time.
    """
    sample = np.asarray(values, dtype=np.float64)
    if not len(sample):
        return 1
    members = np.unique(np.asarray(batches), return_inverse=True)[1]
    above = sample > np.quantile(sample, _LATE)
    sums = np.bincount(members, weights=above - above.mean())
    size = 1
    while len(sums) >= _FEWEST_GROUPS:
        pairs = sums[: len(sums) // 2 * 2].reshape(-1, 2)
        spread = float((sums * sums).mean())
        if not spread or float((pairs[:, 0] * pairs[:, 1]).mean()) < _HARDLY * spread:
            break
        sums = pairs.sum(axis=1)
        size *= 2
    return size
