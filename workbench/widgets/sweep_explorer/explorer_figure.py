"""The sweep explorer as a figure and as HTML without scripts."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.experiments.figure import INK, PAGE_WIDTH, PRINT_STYLE, Picture
from workbench.experiments.sweep.explore import AXES, Setting
from workbench.experiments.sweep.point import STABLE, Point
from workbench.experiments.sweep.sweep_result import SweepResult
from workbench.widgets.base.durable import image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"p50": "#0072B2", "p90": "#009E73", "p99": "#D55E00", "achieved": "#0072B2"}
_LINES = {"p50": ":", "p90": "--", "p99": "-", "achieved": "-"}
_LABELS = {
    "batch_timeout_micros": "batch_timeout_micros (ms)",
    "max_batch_size": "max_batch_size (rows)",
    "num_batch_threads": "num_batch_threads",
    "rate": "offered (requests/s)",
}


def draw(
    model: str,
    setting: Setting,
    axis: str,
    predicted: Sequence[Point],
    measured: Sequence[Point],
) -> Picture:
    """Latency and throughput against `axis`: lines are simulated, dots with 95 % intervals are
    measured. Dots whose setting differs from the curve's in more than the axis are hollow."""
    import matplotlib as mpl

    with mpl.rc_context(PRINT_STYLE):
        figure = Picture(figsize=(PAGE_WIDTH, 2.9), layout="constrained")
        latency, throughput = figure.subplots(1, 2)
        xs = [_place(point, axis) for point in predicted]
        for name, style in _LINES.items():
            axes = throughput if name == "achieved" else latency
            label = "simulated" if name == "achieved" else f"{name}, simulated"
            if predicted:
                ys = [_middle(point, name) for point in predicted]
                axes.plot(xs, ys, style, color=COLOURS[name], linewidth=1.2, label=label)
        for point in measured:
            for name, axes in (("p50", latency), ("p99", latency), ("achieved", throughput)):
                _dot(axes, point, name, axis, _differs(point, setting, axis))
        for axes, label in ((latency, "latency (ms)"), (throughput, "answered (requests/s)")):
            axes.set(xlabel=_LABELS[axis], ylabel=label)
            if axis != "num_batch_threads":
                linear = 0.1 if axis == "batch_timeout_micros" else 1.0
                axes.set_xscale("symlog", linthresh=linear, linscale=0.4)
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
        latency.set_yscale("log")
        throughput.set_ylim(bottom=0)
        latency.set_title(f"{model}: {_held(setting, axis)}", loc="left", color=INK)
        throughput.set_title("dots: measured, 95 % intervals", loc="right", fontsize=7, color=INK)
        if predicted:
            latency.legend(frameon=False)
    return figure


def _dot(axes: Axes, point: Point, name: str, axis: str, elsewhere: bool) -> None:
    found = point.achieved if name == "achieved" else point.latency.get(name)
    if found is None:
        return
    unit = 1.0 if name == "achieved" else 1e3
    middle = found.estimate * unit
    sides = [
        [max(middle - found.low * unit, 0.0) if math.isfinite(found.low) else 0.0],
        [max(found.high * unit - middle, 0.0) if math.isfinite(found.high) else 0.0],
    ]
    hollow = elsewhere or point.verdict != STABLE
    look: dict[str, Any] = {"markerfacecolor": "white" if hollow else COLOURS[name]}
    axes.errorbar(
        _place(point, axis), middle, yerr=sides, color=COLOURS[name], marker="o", markersize=5,
        linewidth=1, capsize=2.5, alpha=0.5 if elsewhere else 1.0, **look,
    )  # fmt: skip


def _middle(point: Point, name: str) -> float:
    if name == "achieved":
        return point.achieved.estimate
    return point.percentile(name) * 1e3


def _of(point: Point) -> Setting:
    return Setting.of(point.batching, point.load["rate"])


def _place(point: Point, axis: str) -> float:
    value = float(getattr(_of(point), axis))
    return value / 1e3 if axis == "batch_timeout_micros" else value


def _differs(point: Point, setting: Setting, axis: str) -> bool:
    mine = _of(point)
    return any(getattr(mine, each) != getattr(setting, each) for each in AXES if each != axis)


def _held(setting: Setting, axis: str) -> str:
    """The constant values of the curve, in words."""
    parts = {
        "batch_timeout_micros": f"delay {setting.batch_timeout_micros / 1e3:g} ms",
        "max_batch_size": f"up to {setting.max_batch_size} rows",
        "num_batch_threads": f"{setting.num_batch_threads} threads",
        "rate": f"{setting.rate:g} requests/s",
    }
    return ", ".join(text for name, text in parts.items() if name != axis)


def page(text: str, result: SweepResult | None, png: bytes | None) -> str:
    """Figure, table and diagnoses as HTML."""
    title, calibrated = (html.escape(line) for line in text.splitlines()[:2])
    parts = [f"<p><b>{title}</b></p><p>{calibrated}</p>"]
    if png is not None:
        parts.append(image(png, text))
    parts.append("<p>Nothing is measured yet.</p>" if result is None else result.html(figure=False))
    return "".join(parts)
