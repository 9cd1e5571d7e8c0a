"""The figure of two versions side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.experiments.figure import PAGE_WIDTH, PRINT_STYLE, Picture, head, write
from workbench.experiments.looks import VERSIONS
from workbench.experiments.versions.example_images import images_of, stretched

if TYPE_CHECKING:
    from workbench.experiments.versions.version_comparison import VersionComparison

_COLORS = VERSIONS[:2]
_GALLERY = 6
_PERCENT = "{:.1f} %"
_ROW_HEIGHT, _GALLERY_HEIGHT = 2.3, 1.45
# Longer answers do not fit below their picture.
_SHORT = 3


def plot_comparison(found: VersionComparison) -> Picture:
    """Answers, latency and memory in a row; below it the disagreements, where they are images."""
    import matplotlib as mpl

    images = images_of(found.inputs)
    worst = found.disagreements["example"].tolist()[:_GALLERY] if images is not None else []
    with mpl.rc_context(PRINT_STYLE):
        height = _ROW_HEIGHT + (_GALLERY_HEIGHT if worst else 0.0)
        figure = Picture(figsize=(PAGE_WIDTH, height), layout="constrained")
        top: Any = figure
        below: Any = None
        if worst:
            both: Any = figure.subfigures(2, 1, height_ratios=[_ROW_HEIGHT, _GALLERY_HEIGHT])
            top, below = both
        names = [f"version {v}" for v in found.versions]
        panels = top.subplots(1, 3, width_ratios=[1.0, 1.5, 0.8])
        for axes, draw in zip(panels, (_answers, _latency, _memory), strict=True):
            draw(axes, found, names)
            axes.spines[["top", "right"]].set_visible(False)
        if worst and images is not None:
            _gallery(below, found, images, worst)
    return figure


def _bars(
    axes: Any, names: list[str], values: list[float], unit: str, form: str, colors: Any = _COLORS
) -> None:
    """A bar for each value, labelled with it in this form."""
    axes.bar_label(axes.bar(names, values, color=colors, width=0.6), fmt=form, padding=2)
    axes.set_ylabel(unit)
    if form == _PERCENT:
        axes.set_ylim(0, 112)
        axes.set_yticks([0, 25, 50, 75, 100])
    else:
        axes.margins(y=0.12)


def _answers(axes: Any, found: VersionComparison, names: list[str]) -> None:
    if found.accuracies is not None:
        shares = [accuracy * 100 for accuracy in found.accuracies]
        _bars(axes, names, shares, "right, % of the examples", _PERCENT)
        head(axes, "accuracy", f"McNemar's test: p = {found.p_value:.2g}")
    elif found.errors is not None:
        means = [error[0] for error in found.errors]
        _bars(axes, names, means, "mean absolute error", "{:.3g}")
        head(axes, "error", "less is better")
    else:
        shares = [found.agreement * 100, 100 - found.agreement * 100]
        kinds, colors = ["the same", "different"], ["#009e73", "#999999"]
        _bars(axes, kinds, shares, "% of the examples", _PERCENT, colors)
        largest = found.difference.largest
        head(axes, "answers", "" if math.isnan(largest) else f"at most {largest:.2g} apart")


def _latency(axes: Any, found: VersionComparison, names: list[str]) -> None:
    """The share of requests answered within a time, for both."""
    from matplotlib.ticker import LogLocator, NullLocator

    share = np.arange(1, len(found.seconds) + 1) / len(found.seconds) * 100
    for i, style in enumerate(("-", "--")):
        times = np.sort(found.seconds[:, i]) * 1e3
        axes.plot(times, share, style, color=_COLORS[i], label=names[i], linewidth=1.6)
    low, high = np.percentile(found.seconds * 1e3, [0.1, 99.5])
    axes.set_xscale("log")
    axes.set_xlim(low * 0.9, high * 1.1)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylim(0, 102)
    axes.set_xlabel("latency, ms")
    axes.set_ylabel("answered within, % of requests")
    axes.legend(frameon=False, loc="lower right")
    ratio = found.latency
    interval = f"{ratio.ratio:.2f} times ({ratio.low:.2f} to {ratio.high:.2f})"
    head(axes, "latency", f"{interval}: {ratio.verdict}")


def _memory(axes: Any, found: VersionComparison, names: list[str]) -> None:
    values = [(f.memory_bytes or 0) / 2**20 for f in found.facts]
    _bars(axes, names, values, "MB", "{:.0f}")
    head(axes, "memory", "of its worker, measured")


def _gallery(figure: Any, found: VersionComparison, images: np.ndarray, worst: list[int]) -> None:
    """Each disagreement with both versions' answers, in their colours."""
    figure.suptitle(
        "answered differently, the furthest apart first",
        fontsize=8.5, fontweight="bold", x=0.008, ha="left",
    )  # fmt: skip
    table = found.disagreements.set_index("example")
    columns = [f"version {v}" for v in found.versions]
    for place, axes in zip(range(_GALLERY), figure.subplots(1, _GALLERY), strict=True):
        axes.set_axis_off()
        if place >= len(worst):
            continue
        example = worst[place]
        axes.imshow(stretched(images[example]), cmap="gray_r", interpolation="nearest")
        said = [str(table[column][example]) for column in columns]
        if max(map(len, said)) > _SHORT:
            said = [f"example {example}", ""]
        for at, text, colour in zip((0.0, 0.2), said, _COLORS, strict=True):
            write(axes, at, -0.03, text, color=colour, fontweight="bold", va="top")
        if found.labels is not None:
            write(axes, 1.0, -0.03, f"is {table['label'][example]}", ha="right", va="top")
