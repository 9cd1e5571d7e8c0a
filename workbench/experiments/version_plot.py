"""The figure of two versions side by side."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.experiments.figure import Picture

if TYPE_CHECKING:
    from workbench.experiments.version_comparison import VersionComparison

# Okabe and Ito's blue and vermilion: told apart by everybody, as in the figures of transitions.
_COLORS = ("#0072b2", "#d55e00")
_GALLERY = 6


def plot_comparison(found: VersionComparison) -> Picture:
    """Answers, latency and memory in a row; below it the disagreements, where they are images."""
    images = images_of(found)
    worst = found.disagreements["example"].tolist()[:_GALLERY] if images is not None else []
    figure = Picture(figsize=(9.5, 3.2 + (1.75 if worst else 0.0)), layout="constrained")
    rows: Any = figure.subfigures(2, 1, height_ratios=[3.2, 1.75]) if worst else None
    top: Any = figure if rows is None else rows[0]
    answers, latency, memory = top.subplots(1, 3, width_ratios=[1.1, 1.25, 0.8])
    names = [f"version {v}" for v in found.versions]
    _answers(answers, found, names)
    _latency(latency, found, names)
    _memory(memory, found, names)
    for axes in (answers, latency, memory):
        axes.spines[["top", "right"]].set_visible(False)
    if rows is not None and images is not None:
        _gallery(rows[1], found, images, worst)
    return figure


def _answers(axes: Any, found: VersionComparison, names: list[str]) -> None:
    if found.accuracies is not None:
        bars = axes.bar(names, [a * 100 for a in found.accuracies], color=_COLORS, width=0.6)
        axes.bar_label(bars, fmt="{:.1f} %", padding=2)
        axes.set_ylim(0, 112)
        axes.set_yticks([0, 25, 50, 75, 100])
        axes.set_ylabel("right, % of the examples")
        assert found.p_value is not None
        axes.set_title(f"accuracy (McNemar p = {found.p_value:.2g})", fontsize=10, loc="left")
        return
    if found.errors is not None:
        bars = axes.bar(names, [e[0] for e in found.errors], color=_COLORS, width=0.6)
        axes.bar_label(bars, fmt="{:.3g}", padding=2)
        axes.margins(y=0.12)
        axes.set_ylabel("mean absolute error")
        axes.set_title("error", fontsize=10, loc="left")
        return
    shares = [found.agreement * 100, 100 - found.agreement * 100]
    bars = axes.bar(["the same", "different"], shares, color=["#009e73", "#999999"], width=0.6)
    axes.bar_label(bars, fmt="{:.1f} %", padding=2)
    axes.set_ylim(0, 112)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.set_ylabel("% of the examples")
    largest = found.difference.largest
    size = "" if math.isnan(largest) else f", at most {largest:.2g} apart"
    axes.set_title(f"answers{size}", fontsize=10, loc="left")


def _latency(axes: Any, found: VersionComparison, names: list[str]) -> None:
    """The share of requests answered within a time, for both."""
    share = np.arange(1, len(found.seconds) + 1) / len(found.seconds) * 100
    for i, style in enumerate(("-", "--")):
        times = np.sort(found.seconds[:, i]) * 1e3
        axes.plot(times, share, style, color=_COLORS[i], label=names[i], linewidth=1.6)
    low, high = np.percentile(found.seconds * 1e3, [0.1, 99])
    axes.set_xlim(low * 0.9, high * 1.1)
    axes.set_ylim(0, 102)
    axes.set_xlabel("latency, ms")
    axes.set_ylabel("answered within, % of requests")
    axes.legend(frameon=False, loc="lower right")
    ratio = found.latency
    axes.set_title(
        f"latency: {ratio.ratio:.2f}x [{ratio.low:.2f}, {ratio.high:.2f}], {ratio.verdict}",
        fontsize=10,
        loc="left",
    )


def _memory(axes: Any, found: VersionComparison, names: list[str]) -> None:
    values = [(f.memory_bytes or 0) / 2**20 for f in found.facts]
    bars = axes.bar(names, values, color=_COLORS, width=0.6)
    axes.bar_label(bars, fmt="{:.0f}", padding=2)
    axes.margins(y=0.12)
    axes.set_ylabel("memory of its worker, MB")
    axes.set_title("memory, measured", fontsize=10, loc="left")


def images_of(found: VersionComparison) -> np.ndarray | None:
    """The examples as pictures, [n, height, width] or [n, height, width, 3]; None where they are
    none. Rows of a square number of pixels are taken as square pictures."""
    if len(found.inputs) != 1:
        return None
    values = next(iter(found.inputs.values()))
    if values.dtype.kind not in "fiu":
        return None
    if values.ndim == 2:
        side = math.isqrt(values.shape[1])
        return values.reshape(-1, side, side) if side > 3 and side**2 == values.shape[1] else None
    if values.ndim == 4 and values.shape[3] == 1:
        return values[..., 0]
    if values.ndim == 3 or (values.ndim == 4 and values.shape[3] == 3):
        return values if min(values.shape[1:3]) > 3 else None
    return None


def example_png(picture: np.ndarray) -> bytes:
    """One example as a small PNG, dark on light."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    imsave(buffer, _stretched(picture), cmap="gray_r", format="png")
    return buffer.getvalue()


def _stretched(picture: np.ndarray) -> np.ndarray:
    """Between 0 and 1."""
    values = picture.astype(float)
    return np.asarray((values - values.min()) / (np.ptp(values) or 1.0))


def _gallery(figure: Any, found: VersionComparison, images: np.ndarray, worst: list[int]) -> None:
    figure.suptitle(
        "answered differently, the furthest apart first", fontsize=10, x=0.01, ha="left"
    )
    table = found.disagreements.set_index("example")
    first, second = (f"version {v}" for v in found.versions)
    for place, axes in zip(range(_GALLERY), figure.subplots(1, _GALLERY), strict=True):
        axes.set_axis_off()
        if place >= len(worst):
            continue
        example = worst[place]
        axes.imshow(_stretched(images[example]), cmap="gray_r", interpolation="nearest")
        said = f"{table[first][example]} | {table[second][example]}"
        if found.labels is not None:
            said += f"  (is {table['label'][example]})"
        axes.set_title(said if len(said) < 24 else f"example {example}", fontsize=9)
