"""The figure of one load: the latency of each request over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.experiments.figure import Picture
from workbench.experiments.looks import FAILED, VERSIONS

if TYPE_CHECKING:
    from workbench.experiments.load.generator import LoadResult


def plot_load(found: LoadResult) -> Picture:
    """See `LoadResult.plot`."""
    figure = Picture(figsize=(6, 3.0), layout="constrained")
    axes = figure.add_subplot()
    for chosen, colour, label in (
        (found.succeeded, VERSIONS[0], "answered"),
        (~found.succeeded, FAILED, "failed"),
    ):
        if chosen.any():
            axes.plot(
                found.intended[chosen],
                found.latency[chosen] * 1e3,
                ".",
                markersize=3,
                color=colour,
                label=label,
            )
    axes.set(xlabel="due (s)", ylabel="latency (ms)", yscale="log")
    axes.spines[["top", "right"]].set_visible(False)
    if len(found.intended):
        axes.legend(frameon=False, fontsize=9)
    return figure
