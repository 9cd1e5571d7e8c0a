"""A model's measured run times, for the simulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.experiments.simulator.simulate import SimulationResult, simulate
from workbench.load.arrivals import Seconds

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Calibration:
    """A model's run times, and the server's settings they hold for.

    Attributes:
        service: the run times.
        version: the version that was measured.
        slots: executor slots of the server.
        rows: rows of each request.
        number: in the store; None if it was not kept.
    """

    service: ServiceTime
    model: str
    version: int
    slots: int
    rows: int
    number: int | None = None

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

    @property
    def frame(self) -> pd.DataFrame:
        """Run times in milliseconds, a row for each number of rows and of batches in flight; 0 in
        flight means alone after a pause."""
        import pandas as pd

        service = self.service
        tables = []
        for flight in sorted({0, 1, service.in_flight}):
            times = service.quantiles(service.rows, flight) / 1e3
            columns = {
                f"p{level}_ms": np.percentile(times, level, axis=1) for level in (10, 50, 90)
            }
            tables.append(pd.DataFrame({"in_flight": flight, "rows": service.rows, **columns}))
        return pd.concat(tables, ignore_index=True)

    def to_json(self) -> dict[str, Any]:
        """Everything except the number, as plain data."""
        data = {k: v for k, v in self.__dict__.items() if k != "number"}
        return {**data, "service": self.service.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], number: int | None = None) -> Calibration:
        """The calibration that `to_json` wrote."""
        service = ServiceTime.from_json(data["service"])
        return cls(**{**data, "service": service, "number": number})

    def plot(self, axes: Any = None) -> Any:
        """Median run time against rows, with the range from the 10th to the 90th percentile, one
        line for each number of batches in flight; returns matplotlib's axes."""
        import matplotlib.pyplot as plt

        axes = axes or plt.subplots(figsize=(6, 3.6), layout="constrained")[1]
        for flight, part in self.frame.groupby("in_flight"):
            label = "alone, after a pause" if flight == 0 else f"{flight!s} in flight"
            (line,) = axes.plot(part.rows, part.p50_ms, marker="o", markersize=4, label=label)
            axes.fill_between(
                part.rows, part.p10_ms, part.p90_ms, alpha=0.2, color=line.get_color()
            )
        axes.set(xlabel="rows of a batch", ylabel="run time (ms)", ylim=(0, None))
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
        return axes
