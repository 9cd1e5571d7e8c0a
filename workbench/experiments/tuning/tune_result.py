"""The result of tuning: the parameters, and the measurements of the best few settings."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.showing import figures, html_picture, html_table, text_result
from workbench.experiments.store.packed_arrays import without_infinity
from workbench.experiments.sweep.point import Point, lacking_text, share_text

if TYPE_CHECKING:
    import pandas as pd

    from workbench.experiments.figure import Picture


@dataclass(frozen=True)
class TuneResult:
    """The best setting, and the reason.

    Attributes:
        parameters: the best ones found.
        meets: whether they meet the latency and lose no request; None: not sure yet.
        p99_ms, rate: the wanted latency and load.
        measured: the verified settings, best first, as sweep points; `answers`: whether each meets
            the latency.
        predicted_ms: the predicted 99th percentile of each, of the engine alone.
        headroom: the multiple of the rate at which the simulator still predicts the latency; 0 if
            it does not even at the rate itself.
        limit: the reason, in words, why it is not faster; empty if it meets the latency.
        applied: whether the server now has the parameters.
        where: where the load of the measurements entered.
        interrupted: whether it ended before it was sure.
        seconds: the duration, calibration included.
        number: in the store; None if it was not kept.
    """

    parameters: BatchingParameters
    meets: bool | None
    p99_ms: float
    rate: float
    measured: tuple[Point, ...] = field(repr=False)
    predicted_ms: tuple[float, ...]
    limit: str
    applied: bool
    where: str = "engine"
    answers: tuple[bool | None, ...] = ()
    headroom: float = 1.0
    interrupted: bool = False
    seconds: float = 0.0
    number: int | None = None

    @property
    def frame(self) -> pd.DataFrame:
        """One row for each verified setting."""
        import pandas as pd

        frame = pd.DataFrame([point.line() for point in self.measured])
        frame.insert(3, "predicted_p99_ms", list(self.predicted_ms))
        return frame.assign(
            goodput=[point.goodput(self.p99_ms) for point in self.measured],
            verdict=self._verdicts(),
        )

    @property
    def goodput(self) -> float:
        """The share of all requests that the best setting answered within the latency."""
        return self.measured[0].goodput(self.p99_ms)

    def finding(self) -> str:
        """The answer in one sentence."""
        asked = f"{self.p99_ms:g} ms at {self.rate:g} requests/s"
        best = self.measured[0]
        found = best.latency.get("p99")
        p99 = "unknown" if found is None else f"{found.estimate * 1e3:.3g} ms"
        if found is not None and found.bounded:
            p99 += f" ({found.low * 1e3:.3g} to {found.high * 1e3:.3g})"
        setting = (
            f"batch_timeout_micros {self.parameters.batch_timeout_micros}, max_batch_size "
            f"{self.parameters.max_batch_size}"
        )
        if self.meets:
            return f"{setting} meets {asked}: measured p99 {p99}"
        lost = f", {best.lost:.2%} of the requests lost" if best.lost else ""
        if self.meets is None:
            lacks = "" if self.interrupted else f": {lacking_text(best.lacks)}"
            ended = "interrupted, " if self.interrupted else ""
            return (
                f"{ended}not sure yet whether {setting} meets {asked} (measured p99 "
                f"{p99}{lost}){lacks}"
            )
        return (
            f"No setting is known that meets {asked}; the closest is {setting}: measured p99 "
            f"{p99}{lost}"
        )

    def sentence(self) -> str:
        """The answer with its prediction, its reason, and what to do next."""
        room = ""
        if self.meets and self.headroom > 1:
            room = f" By simulation it also meets it at {self.headroom:g} times the rate."
        predicted = self.predicted_ms[0]
        engine = "" if self.where == "engine" else f" for the engine, without {self.where}"
        simulated = f"Predicted: {predicted:.3g} ms{engine}."
        more = ""
        if self.meets is None and not self.interrupted and self.measured[0].lacks is not None:
            lacks = self.measured[0].lacks
            if math.isfinite(lacks):
                more = f" Call tune with seconds={math.ceil(self.seconds + 1.3 * lacks)}."
        begin = self.finding()
        begin = begin if begin.startswith("batch_") else f"{begin[0].upper()}{begin[1:]}"
        limit = f" {self.limit}" if self.limit else ""
        return f"{begin}. {simulated}{room}{limit}{more}{' Applied.' if self.applied else ''}"

    def __str__(self) -> str:
        columns = [
            *("batch_timeout_micros", "max_batch_size", "p99_ms", "predicted_p99_ms"),
            *("goodput", "rejected", "verdict"),
        ]
        return text_result(self.sentence(), self.frame[columns])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _verdicts(self) -> list[str]:
        words = {True: "meets", False: "does not meet"}
        answers = self.answers or [point.answer(self.p99_ms).meets for point in self.measured]
        return [
            str(point.answer(self.p99_ms)) if answer is None else words[answer]
            for point, answer in zip(self.measured, answers, strict=True)
        ]

    def plot(self) -> Picture:
        """The 99th percentile of each verified setting, measured with its interval and predicted,
        and the limit."""
        return figures(self)

    def _repr_html_(self) -> str:
        """The sentence, the figure and the verified settings, without scripts."""
        rows = [
            (
                short_setting(p),
                f"{p.percentile('p99') * 1e3:.3g}",
                f"{predicted:.3g}",
                share_text(p.goodput(self.p99_ms)),
                f"{p.rejected:.2%}",
                f"{p.failed:.2%}",
                verdict,
            )
            for p, predicted, verdict in zip(
                self.measured, self.predicted_ms, self._verdicts(), strict=True
            )
        ]
        titles = (
            *("setting", "p99 (ms)", "predicted (ms)", "answered in time", "rejected", "failed"),
            "verdict",
        )
        picture = html_picture(self.plot()._repr_png_(), self.finding())
        return f"<p>{html.escape(self.sentence())}</p>{picture}{html_table(titles, rows)}"

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data; infinite numbers as null."""
        data = {k: v for k, v in self.__dict__.items() if k != "number"}
        return {
            **data,
            "parameters": self.parameters.to_json(),
            "measured": [point.to_json() for point in self.measured],
            "predicted_ms": without_infinity(self.predicted_ms),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], number: int | None = None) -> TuneResult:
        """The result that `to_json` wrote."""
        return cls(
            **{
                **data,
                "parameters": BatchingParameters.from_json(data["parameters"]),
                "measured": tuple(Point.from_json(each) for each in data["measured"]),
                "predicted_ms": tuple(
                    math.inf if each is None else each for each in data["predicted_ms"]
                ),
                "answers": tuple(data.get("answers", ())),
                "number": number,
            }
        )


def short_setting(point: Point) -> str:
    """Delay and batch size, such as ``2 ms, 64``."""
    return f"{point.parameters['batch_timeout_micros'] / 1e3:g} ms, {point.batching.batch_limit}"
