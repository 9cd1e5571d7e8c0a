"""Counters of served requests: plain integers, increased on the event loop and read on demand."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial

from workbench.core.status import Code


class Histogram:
    """How often a value fell below each bound, as TensorFlow counts it.

    Attributes:
        bounds: ascending; a value that equals a bound falls above it.
        counts: one a bound, and one for what lies above all of them.
        sum: of all values.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0

    def add(self, value: int) -> None:
        """Count one value."""
        self.counts[bisect_right(self.bounds, value)] += 1
        self.sum += value


def exponential(scale: float, growth: float, count: int) -> tuple[float, ...]:
    """Bounds as of TensorFlow's `monitoring::Buckets::Exponential`."""
    return tuple(scale * growth**i for i in range(count))


LATENCY_MICROS = exponential(10, 1.8, 33)

DURATION_SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
# Whole microseconds: up to and including a bound means below the next.
_DURATION_MICROS = tuple(round(bound * 1e6) + 1 for bound in DURATION_SECONDS)


class SignatureMeter:
    """Answers of one signature of one version: how many with each code (a list: an index is
    cheaper than a key), and how long they took, in microseconds from when the request was
    accepted."""

    __slots__ = ("codes", "durations")

    def __init__(self) -> None:
        self.codes = [0] * len(Code)
        self.durations = Histogram(_DURATION_MICROS)

    def add(self, code: Code, micros: int) -> None:
        """Count one answer."""
        self.codes[code] += 1
        self.durations.add(micros)


class BatchingMeter:
    """The counters of TensorFlow Serving's batching sessions (`batching_session.cc`), over all
    models that have batching parameters."""

    def __init__(self) -> None:
        sizes = exponential(1, 2, 14)
        self.runs = 0
        self.queued_micros = Histogram(exponential(100, 1.2, 52))
        self.input_sizes = Histogram(sizes)
        self.processed_sizes = Histogram(sizes)
        # At most as many as a batch may have sizes.
        self.paddings: defaultdict[int, Histogram] = defaultdict(partial(Histogram, sizes))

    def add(
        self, inputs: Iterable[int], queued_micros: Iterable[int], size: int, padding: int
    ) -> None:
        """Count one batch.

        Args:
            inputs: rows of each request in it.
            queued_micros: how long each has waited.
            size: rows of the batch without its `padding`.
        """
        self.runs += 1
        for rows in inputs:
            self.input_sizes.add(rows)
        for micros in queued_micros:
            self.queued_micros.add(micros)
        self.processed_sizes.add(size + padding)
        self.paddings[size + padding].add(padding)
