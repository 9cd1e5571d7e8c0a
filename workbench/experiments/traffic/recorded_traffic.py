"""Traffic as data: when requests came and how large they were, without anything that was in them.

It comes from a running server (`Server.record_traffic`) or from times in an access log
(`Traffic.from_times`), is kept in a file, and is replayed (`Server.replay`) at any speed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.core.status import ServingError, failed_precondition, invalid_argument
from workbench.experiments.showing import figures
from workbench.load.arrivals import Schedule, Seconds
from workbench.load.packed_numbers import pack_numbers, unpack_numbers

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import pandas as pd

    from workbench.experiments.figure import Picture

FORMAT = 1
"""The version of the format of files and of `to_json`."""

_CSV_HEAD = "time_s,rows,bytes"


@dataclass(frozen=True, eq=False)
class Traffic:
    """Requests to one model. Arrays have shape (n,), in the order of the times.

    Attributes:
        times_s: when each request came, in seconds from the start.
        rows: of each request.
        input_bytes: of the inputs of each request; 0 where unknown.
        duration_s: how long was recorded, in seconds.
        model: whose requests they are; empty if unknown.
        started_at: wall-clock time of the start, in seconds since the epoch; None if unknown.
        number: in the store; None if it was not kept.

    Raises:
        ServingError: INVALID_ARGUMENT, there are no requests, or the arrays do not go together.
    """

    times_s: Seconds = field(repr=False)
    rows: NDArray[np.int64] = field(repr=False)
    input_bytes: NDArray[np.int64] = field(repr=False)
    duration_s: float
    model: str = ""
    started_at: float | None = None
    number: int | None = None

    def __post_init__(self) -> None:
        times, count = self.times_s, len(self.times_s)
        if not count:
            raise invalid_argument("Traffic needs at least one request")
        if len(self.rows) != count or len(self.input_bytes) != count:
            raise invalid_argument(
                f"Traffic needs rows and bytes for each request; there are {count} times, "
                f"{len(self.rows)} rows and {len(self.input_bytes)} bytes"
            )
        if not np.isfinite(times).all() or times[0] < 0 or np.any(np.diff(times) < 0):
            raise invalid_argument(
                "The times of traffic must be finite, not negative, and in increasing order"
            )
        if not times[-1] <= self.duration_s < np.inf or not self.duration_s > 0:
            raise invalid_argument(
                f"Traffic lasts until its last request at least, which came after {times[-1]:g} s; "
                f"duration_s was {self.duration_s:g}"
            )
        if self.rows.min() < 0 or self.input_bytes.min() < 0:
            raise invalid_argument("The rows and bytes of a request must not be negative")

    @classmethod
    def from_times(
        cls,
        times: ArrayLike | pd.Series,
        rows: ArrayLike | pd.Series | int = 1,
        *,
        input_bytes: ArrayLike | pd.Series | int = 0,
        duration_s: float | None = None,
    ) -> Traffic:
        """Traffic from times that you have, such as a column of an access log.

        Args:
            times: shape (n,), in any order: seconds, or dates with times (as pandas, numpy or
                Python have them, or as ISO 8601 text). The first request is the start.
            rows, input_bytes: of each request, or of all.
            duration_s: by default until one mean gap after the last request.

        Raises:
            ServingError: INVALID_ARGUMENT, they are no times, or as for the class.
        """
        import pandas as pd

        try:
            column = pd.Series(times)
            if not pd.api.types.is_numeric_dtype(column):
                column = pd.to_datetime(column, utc=True, format="ISO8601").astype(
                    "datetime64[ns, UTC]"
                )
                column = (column - column.min()).dt.total_seconds()
            seconds = column.to_numpy(np.float64)
            sizes, weights = (_whole(each, seconds.shape) for each in (rows, input_bytes))
        except (ValueError, TypeError) as error:
            raise invalid_argument(f"Traffic cannot be made of these times: {error}") from error
        order = np.argsort(seconds, kind="stable")
        seconds = seconds[order] - (seconds[order[0]] if len(order) else 0.0)
        if duration_s is None:
            last = float(seconds[-1]) if len(seconds) else 0.0
            duration_s = last * len(seconds) / max(len(seconds) - 1, 1) or 1.0
        return cls(seconds, sizes[order], weights[order], float(duration_s))

    def __len__(self) -> int:
        return len(self.times_s)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Traffic) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((len(self), self.duration_s, self.model))

    # What it is like.

    @property
    def rate(self) -> float:
        """Requests a second, on average."""
        return len(self) / self.duration_s

    @property
    def peak(self) -> int:
        """The most requests in one second of those that begin at 0, 1, 2 ... seconds."""
        return int(np.unique(self.times_s.astype(np.int64), return_counts=True)[1].max())

    @property
    def burstiness(self) -> float:
        """The coefficient of variation of the gaps between requests: 0 for constant arrivals, 1 for
        Poisson arrivals, more where requests come in bursts; NaN for fewer than three requests."""
        gaps = np.diff(self.times_s)
        if len(gaps) < 2 or not gaps.any():
            return float("nan")
        return float(gaps.std() / gaps.mean())

    @property
    def frame(self) -> pd.DataFrame:
        """One row a request: `time_s`, `rows`, `bytes`."""
        import pandas as pd

        return pd.DataFrame({"time_s": self.times_s, "rows": self.rows, "bytes": self.input_bytes})

    def __str__(self) -> str:
        low, high, mean = int(self.rows.min()), int(self.rows.max()), float(self.rows.mean())
        sizes = f"{low} {'row' if low == 1 else 'rows'} each"
        if low != high:
            sizes = f"{low} to {high} rows each, {mean:.1f} on average"
        irregular = "" if np.isnan(self.burstiness) else f", burstiness {self.burstiness:.2g}"
        of_model = f" to {self.model}" if self.model else ""
        requests = "1 request" if len(self) == 1 else f"{len(self)} requests"
        return (
            f"{requests}{of_model} in {self.duration_s:.1f} s: {self.rate:.3g} a second, "
            f"at most {self.peak} in one second{irregular}; {sizes}"
        )

    def plot(self) -> Picture:
        """Requests per second over time, and their sizes."""
        return figures(self)

    # As a load.

    def faster(self, factor: float) -> Traffic:
        """The same pattern in less time: all gaps divided by `factor`.

        Raises:
            ServingError: INVALID_ARGUMENT, the factor is not positive.
        """
        if not factor > 0 or not np.isfinite(factor):
            raise invalid_argument(f"The factor must be positive; was {factor}")
        scaled, duration = self.times_s / factor, self.duration_s / factor
        return replace(self, times_s=scaled, duration_s=duration, number=None)

    def slower(self, factor: float) -> Traffic:
        """The same pattern in more time; raises as `faster`."""
        return self.faster(1 / factor if factor else factor)

    def schedule(
        self, order: Sequence[int] | NDArray[np.int64] | None = None, speed: float = 1.0
    ) -> Schedule:
        """The arrivals as a schedule of kind ``replay``, at `speed` times their rate.

        Args:
            order: which of a payload's requests each of them sends, as `Payload.order` of a payload
                that was made for this traffic; by default all in turn.

        Raises:
            ServingError: INVALID_ARGUMENT, the speed is not positive.
        """
        try:
            return Schedule.replay(self.times_s, self.duration_s, speed=speed, order=order)
        except ValueError as error:
            raise invalid_argument(f"The traffic cannot be replayed: {error}") from error

    # As data.

    def to_json(self) -> dict[str, Any]:
        """Everything except the number, as plain data; arrays are packed, times to the
        microsecond."""
        micros = np.rint(self.times_s * 1e6).astype(np.int64)
        return {
            "format": FORMAT,
            "model": self.model,
            "started_at": self.started_at,
            "duration_s": self.duration_s,
            "gaps_micros": pack_numbers(np.diff(micros, prepend=0)),
            "rows": pack_numbers(self.rows),
            "bytes": pack_numbers(self.input_bytes),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], number: int | None = None) -> Traffic:
        """The traffic that `to_json` wrote.

        Raises:
            ServingError: INVALID_ARGUMENT, `data` is not traffic; FAILED_PRECONDITION, a later
                workbench wrote it.
        """
        try:
            if int(data["format"]) > FORMAT:
                raise failed_precondition(
                    f"This traffic has format {data['format']}, which a later workbench wrote, and "
                    f"this one reads up to {FORMAT}: update it"
                )
            gaps, rows, sizes = (
                unpack_numbers(data[name], np.int64) for name in ("gaps_micros", "rows", "bytes")
            )
            duration = float(data["duration_s"])
            # Times are kept to the microsecond, which may be beyond the end.
            times = np.minimum(np.cumsum(gaps) / 1e6, duration)
            return cls(times, rows, sizes, duration, data["model"], data["started_at"], number)
        except (KeyError, TypeError, ValueError) as error:
            raise invalid_argument(f"The data is not recorded traffic: {error!r}") from error

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a file: `.json`, or `.csv` with a line for each request (`time_s`, `rows`,
        `bytes`). Neither holds anything of the requests' contents.

        Raises:
            ServingError: INVALID_ARGUMENT, another ending.
        """
        path = Path(path)
        if is_csv(path):
            head = f"# traffic, format {FORMAT}, duration_s={self.duration_s!r}\n{_CSV_HEAD}\n"
            columns = (self.times_s, self.rows, self.input_bytes)
            each = zip(*(column.tolist() for column in columns), strict=True)
            lines = "".join(f"{time:.6f},{rows},{size}\n" for time, rows, size in each)
            path.write_text(head + lines)
        else:
            path.write_text(json.dumps(self.to_json()))
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Traffic:
        """Read what `save` wrote, or any `.csv` file with a column `time_s` (seconds, or dates with
        times) and, optionally, `rows` and `bytes`.

        Raises:
            ServingError: INVALID_ARGUMENT, the file cannot be read as traffic.
        """
        path = Path(path)
        try:
            text = path.read_text()
            return _read_csv(text) if is_csv(path) else cls.from_json(json.loads(text))
        except ServingError as error:
            raise ServingError(error.code, f"{path}: {error.message}") from error
        except (OSError, ValueError, KeyError) as error:
            raise invalid_argument(f"{path} cannot be read as traffic: {error}") from error


def _whole(values: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Whole numbers, one for each request; raises ValueError for anything else."""
    numbers = np.broadcast_to(np.asarray(values, np.float64), shape)
    if not np.array_equal(numbers, np.floor(numbers)) or np.isinf(numbers).any():
        raise ValueError("rows and bytes must be whole numbers, one for each request")
    return numbers.astype(np.int64)


def is_csv(path: Path) -> bool:
    """Whether a file of traffic is a `.csv` file, and not a `.json` file.

    Raises:
        ServingError: INVALID_ARGUMENT, it is neither.
    """
    if path.suffix not in (".json", ".csv"):
        raise invalid_argument(f"Traffic is kept in a .json or .csv file; the file was {path.name}")
    return path.suffix == ".csv"


def _read_csv(text: str) -> Traffic:
    import io

    import pandas as pd

    frame = pd.read_csv(io.StringIO(text), comment="#", skipinitialspace=True)
    if "time_s" not in frame:
        raise ValueError(f"it has no column time_s; its columns are {', '.join(frame.columns)}")
    frame = frame.reset_index(drop=True)
    ours, _, duration = text.partition("\n")[0].partition("duration_s=")
    if not ours.startswith("#") or not duration:
        given = frame.get("rows", 1), frame.get("bytes", 0)
        return Traffic.from_times(frame["time_s"], given[0], input_bytes=given[1])
    times = np.minimum(frame["time_s"].to_numpy(np.float64), float(duration))
    rows, weights = (_whole(frame[name], times.shape) for name in ("rows", "bytes"))
    return Traffic(times, rows, weights, float(duration))
