"""The figure of a recording: states, memory and requests on one time axis.

Several recordings stand side by side on shared axes, so that heights can be compared. Colours
are told apart by colour-blind readers (Okabe and Ito's), and never carry a meaning alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from workbench.experiments.recording import Recording

VERSION_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
FAILED_COLOUR = "#B00020"
_STATE_LOOK: dict[str, dict[str, Any]] = {
    "START": {"alpha": 0.15, "hatch": None},
    "LOADING": {"alpha": 0.35, "hatch": "////"},
    "AVAILABLE": {"alpha": 1.0, "hatch": None},
    "UNLOADING": {"alpha": 0.35, "hatch": "...."},
}
_INK = "#333333"


def draw(recordings: Sequence[Recording]) -> Figure:
    """One column a recording; rows for states, memory and latency."""
    from workbench.experiments.figure import Picture

    figure = Picture(figsize=(5.4 * len(recordings) + 0.8, 6.2), layout="constrained")
    grid = figure.subplots(
        3,
        len(recordings),
        squeeze=False,
        sharey="row",
        sharex="col",
        height_ratios=(1.0, 1.3, 1.7),
    )
    versions = sorted({span.version for r in recordings for span in r.spans()})
    colours = {v: VERSION_COLOURS[i % len(VERSION_COLOURS)] for i, v in enumerate(versions)}
    for column, recording in enumerate(recordings):
        states, memory, requests = grid[0][column], grid[1][column], grid[2][column]
        _draw_states(states, recording, versions, colours)
        _draw_memory(memory, recording, colours)
        _draw_requests(requests, recording, colours)
        states.set_title(_headline(recording), loc="left", fontsize=11, color=_INK)
        requests.set_xlabel("seconds")
        requests.set_xlim(0, recording.end)
    grid[0][0].set_ylabel("state")
    grid[1][0].set_ylabel("workers' memory, MB")
    grid[2][0].set_ylabel("latency, ms")
    for axes in figure.axes:
        _tidy(axes)
    handles, labels = grid[2][0].get_legend_handles_labels()
    for row in grid[2][1:]:
        more = row.get_legend_handles_labels()
        for handle, label in zip(*more, strict=True):
            if label not in labels:
                handles.append(handle)
                labels.append(label)
    order = sorted(range(len(labels)), key=lambda i: labels[i])
    figure.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="outside lower left",
        ncols=len(labels),
        frameon=False,
        fontsize=9,
    )
    return figure


def _headline(recording: Recording) -> str:
    failed = recording.failed
    requests = "no request failed" if failed == 0 else f"{failed} requests failed"
    gap = recording.gap_seconds
    away = "never away" if gap == 0 else f"away for {gap * 1e3:.0f} ms"
    return f"{recording.title}\n{requests}, {away}"


def _draw_states(
    axes: Axes, recording: Recording, versions: Sequence[int], colours: dict[int, str]
) -> None:
    for span in recording.spans():
        row = versions.index(span.version)
        start, end = max(0.0, span.start), min(recording.end, span.end)
        look = _STATE_LOOK[span.state]
        axes.barh(
            row,
            end - start,
            left=start,
            height=0.56,
            color=colours[span.version],
            edgecolor="white" if look["hatch"] else colours[span.version],
            linewidth=0.0 if look["hatch"] else 0.5,
            **look,
        )
        if end - start > 0.14 * recording.end:
            dark = span.state == "AVAILABLE"
            axes.text(
                (start + end) / 2,
                row,
                span.state.lower(),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if dark else _INK,
            )
    axes.set_yticks(range(len(versions)), [f"version {v}" for v in versions])
    axes.set_ylim(len(versions) - 0.5, -0.5)


def _draw_memory(axes: Axes, recording: Recording, colours: dict[int, str]) -> None:
    table = recording.memory_by_version() / 2**20
    if table.empty:
        return
    order = sorted(table.columns)
    axes.stackplot(
        np.asarray(table.index, float),
        [table[v].to_numpy() for v in order],
        colors=[colours.get(int(v), "#999999") for v in order],
        alpha=0.75,
        linewidth=0,
    )
    axes.set_ylim(bottom=0)
    peak = recording.peak_bytes() / 2**20
    axes.axhline(peak, color=_INK, linewidth=0.6, linestyle=(0, (4, 3)))
    axes.annotate(
        f"peak {peak:.0f} MB",
        (recording.end, peak),
        xytext=(-4, 3),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=8,
        color=_INK,
    )
    axes.margins(y=0.18)


def _draw_requests(axes: Axes, recording: Recording, colours: dict[int, str]) -> None:
    load = recording.load
    latency = load.latency * 1e3
    for version in sorted(set(load.version[load.succeeded].tolist())):
        mine = load.succeeded & (load.version == version)
        axes.plot(
            load.intended[mine],
            latency[mine],
            linestyle="none",
            marker="o",
            markersize=2.2,
            color=colours.get(int(version), "#999999"),
            alpha=0.6,
            label=f"answered by version {version}",
        )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    failed = ~load.succeeded
    if failed.any():
        axes.plot(
            load.intended[failed],
            np.full(int(failed.sum()), 0.96),
            linestyle="none",
            marker="x",
            markersize=4,
            color=FAILED_COLOUR,
            label="failed",
            transform=axes.get_xaxis_transform(),
        )


def _tidy(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#BBBBBB")
    axes.tick_params(colors=_INK, labelsize=9)
    axes.grid(axis="x", color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)
