"""The figure of tuning: the measured settings against the limit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workbench.experiments.figure import Picture
from workbench.experiments.tuning.tune_result import short_setting

if TYPE_CHECKING:
    from workbench.experiments.tuning.tune_result import TuneResult


def plot_tuned(found: TuneResult) -> Picture:
    """See `TuneResult.plot`."""
    figure = Picture(figsize=(6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for at, (point, predicted) in enumerate(zip(found.measured, found.predicted_ms, strict=True)):
        p99 = point.latency.get("p99")
        if p99 is not None:
            middle, low, high = p99.estimate * 1e3, p99.low * 1e3, p99.high * 1e3
            axes.plot(at, middle, "o", color="C0", label=None if at else "measured")
            if math.isfinite(low) and math.isfinite(high):
                axes.vlines(at, low, high, color="C0")
        if math.isfinite(predicted):
            axes.plot(at, predicted, "x", color="0.3", label=None if at else "predicted")
    axes.axhline(found.p99_ms, color="C3", linewidth=0.9, linestyle=":", label="wanted")
    axes.set_xlim(-0.6, len(found.measured) - 0.4)
    axes.set_xticks(range(len(found.measured)), [short_setting(p) for p in found.measured])
    axes.set(ylabel="latency, p99 (ms)", ylim=(0, None))
    axes.set_title(f"{found.rate:g} requests/s, {found.where}", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    return figure
