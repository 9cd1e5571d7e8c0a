"""The result of a sweep: a table, a recommendation, and a file for TensorFlow Serving."""

from __future__ import annotations

import html
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import ServingError, failed_precondition
from workbench.experiments.load.generator import LIMITED, UNSURE
from workbench.experiments.showing import figures, html_picture, html_table, text_result
from workbench.experiments.sweep.diagnosis import Diagnosis, diagnose
from workbench.experiments.sweep.point import FAILING, LOST, STABLE, Point, share_text
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
        p99_ms: the wanted 99th percentile; None if there was none.
        voids: why windows of load were void and measured again, one reason each.
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
    p99_ms: float | None = None
    voids: tuple[str, ...] = ()
    number: int | None = None

    @property
    def frame(self) -> pd.DataFrame:
        """One row a point; see `Point.line`."""
        import pandas as pd

        frame = pd.DataFrame([point.line() for point in self.points])
        frame = frame.assign(
            where=self.where,
            arrivals=self.arrivals,
            verdict=[point.verdict_text(self.p99_ms) for point in self.points],
        )
        if self.p99_ms is None:
            return frame
        return frame.assign(goodput=[point.goodput(self.p99_ms) for point in self.points])

    @property
    def loop(self) -> str:
        """``closed loop``, or ``open loop`` with the kind of arrivals."""
        return "closed loop" if self.arrivals == "closed" else f"open loop, {self.arrivals}"

    def diagnoses(self) -> list[str]:
        """A sentence on each kind of problem, with its cure, where it was first found."""
        found: dict[str, list[Diagnosis]] = {}
        for point in self.points:
            for diagnosis in diagnose(point):
                found.setdefault(diagnosis.kind, []).append(diagnosis)
        said = []
        for first, *rest in found.values():
            likewise = f" (Likewise at {_count(len(rest), 'other point')}.)" if rest else ""
            said.append(f"{first}{likewise}")
        return said

    def recommend(
        self, *, p99_ms: float | None = None, rate: float | None = None
    ) -> Recommendation:
        """The setting with the most throughput whose 99th percentile has its upper bound within
        `p99_ms` (by default the wanted one) and that loses no request; with `rate`, the setting
        with the lowest 99th percentile at the measured rate nearest to it.

        Raises:
            ServingError: FAILED_PRECONDITION, no point is known to be within the limit.
        """
        limit = self.p99_ms if p99_ms is None else p99_ms
        stable = [p for p in self.points if p.verdict == STABLE and p.lost <= LOST]
        if rate is not None and stable:
            near = min(abs(p.offered - rate) for p in stable)
            stable = [p for p in stable if abs(p.offered - rate) <= near + 0.05 * rate]
        if not stable:
            raise failed_precondition(self._why_none_is_stable())
        within = [p for p in stable if limit is None or p.answer(limit).meets]
        if not within:
            best = min(stable, key=lambda p: p.percentile("p99"))
            raise failed_precondition(
                f"No point is known to keep its 99th percentile within {limit:g} ms; the closest "
                f"is {best.percentile('p99') * 1e3:.3g} ms with {_setting(best)} at "
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

    def _why_none_is_stable(self) -> str:
        """One sentence with the cure for the commonest cause."""
        if not self.points:
            return "No point was measured: sweep again"
        causes = Counter(point.verdict for point in self.points)
        cause = causes.most_common(1)[0][0]
        if cause == FAILING:
            error = next(p.first_error for p in self.points if p.verdict == FAILING)
            return f"The requests failed: {error or 'without a message'}"
        if cause == LIMITED:
            return (
                "The load generator was the limit: lower the rate, or measure with where='engine'"
            )
        if cause == UNSURE:
            lacks = max(p.lacks or 0.0 for p in self.points if p.verdict == UNSURE)
            longest = max(point.seconds for point in self.points)
            wanted = f"seconds={longest + lacks:.0f}" if math.isfinite(lacks) else "more seconds"
            return f"No point has enough samples for a 99th percentile yet: sweep with {wanted}"
        if cause == STABLE:
            lost = max(self.points, key=lambda p: p.lost)
            return (
                f"Each stable point lost requests, up to {lost.lost:.1%}: lower the rate, or raise "
                "max_enqueued_batches"
            )
        return "The server was saturated: lower the rate, or allow larger batches"

    def finding(self) -> str:
        """The finding in one sentence: the recommended setting, or the reason why there is none."""
        try:
            return str(self.recommend())
        except ServingError as error:
            return error.message

    def notes(self) -> list[str]:
        """Sentences about the measurement itself: failures, other traffic, void windows, an early
        end."""
        said = [f"Ended early: {self.failure}."] if self.failure else []
        if self.interrupted:
            said.append("Interrupted: the points measured before were kept.")
        if self.voids:
            reasons = ", ".join(reason for reason, _ in Counter(self.voids).most_common(3))
            said.append(f"{_windows(len(self.voids))} measured again, because {reasons}.")
        others = max((point.others for point in self.points), default=0.0)
        if others > _OTHERS * max((point.offered for point in self.points), default=0.0):
            said.append(
                f"Others sent up to {others:.0f} requests/s meanwhile: rows a batch, queue and run "
                "include them."
            )
        return said

    def to_batching_parameters(
        self,
        path: str | os.PathLike[str] | None = None,
        point: Point | Recommendation | None = None,
    ) -> str:
        """The text of a `--batching_parameters_file` for TensorFlow Serving with the parameters of
        `point`, by default the recommended one; it is written to `path` if one is given.

        Raises:
            ServingError: as `recommend`.
        """
        chosen = point or self.recommend()
        parameters = chosen.parameters if isinstance(chosen, Recommendation) else chosen.batching
        text = write_batching_parameters(parameters)
        if path is not None:
            Path(path).write_text(text)
        return text

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
        voids = tuple(data.get("voids", ()))
        return cls(**{**data, "points": points, "voids": voids, "number": number})

    def __str__(self) -> str:
        """The finding, a table and the notes, for a terminal."""
        frame = self.frame
        shown = [name for name in _SHOWN if name in frame and frame[name].notna().any()]
        said = f"{self._title()}\n{self.finding()}."
        lines = [text_result(said, frame[shown]) if self.points else said]
        return "\n".join([*lines, *(f"- {note}" for note in [*self.notes(), *self.diagnoses()])])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        return self.html()

    def html(self, figure: bool = True) -> str:
        """The finding, the figure, a table and the notes, as HTML without scripts."""
        columns = [
            (title, cell)
            for title, cell in _COLUMNS
            if title != _GOODPUT or self.p99_ms is not None
        ]
        cells = [[cell(point, self.p99_ms) for _, cell in columns] for point in self.points]
        table = html_table([title for title, _ in columns], cells)
        listed = "".join(
            f"<li>{html.escape(note)}</li>" for note in [*self.notes(), *self.diagnoses()]
        )
        picture = ""
        if figure and self.points:
            picture = html_picture(self.plot()._repr_png_(), self.finding())
        return (
            f"<p><b>{html.escape(self._title())}</b></p><p>{html.escape(self.finding())}.</p>"
            f"{picture}{table}<ul>{listed}</ul>"
        )

    def _title(self) -> str:
        return (
            f"Sweep of {self.model}, version {self.version}: {_count(len(self.points), 'point')}, "
            f"{self.where}, {self.loop}, {self.seconds:.0f} s"
            f"{', interrupted' if self.interrupted else ''}"
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _windows(number: int) -> str:
    return f"{_count(number, 'window')} of load {'was' if number == 1 else 'were'} void and"


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


def _load_text(point: Point, _: float | None) -> str:
    return " ".join(f"{v:g} {'clients' if k == 'clients' else '/s'}" for k, v in point.load.items())


def _parts_text(point: Point, _: float | None) -> str:
    parts = (point.queue, point.run, point.overhead)
    return " + ".join(f"{part * 1e3:.2f}" for part in parts) if point.samples else "–"


def _goodput_text(point: Point, p99_ms: float | None) -> str:
    return share_text(math.nan if p99_ms is None else point.goodput(p99_ms))


_GOODPUT = "answered in time"
_COLUMNS: tuple[tuple[str, Callable[[Point, float | None], str]], ...] = (
    ("timeout (µs)", lambda p, _: str(p.parameters["batch_timeout_micros"])),
    ("batch size", lambda p, _: str(p.parameters["max_batch_size"])),
    ("load", _load_text),
    ("achieved (/s)", lambda p, _: f"{p.achieved.estimate:.0f}"),
    ("p50 (ms)", lambda p, _: _percentile_text(p, "p50")),
    ("p99 (ms)", lambda p, _: _percentile_text(p, "p99")),
    (_GOODPUT, _goodput_text),
    ("rows a batch", lambda p, _: f"{p.batch_rows:.1f}"),
    ("closed by", lambda p, _: _reasons_text(p)),
    ("queue + run + rest (ms)", _parts_text),
    ("rejected", lambda p, _: f"{p.rejected:.1%}"),
    ("failed", lambda p, _: f"{p.failed:.1%}"),
    ("verdict", lambda p, p99_ms: p.verdict_text(p99_ms)),
)
_SHOWN = (
    "batch_timeout_micros", "max_batch_size", "num_batch_threads", "rate", "clients",
    "achieved_per_s", "p50_ms", "p99_ms", "goodput", "batch_rows", "rejected", "failed", "verdict",
)  # fmt: skip
_OTHERS = 0.01
"""Other traffic is mentioned where it is more than this share of the load."""
