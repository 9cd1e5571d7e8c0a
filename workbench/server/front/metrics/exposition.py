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
                yield from self._histogram_lines(shown, value)
            else:
                yield f"{self.name}{{{shown}}} {value}"

    def _histogram_lines(self, shown: str, histogram: Histogram) -> Iterator[str]:
        before = shown + "," if shown else ""
        below = 0
        # Six digits, as `absl::StrCat` writes a double.
        bounds = [f"{bound:g}" for bound in self.bounds or histogram.bounds]
        for bound, count in zip([*bounds, "+Inf"], histogram.counts, strict=True):
            below += count
            yield f'{self.name}_bucket{{{before}le="{bound}"}} {below}'
        yield f"{self.name}_sum{{{shown}}} {histogram.sum / self.per_unit:g}"
        yield f"{self.name}_count{{{shown}}} {below}"

    def first_value(self) -> int:
        """The value of its first series; 0 where it has none, or is a histogram."""
        if self.kind == "histogram":
            return 0
        return next((int(v) for _, v in self.series() if not isinstance(v, Histogram)), 0)


def escaped(value: str) -> str:
    """A label's value between its quotes."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
