"""Prometheus' text format: a declared metric becomes lines of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

from workbench.server.engine.telemetry.meters import Histogram

CONTENT_TYPE = "text/plain"

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Labels: TypeAlias = tuple[tuple[str, str], ...]
Series: TypeAlias = Iterable[tuple[Labels, "float | Histogram"]]


class Metric(NamedTuple):
    """One metric, declared once: the page and everything else that reads it follow from this.

    Attributes:
        name: as on the page.
        series: returns the labels and the value of each series.
        about: the text of its HELP line; TensorFlow Serving's metrics have none.
        bounds: of a histogram, in the unit shown; None: those that it counts with.
        per_unit: how many of what a histogram counts make one of the unit shown.
    """

    name: str
    kind: Kind
    series: Callable[[], Series]
    about: str = ""
    bounds: Sequence[float] | None = None
    per_unit: float = 1

    def lines(self) -> Iterator[str]:
        """Its lines of the page."""
        if self.about:
            yield f"# HELP {self.name} {self.about}"
        yield f"# TYPE {self.name} {self.kind}"
        for labels, value in self.series():
            shown = ",".join(f'{name}="{escaped(text)}"' for name, text in labels)
            if isinstance(value, Histogram):
                bounds = value.bounds if self.bounds is None else self.bounds
                yield from _histogram(self.name, shown, value, bounds, value.sum / self.per_unit)
            else:
                yield f"{self.name}{{{shown}}} {value}"

    def first_value(self) -> int:
        """The value of its first series; 0 where it has none, or is a histogram."""
        if self.kind == "histogram":
            return 0
        return next((int(v) for _, v in self.series() if not isinstance(v, Histogram)), 0)


def _histogram(
    name: str, shown: str, histogram: Histogram, bounds: Sequence[float], total: float
) -> Iterator[str]:
    before = shown + "," if shown else ""
    below = 0
    for bound, count in zip([*map(_number, bounds), "+Inf"], histogram.counts, strict=True):
        below += count
        yield f'{name}_bucket{{{before}le="{bound}"}} {below}'
    yield f"{name}_sum{{{shown}}} {_number(total)}"
    yield f"{name}_count{{{shown}}} {below}"


def _number(value: float) -> str:
    """As `absl::StrCat` writes a double: six digits."""
    return f"{value:g}"


def escaped(value: str) -> str:
    """A label's value between its quotes."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
