"""Sizes of dimensions that may not be numbers yet: products of a number and of symbols.

The batch of a request has `ROWS` rows. A text may have `d1` words. A reshape from
``[rows, words, 8]`` to ``[rows * words, 8]`` and back is proven by such products.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple

_names = itertools.count(1)
_SHARE = "share"


class Dimension(NamedTuple):
    """`number` times the product of `symbols` (in sorted order; one may occur twice)."""

    number: int
    symbols: tuple[str, ...] = ()

    def times(self, other: Dimension) -> Dimension:
        """The product."""
        return Dimension(self.number * other.number, tuple(sorted(self.symbols + other.symbols)))

    def divided_by(self, other: Dimension) -> Dimension | None:
        """The exact quotient; None where it is not known to be a whole number."""
        if other.number == 0 or self.number % other.number:
            return None
        left = list(self.symbols)
        for symbol in other.symbols:
            if symbol not in left:
                return None
            left.remove(symbol)
        return Dimension(self.number // other.number, tuple(left))

    @property
    def has_rows(self) -> bool:
        """Whether the number of the batch's rows is a factor."""
        return ROWS_SYMBOL in self.symbols

    @property
    def known(self) -> int | None:
        """The number, where it is one."""
        return None if self.symbols else self.number


ROWS_SYMBOL = "rows"
ROWS = Dimension(1, (ROWS_SYMBOL,))
ONE = Dimension(1)


def is_rows(dimension: Dimension) -> bool:
    """Whether this is the number of rows. With a `share` it may not be, but the server compares the
    number of rows in each answer with that of the batch."""
    others = [symbol for symbol in dimension.symbols if not symbol.startswith(_SHARE)]
    return dimension.number == 1 and others == [ROWS_SYMBOL]


def share() -> Dimension:
    """How many rows of a reshaped tensor each row fills: one, in a model that works."""
    return Dimension(1, (f"{_SHARE}{next(_names)}",))


def has_share(dimension: Dimension) -> bool:
    """Whether a factor of it comes from `share`."""
    return any(symbol.startswith(_SHARE) for symbol in dimension.symbols)


def unknown() -> Dimension:
    """A size that is the same for every request of a batch, and not known yet."""
    return Dimension(1, (f"d{next(_names)}",))


def product(dimensions: Iterable[Dimension]) -> Dimension:
    """The product of all; 1 for none."""
    result = ONE
    for dimension in dimensions:
        result = result.times(dimension)
    return result
