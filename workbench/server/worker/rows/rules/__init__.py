"""One rule for each operation that keeps rows apart, by what it does.

A rule takes an `Operation` and returns what its results are made of, or ends early through `need`,
`known` or `row_shape`: then nothing is proven. Most rules apply only when an input comes from the
request: a result of weights and constants alone has no rows. Those in `rule_book.CONTENT` also
follow small tensors of numbers, which say how others are reshaped. Each other module adds its rules
to the `rule_book`, so importing this package fills it.
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
