"""The result of tuning: the parameters, and the measurements of the best few settings."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.showing import figures, html_table
from workbench.experiments.store.packed_arrays import without_infinity
from workbench.experiments.sweep.point import Point

if TYPE_CHECKING:
    import pandas as pd

    from workbench.experiments.figure import Picture


@dataclass(frozen=True)
class TuneResult:
    """The best setting, and the reason.

    Attributes:
        parameters: the best ones found.
        meets: whether the upper bound of its measured 99th percentile is within `p99_ms`.
        p99_ms, rate: the wanted latency and load.
        measured: the verified settings, best first, as sweep points.
        predicted_ms: the predicted 99th percentile of each, of the engine alone.
        limit: the reason, in words, why it is not faster.
        applied: whether the server now has the parameters.
        where: where the load of the measurements entered.
        number: in the store; None if it was not kept.
    """

    parameters: BatchingParameters
    meets: bool
    p99_ms: float
    rate: float
    measured: tuple[Point, ...] = field(repr=False)
    predicted_ms: tuple[float, ...]
    limit: str
    applied: bool
    where: str = "engine"
    number: int | None = None

    @property
    def frame(self) -> pd.DataFrame:
        """One row for each verified setting."""
        import pandas as pd

        frame = pd.DataFrame([point.line() for point in self.measured])
        frame.insert(3, "predicted_p99_ms", list(self.predicted_ms))
        return frame

    def __str__(self) -> str:
        best = self.measured[0]
        found = best.latency.get("p99")
        p99 = "unknown" if found is None else f"{found.estimate * 1e3:.3g} ms"
        verb = "meets" if self.meets else "does not meet"
        alone = "" if self.where == "engine" else f" for the engine, without {self.where}"
        return (
            f"batch_timeout_micros {self.parameters.batch_timeout_micros}, max_batch_size "
            f"{self.parameters.max_batch_size} {verb} {self.p99_ms:g} ms at {self.rate:g} "
            f"requests/s: measured p99 {p99}, predicted {self.predicted_ms[0]:.3g} ms{alone}. "
            f"{self.limit}{' Applied.' if self.applied else ''}"
        )

    def plot(self) -> Picture:
        """The 99th percentile of each verified setting, measured with its interval and predicted,
        and the limit."""
        return figures(self)

    def _repr_html_(self) -> str:
        """The sentence and the verified settings, without scripts."""
        rows = [
            (short_setting(p), f"{p.percentile('p99') * 1e3:.3g}", f"{predicted:.3g}", p.verdict)
            for p, predicted in zip(self.measured, self.predicted_ms, strict=True)
        ]
        titles = ("setting", "p99 (ms)", "predicted (ms)", "verdict")
        return f"<p>{html.escape(str(self))}</p>{html_table(titles, rows)}"

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
                "number": number,
            }
        )


def short_setting(point: Point) -> str:
    """Delay and batch size, such as ``2 ms, 64``."""
    return f"{point.parameters['batch_timeout_micros'] / 1e3:g} ms, {point.batching.batch_limit}"
