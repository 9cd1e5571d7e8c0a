"""A model's measured run times, for the simulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import invalid_argument
from workbench.experiments.showing import figures, html_result, text_result
from workbench.experiments.simulator.prediction import Prediction, predict, spells
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.experiments.simulator.simulate import SimulationResult, simulate
from workbench.load.arrivals import Seconds, poisson

if TYPE_CHECKING:
    import pandas as pd

    from workbench.experiments.figure import Picture

_MOST_TIMES = 5
"""An older calibration counts less, because the machine changes."""


@dataclass(frozen=True, repr=False)
class Calibration:
    """A model's run times, and the server's settings they hold for.

    Attributes:
        service: the run times.
        version: the version that was measured.
        slots: executor slots of the server.
        rows: rows of each request.
        drift: the share by which a capacity changed during the calibration.
        times: how many calibrations this averages; at most `_MOST_TIMES` count.
        number: in the store; None if it was not kept.
    """

    service: ServiceTime
    model: str
    version: int
    slots: int
    rows: int
    drift: float = 0.0
    times: int = 1
    number: int | None = None

    def refined(self, new: Calibration) -> Calibration:
        """The mean of this calibration and a new one; the last `_MOST_TIMES` count most.

        Raises:
            ServingError: as `check_refined`.
        """
        service = new.service
        self.check_refined(
            new.model, new.version, new.rows, service.in_flight, service.rows.tolist()
        )
        times = min(self.times + 1, _MOST_TIMES)
        return replace(new, service=self.service.refined(new.service, 1 / times), times=times)

    def check_refined(
        self, model: str, version: int, rows: int, in_flight: int, sizes: list[int]
    ) -> None:
        """Check that a calibration of this could refine this one.

        Raises:
            ServingError: INVALID_ARGUMENT, it differs in one of these.
        """
        service = self.service
        for name, old, now in (
            ("model", self.model, model),
            ("version", self.version, version),
            ("rows", self.rows, rows),
            ("batches in flight", service.in_flight, in_flight),
            ("batch sizes", service.rows.tolist(), sizes),
        ):
            if old != now:
                raise invalid_argument(
                    f"A calibration with {name} {old} cannot be refined by one with {now}: "
                    "calibrate without refine"
                )

    def simulate(
        self,
        parameters: BatchingParameters,
        arrivals: Seconds,
        seed: int = 0,
        rows: NDArray[np.int64] | None = None,
    ) -> SimulationResult:
        """Predict the effect of these parameters on arrivals at these times (seconds).

        Args:
            rows: shape (n,), of each request, such as `Traffic.rows`; by default all are as large
                as those of the calibration.

        Raises:
            ServingError: as `simulate`.
        """
        slots = parameters.num_batch_threads or self.slots
        sizes = self.rows if rows is None else rows
        return simulate(parameters, arrivals, self.service, slots, rows=sizes, seed=seed)

    def predict(
        self,
        parameters: BatchingParameters | Mapping[str, Any],
        *,
        rate: float | None = None,
        callers: int | None = None,
        seed: int = 0,
    ) -> Prediction:
        """The prediction for Poisson arrivals at `rate` requests a second, or for a closed loop of
        so many callers, with an interval for each figure. The latencies are those of a typical
        spell (`prediction.typical`); the intervals allow for the machine's hiccups.

        Args:
            parameters: also a dictionary of those to set, as for `server.batching`.

        Raises:
            ServingError: as `simulate`; INVALID_ARGUMENT, not exactly one of the two is given.
        """
        if (rate is None) == (callers is None):
            raise invalid_argument("Give a rate or a number of callers; had both or none")
        if isinstance(parameters, Mapping):
            parameters = BatchingParameters.from_json(parameters)
        load = callers if rate is None else poisson(rate, seed=seed, count=spells(rate))
        assert load is not None
        return predict(
            self.service,
            parameters.num_batch_threads or self.slots,
            parameters,
            load,
            rows=self.rows,
            drift=self.drift,
            seed=seed,
        )

    @property
    def frame(self) -> pd.DataFrame:
        """Run times in milliseconds, a row for each number of rows and of batches in flight; 0 in
        flight means alone after a pause."""
        import pandas as pd

        service = self.service
        tables = []
        for flight in sorted({0, 1, self._usual, service.in_flight}):
            times = service.quantiles(service.rows, flight) / 1e3
            columns = {
                f"p{level}_ms": np.percentile(times, level, axis=1) for level in (10, 50, 90)
            }
            tables.append(pd.DataFrame({"in_flight": flight, "rows": service.rows, **columns}))
        return pd.concat(tables, ignore_index=True)

    @property
    def _usual(self) -> int:
        """Batches in flight with all of the server's slots busy."""
        return min(self.slots, self.service.in_flight)

    def to_json(self) -> dict[str, Any]:
        """Everything except the number, as plain data."""
        data = {k: v for k, v in self.__dict__.items() if k != "number"}
        return {**data, "service": self.service.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], number: int | None = None) -> Calibration:
        """The calibration that `to_json` wrote."""
        service = ServiceTime.from_json(data["service"])
        return cls(**{**data, "service": service, "number": number})

    def plot(self) -> Picture:
        """Median run time against rows, with the range from the 10th to the 90th percentile, one
        line for each number of batches in flight."""
        return figures(self)

    @property
    def sentence(self) -> str:
        """What the run times mean, in words."""
        times = self.frame
        busy = times[times["in_flight"] == self._usual]
        least, most = busy.iloc[0], busy.iloc[-1]
        mean = f" (mean of {self.times} calibrations)" if self.times > 1 else ""
        said = (
            f"Calibration of {self.model}, version {self.version}{mean}: with "
            f"{self._usual} in flight, a batch of {_rows(least.rows)} runs "
            f"{least.p50_ms:.3g} ms"
        )
        if least.rows == most.rows:
            return f"{said} (median)."
        times_as_much = most.p50_ms / least.p50_ms
        return (
            f"{said} and one of {_rows(most.rows)} {most.p50_ms:.3g} ms (medians): "
            f"{most.rows / least.rows:.0f} times the rows take {times_as_much:.3g} times as long."
        )

    def __repr__(self) -> str:
        return self.sentence

    def __str__(self) -> str:
        return text_result(self.sentence, self.frame)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        return html_result(self.sentence, self.frame, self.plot())


def _rows(count: float) -> str:
    return "1 row" if count == 1 else f"{count:.0f} rows"
