"""Latency histograms that can be kept, merged and sent: HdrHistogram, in microseconds.

A percentile of percentiles means nothing; a percentile of merged histograms does. A histogram has a
fixed size and keeps three significant digits, so a percentile read from it is at most 0.1 % above
the exact one (Gil Tene's HdrHistogram, through the `hdrhistogram` package).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

LONGEST_MICROS = 3_600_000_000
"""One hour. A longer latency counts as this long, and one below 0 as 0: none is lost."""

SIGNIFICANT_DIGITS = 3


class LatencyHistogram:
    """Counts of latencies from 1 microsecond to `LONGEST_MICROS`."""

    def __init__(self, micros: Iterable[int] = ()) -> None:
        self._counts = HdrHistogram(1, LONGEST_MICROS, SIGNIFICANT_DIGITS)
        self._record(np.array([*micros], np.float64))

    def record_seconds(self, seconds: NDArray[np.float64]) -> None:
        """Record an array of latencies in seconds, as measurements come; NaN raises ValueError."""
        if np.isnan(seconds).any():
            raise ValueError("a latency that was not measured (NaN) cannot be recorded")
        self._record(seconds * 1e6)

    def _record(self, micros: NDArray[np.float64]) -> None:
        whole = np.clip(np.rint(micros), 0, LONGEST_MICROS).astype(np.int64)
        values, counts = np.unique(whole, return_counts=True)
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

    def share_within(self, micros: int) -> float:
        """The share (0 to 1) of the latencies of at most `micros` microseconds, to 0.1 % of the
        latency; 0 where nothing was recorded."""
        if not len(self) or micros < 0:
            return 0.0
        if micros >= LONGEST_MICROS:
            return 1.0
        below: int = sum(
            item.count_added_in_this_iter_step
            for item in self._counts.get_recorded_iterator()
            if item.value_iterated_to <= micros
        )
        return below / len(self)

    def to_text(self) -> str:
        """A short string: base64 of HdrHistogram's compressed V2 encoding, which other
        implementations read too."""
        encoded: bytes = self._counts.encode()
        return encoded.decode("ascii")

    @classmethod
    def from_text(cls, text: str) -> LatencyHistogram:
        """The histogram that `to_text` wrote; raises ValueError for anything else."""
        histogram = cls()
        try:
            histogram._counts = HdrHistogram.decode(text.encode("ascii"))
        except Exception as error:  # the package has its own kind for each failure
            raise ValueError("this is not an encoded latency histogram") from error
        return histogram
