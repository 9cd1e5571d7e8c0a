"""The figure of a calibration: run time against the rows of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.experiments.figure import Picture

if TYPE_CHECKING:
    from workbench.experiments.simulator.calibration import Calibration


def plot_calibration(found: Calibration) -> Picture:
    """See `Calibration.plot`."""
    figure = Picture(figsize=(6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for flight, part in found.frame.groupby("in_flight"):
        label = "alone, after a pause" if flight == 0 else f"{flight!s} in flight"
        (line,) = axes.plot(part.rows, part.p50_ms, marker="o", markersize=4, label=label)
        axes.fill_between(part.rows, part.p10_ms, part.p90_ms, alpha=0.2, color=line.get_color())
    axes.set(xlabel="rows of a batch", ylabel="run time (ms)", ylim=(0, None))
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    return figure
