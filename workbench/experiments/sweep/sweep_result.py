"""The result of a sweep: a table, a recommendation, and a file for TensorFlow Serving."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import ServingError, failed_precondition
from workbench.experiments.showing import figures, html_table
from workbench.experiments.sweep.diagnosis import diagnose
from workbench.experiments.sweep.point import STABLE, Point
from workbench.formats.config_files import write_batching_parameters

if TYPE_CHECKING:
    import pandas as pd

    from workbench.experiments.figure import Picture
    from workbench.experiments.simulator.calibration import Calibration


@dataclass(frozen=True)
class Recommendation:
    """The recommended point, and the reason in words."""

    point: Point
    text: str

    @property
    def parameters(self) -> BatchingParameters:
        """The point's batching parameters."""
        return self.point.batching

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class SweepResult:
    """The points of one sweep.

    Attributes:
        version: the version that was measured.
        where: where the load entered; `arrivals`: its kind, ``closed`` for a closed loop.
        seed: repeats arrivals and order.
        started_at: wall-clock time, seconds since the epoch.
        seconds: the duration; `predicted_seconds`: the estimate beforehand.
        interrupted: whether points are missing.
        points: sorted by setting and load.
        failure: the error that ended it early, if any.
        number: in the store; None if it was not kept.
    """

    model: str
    version: int
    where: str
    arrivals: str
    seed: int
    started_at: float
    seconds: float
    predicted_seconds: float
    interrupted: bool
    points: tuple[Point, ...] = field(repr=False)
    failure: str | None = None
    number: int | None = None

    @property
    def frame(self) -> pd.DataFrame:
        """One row a point; see `Point.line`."""
        import pandas as pd

        frame = pd.DataFrame([point.line() for point in self.points])
        return frame.assign(where=self.where, arrivals=self.arrivals)

    @property
    def loop(self) -> str:
        """``closed loop``, or ``open loop`` with the kind of arrivals."""
        return "closed loop" if self.arrivals == "closed" else f"open loop, {self.arrivals}"

    def diagnoses(self) -> list[str]:
        """A sentence on each problem of any point, with its cure."""
        return list(dict.fromkeys(str(d) for point in self.points for d in diagnose(point)))

    def recommend(
        self, *, p99_ms: float | None = None, rate: float | None = None
    ) -> Recommendation:
        """The setting with the most throughput whose 99th percentile has its upper bound within
        `p99_ms`; with `rate`, the setting with the lowest 99th percentile at the measured rate
        nearest to it.

        Raises:
            ServingError: FAILED_PRECONDITION, no stable point is within the limit.
        """
        stable = [p for p in self.points if p.verdict == STABLE]
        if rate is not None and stable:
            near = min(abs(p.offered - rate) for p in stable)
            stable = [p for p in stable if abs(p.offered - rate) <= near + 0.05 * rate]
        if not stable:
            raise failed_precondition("No point was stable: measure for longer, or at lower rates")
        limit = math.inf if p99_ms is None else p99_ms / 1e3
        within = [p for p in stable if p.latency["p99"].high <= limit]
        if not within:
            best = min(stable, key=lambda p: p.percentile("p99"))
            raise failed_precondition(
                f"No stable point keeps its 99th percentile within {p99_ms:g} ms; the closest is "
                f"{best.percentile('p99') * 1e3:.3g} ms with {_setting(best)} at "
                f"{best.achieved.estimate:.0f} requests/s"
            )
        if rate is None:
            chosen = max(within, key=lambda p: p.achieved.estimate)
        else:
            chosen = min(within, key=lambda p: p.percentile("p99"))
        p99 = chosen.latency["p99"]
        return Recommendation(
            chosen,
            f"{_setting(chosen)}: {chosen.achieved.estimate:.0f} requests/s with a 99th percentile "
            f"of {p99.estimate * 1e3:.3g} ms ({p99.low * 1e3:.3g} to {p99.high * 1e3:.3g})",
        )

    def to_batching_parameters(
        self, path: str | os.PathLike[str], point: Point | Recommendation | None = None
    ) -> Path:
        """Write a `--batching_parameters_file` for TensorFlow Serving with the parameters of
        `point`, by default the recommended one.

        Raises:
            ServingError: as `recommend`.
        """
        chosen = point or self.recommend()
        parameters = chosen.parameters if isinstance(chosen, Recommendation) else chosen.batching
        target = Path(path)
        target.write_text(write_batching_parameters(parameters))
        return target

    def plot(self, percentile: str = "p99", predicted: Calibration | None = None) -> Picture:
        """Latency against throughput, one line a setting, with the intervals of both; the knee of
        each line is ringed, and points that are not stable are hollow.

        Args:
            predicted: a calibration: adds the simulator's prediction, dotted, with its error.
        """
        return figures(self, percentile, predicted)

    def disagreement(self, calibration: Calibration) -> dict[str, float]:
        """The simulator's error with this calibration: the median absolute relative error of
        throughput (``achieved``) and of ``p50``, ``p90`` and ``p99``, over the stable points.

        A calibration covers only the engine, so over REST and gRPC the transport adds to the error.

        Raises:
            ServingError: INVALID_ARGUMENT, the calibration is of requests of another size.
        """
        from workbench.experiments.sweep.predicted import disagreement, predict

        return disagreement(
            self.points, predict(self.points, calibration, self.arrivals, self.seed)
        )

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data."""
        data = {k: v for k, v in self.__dict__.items() if k not in ("points", "number")}
        return {**data, "points": [point.to_json() for point in self.points]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], number: int | None = None) -> SweepResult:
        """The result that `to_json` wrote."""
        points = tuple(Point.from_json(each) for each in data["points"])
        return cls(**{**data, "points": points, "number": number})

    def _repr_html_(self) -> str:
        """A table, the recommendation and the diagnoses, as HTML without scripts."""
        titles, cells = zip(*_COLUMNS, strict=True)
        table = html_table(titles, [[cell(point) for cell in cells] for point in self.points])
        notes = [*_recommended(self), *self.diagnoses()]
        if self.failure is not None:
            notes.insert(0, f"Ended early: {self.failure}")
        listed = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
        return (
            f"<p><b>Sweep of {html.escape(self.model)}</b>, version {self.version}: "
            f"{len(self.points)} points, {self.where}, {self.loop}, {self.seconds:.0f} s"
            f"{', interrupted' if self.interrupted else ''}</p>"
            f"{table}<ul>{listed}</ul>"
        )


def _recommended(result: SweepResult) -> list[str]:
    try:
        return [f"Most throughput: {result.recommend()}"]
    except ServingError as error:
        return [str(error)]


def _setting(point: Point) -> str:
    return (
        f"batch_timeout_micros {point.parameters['batch_timeout_micros']}, "
        f"max_batch_size {point.parameters['max_batch_size']}"
    )


def _percentile_text(point: Point, name: str) -> str:
    found = point.latency.get(name)
    if found is None:
        return "–"
    low, high = max(found.low, 0.0) * 1e3, found.high * 1e3
    return f"{found.estimate * 1e3:.3g} [{low:.3g}, {'?' if math.isinf(high) else f'{high:.3g}'}]"


def _reasons_text(point: Point) -> str:
    total = max(sum(point.reasons.values()), 1)
    ranked = sorted(point.reasons.items(), key=lambda item: -item[1])
    return ", ".join(f"{reason} {count / total:.0%}" for reason, count in ranked)


_COLUMNS = (
    ("timeout (µs)", lambda p: str(p.parameters["batch_timeout_micros"])),
    ("batch size", lambda p: str(p.parameters["max_batch_size"])),
    ("load", lambda p: " ".join(f"{v:g} {'clients' if k == 'clients' else '/s'}"
                                for k, v in p.load.items())),
    ("achieved (/s)", lambda p: f"{p.achieved.estimate:.0f}"),
    ("p50 (ms)", lambda p: _percentile_text(p, "p50")),
    ("p99 (ms)", lambda p: _percentile_text(p, "p99")),
    ("rows a batch", lambda p: f"{p.batch_rows:.1f}"),
    ("closed by", _reasons_text),
    ("queue + run + rest (ms)",
     lambda p: f"{p.queue * 1e3:.2f} + {p.run * 1e3:.2f} + {p.overhead * 1e3:.2f}"),
    ("rejected", lambda p: f"{p.rejected:.1%}"),
    ("verdict", lambda p: p.verdict),
)  # fmt: skip
