"""Latency histograms that can be kept, merged and sent: HdrHistogram, in microseconds.

Percentiles of percentiles mean nothing; merged histograms do. A histogram has a fixed size
whatever is recorded, and keeps three significant digits, so a percentile read from it is at
most 0.1 % above the exact one (Gil Tene's HdrHistogram, through the `hdrhistogram` package).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

LONGEST_MICROS = 3_600_000_000
"""One hour. A longer latency counts as this long: it must not be lost."""

SIGNIFICANT_DIGITS = 3


class LatencyHistogram:
    """Counts of latencies from 1 microsecond to `LONGEST_MICROS`."""

    def __init__(self, micros: Iterable[int] = ()) -> None:
        self._counts = HdrHistogram(1, LONGEST_MICROS, SIGNIFICANT_DIGITS)
        for value in micros:
            self.record(value)

    def record(self, micros: int, count: int = 1) -> None:
        """Record one latency, `count` times; below 0 counts as 0, and see `LONGEST_MICROS`."""
        self._counts.record_value(min(max(int(micros), 0), LONGEST_MICROS), count)

    def record_seconds(self, seconds: NDArray[np.float64]) -> None:
        """Record an array of latencies in seconds, as measurements come; NaN raises ValueError."""
        if np.isnan(seconds).any():
            raise ValueError("a latency that was not measured (NaN) cannot be recorded")
        micros = np.clip(np.rint(seconds * 1e6), 0, LONGEST_MICROS).astype(np.int64)
        values, counts = np.unique(micros, return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            self._counts.record_value(value, count)

    def merge(self, other: LatencyHistogram) -> None:
        """Add everything that `other` holds to this one."""
        self._counts.add(other._counts)

    def __len__(self) -> int:
        return int(self._counts.get_total_count())

    def percentiles(self, levels: Sequence[float] = (50, 90, 95, 99, 99.9)) -> dict[float, int]:
        """Microseconds at each level (0 to 100); empty where nothing was recorded."""
        if not len(self):
            return {}
        found = self._counts.get_percentile_to_value_dict(list(levels))
        return {level: int(found[level]) for level in levels}

    @property
    def maximum(self) -> int:
        """The longest latency, in microseconds, within the histogram's precision."""
        return int(self._counts.get_max_value())

    def to_text(self) -> str:
        """A short string (base64 of HdrHistogram's compressed V2 encoding, which the other
        HdrHistogram implementations read as well)."""
        encoded: bytes = self._counts.encode()
        return encoded.decode("ascii")

    @classmethod
    def from_text(cls, text: str) -> LatencyHistogram:
        """The histogram that `to_text` wrote; raises ValueError for anything else."""
        histogram = cls()
        try:
            histogram._counts = HdrHistogram.decode(text.encode("ascii"))
        except Exception as error:  # the package raises a kind of its own for every way to fail
            raise ValueError("this is not an encoded latency histogram") from error
        return histogram
