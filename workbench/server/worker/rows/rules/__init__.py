"""One rule for each operation that keeps rows apart, by what it does.

A rule takes an `Operation` and says what its results are made of. Rules are only asked where an
input is of the request: a result that is made of weights and constants alone has no rows. Rules of
`rule_book.CONTENT` also look at small tensors of numbers, which say how others are reshaped. Each
of the other modules adds its rules to the `rule_book`, so that importing this package fills it.
"""

from workbench.server.worker.rows.rules import (
    arrangement,
    contraction,
    control,
    elementwise,
    lists,
    mixing,
    reduction,
    selection,
    sizes,
    text,
)
from workbench.server.worker.rows.rules.rule_book import apply

__all__ = [
    "rule_book",
    "apply",
    "arrangement",
    "contraction",
    "control",
    "elementwise",
    "lists",
    "mixing",
    "reduction",
    "selection",
    "sizes",
    "text",
]
