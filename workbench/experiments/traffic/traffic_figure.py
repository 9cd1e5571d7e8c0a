"""The figure of recorded traffic: requests per second over time, and how large they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.experiments.figure import Picture, head
from workbench.experiments.looks import VERSIONS

if TYPE_CHECKING:
    from workbench.experiments.traffic.recorded_traffic import Traffic

_MOST_STEPS = 600
_MOST_BARS = 40


def plot_traffic(traffic: Traffic) -> Picture:
    """See `Traffic.plot`."""
    figure = Picture(figsize=(7, 3.2), layout="constrained")
    over_time, sizes = figure.subplots(1, 2, width_ratios=(3, 1))
    width = step_seconds(traffic.duration_s)
    edges = np.arange(0, traffic.duration_s + width, width)
    counts = np.histogram(traffic.times_s, edges)[0]
    over_time.stairs(counts / width, edges, fill=True, color=VERSIONS[0], alpha=0.35)
    over_time.stairs(counts / width, edges, color=VERSIONS[0], linewidth=0.8)
    over_time.axhline(traffic.rate, color="0.3", linestyle="--", linewidth=0.8)
    over_time.set(xlabel="seconds", ylabel="requests/s", xlim=(0, traffic.duration_s))
    over_time.set_ylim(bottom=0)
    steps = f"in steps of {width:g} s; dashed: {traffic.rate:.3g} requests/s on average"
    head(over_time, traffic.model or "Traffic", steps)
    most = int(traffic.rows.max())
    bars = np.unique(np.linspace(0, most + 1, min(most + 2, _MOST_BARS)).astype(int))
    sizes.hist(traffic.rows, bars - 0.5, color=VERSIONS[1], alpha=0.7)
    sizes.set(xlabel="rows", ylabel="requests")
    head(sizes, "Sizes", f"{traffic.rows.mean():.1f} rows on average")
    for axes in (over_time, sizes):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def step_seconds(duration: float) -> float:
    """The width of a step in seconds: 1, 2 or 5 times a power of ten, at most a second where that
    leaves few enough steps."""
    least = min(1.0, duration / 50)
    least = max(least, duration / _MOST_STEPS)
    power = 10.0 ** np.floor(np.log10(least))
    return float(next(power * m for m in (1, 2, 5, 10) if power * m >= least * (1 - 1e-9)))
