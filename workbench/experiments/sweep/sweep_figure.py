"""The figure of a sweep: latency against throughput, one line for each setting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.experiments.figure import Picture, write
from workbench.experiments.sweep.point import FAILING, STABLE, Point
from workbench.experiments.sweep.predicted import disagreement, predict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.experiments.simulator.calibration import Calibration
    from workbench.experiments.sweep.sweep_result import SweepResult


def knee(points: Sequence[Point], percentile: str = "p99") -> Point | None:
    """The stable point with the highest throughput divided by latency (Kleinrock's *power*): beyond
    it, more load costs more latency than it brings throughput."""
    asked = [p for p in points if p.verdict == STABLE and percentile in p.latency]
    return max(asked, key=lambda p: p.achieved.estimate / p.percentile(percentile), default=None)


def lines_of(points: tuple[Point, ...]) -> dict[str, list[Point]]:
    """The points of each setting, sorted by load; labels name only what differs."""
    sizes = {p.parameters["max_batch_size"] for p in points}
    slots = {p.slots for p in points}
    lines: dict[str, list[Point]] = {}
    for point in points:
        label = f"{point.parameters['batch_timeout_micros'] / 1e3:g} ms"
        if len(sizes) > 1:
            label += f", size {point.parameters['max_batch_size']}"
        if len(slots) > 1:
            label += f", {point.slots} slots"
        lines.setdefault(label, []).append(point)
    return {label: sorted(line, key=lambda p: p.offered) for label, line in lines.items()}


def plot_sweep(
    result: SweepResult, percentile: str, calibration: Calibration | None = None
) -> Picture:
    """See `SweepResult.plot`."""
    from matplotlib import colormaps

    figure = Picture(figsize=(7, 4.3), layout="constrained")
    axes = figure.add_subplot()
    note = "bars: 95 % intervals; ring: knee; hollow: not stable"
    expected: dict[int, dict[str, float]] = {}
    if calibration is not None:
        predicted = predict(result.points, calibration, result.arrivals, result.seed)
        expected = {id(p): each for p, each in zip(result.points, predicted, strict=True)}
        off = disagreement(result.points, predicted).get(percentile, math.nan)
        note += "; dotted: predicted"
        note += "" if math.isnan(off) else f", median error {off:.0%}"
    lines = lines_of(result.points)
    for number, (label, line) in enumerate(lines.items()):
        color = colormaps["viridis"](0.85 * number / max(len(lines) - 1, 1))
        _draw_line(axes, line, percentile, color, label)
        if expected:
            dotted = [expected[id(point)] for point in line]
            axes.plot(
                [each["achieved"] for each in dotted],
                [each.get(percentile, math.nan) * 1e3 for each in dotted],
                color=color,
                linestyle=":",
                linewidth=1.2,
            )
    failing = [point.offered for point in result.points if point.verdict == FAILING]
    if failing:
        note += "; red cross: requests failed"
        ground = axes.get_xaxis_transform()
        axes.plot(failing, [0.1] * len(failing), "x", color="C3", markersize=8, transform=ground)
    if result.p99_ms is not None and percentile == "p99":
        axes.axhline(result.p99_ms, color="C3", linewidth=0.9, linestyle=":")
        note += f"; red line: the wanted {result.p99_ms:g} ms"
    heights = [p.percentile(percentile) for p in result.points if percentile in p.latency]
    if heights and max(heights) > 20 * min(heights):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("throughput (requests/s)")
    axes.set_ylabel(f"latency, {percentile} (ms)")
    axes.set_title(
        f"{result.model}, version {result.version}: {result.where}, "
        f"{'closed loop' if result.arrivals == 'closed' else result.arrivals + ' arrivals'}",
        fontsize=10,
    )
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title="batching delay", frameon=False, fontsize=9)
    write(axes, 0.99, 0.02, note, ha="right", fontsize=7, color="0.4")
    return figure


def _draw_line(axes: Axes, line: Sequence[Point], percentile: str, color: Any, label: str) -> None:
    """The measurements of one setting, with their intervals; the knee is ringed."""
    shown = [p for p in line if percentile in p.latency]
    x = [p.achieved.estimate for p in shown]
    y = [p.percentile(percentile) * 1e3 for p in shown]
    axes.plot(x, y, color=color, linewidth=1.4, label=label)
    for point in shown:
        found = point.latency[percentile]
        at = (point.achieved.estimate, found.estimate * 1e3)
        axes.errorbar(
            *at,
            xerr=_sides(point.achieved.low, at[0], point.achieved.high),
            yerr=_sides(found.low * 1e3, at[1], found.high * 1e3),
            color=color,
            marker="o",
            markersize=5,
            markerfacecolor=color if point.verdict == STABLE else "white",
            linewidth=0.9,
            capsize=2,
        )
    best = knee(line, percentile) if len(line) > 2 else None
    if best is not None:
        axes.plot(
            best.achieved.estimate,
            best.percentile(percentile) * 1e3,
            marker="o",
            markersize=13,
            markerfacecolor="none",
            markeredgecolor=color,
            linestyle="none",
        )


def _sides(low: float, middle: float, high: float) -> list[list[float]]:
    def side(length: float) -> float:
        return max(length, 0.0) if math.isfinite(length) else 0.0

    return [[side(middle - low)], [side(high - middle)]]
