"""The figure of a recording: states, memory and requests on one time axis.

Several recordings stand side by side on the same axes; their zero is the moment at which another
version was wanted. Colours never carry a meaning alone. The figure is as wide as a book's page,
with letters of 7 to 9 points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from workbench.experiments.figure import INK, PAGE_WIDTH, PRINT_STYLE, Picture, head, write
from workbench.experiments.looks import FAILED, STATES, version_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.experiments.recording.recording import Recording

_Rows: TypeAlias = "tuple[list[Axes], list[Axes], list[Axes]]"
"""The panels of each kind: states, memory and requests."""

_GAP_COLOUR = "#F3DADA"
_BLOCK_HEIGHT = 2.85
# Steps of the manager that a reader can tell from the public state anyway.
_SAME_AS_PUBLIC = frozenset({"new", "ready", "disabled", "error"})


def draw_recording(recording: Recording) -> Picture:
    """See `Recording.plot`."""
    return draw([recording])


def draw(
    recordings: Sequence[Recording],
    titles: Sequence[str] | None = None,
    view: tuple[float, float] | None = None,
) -> Picture:
    """States, memory and latency of each recording, side by side; from four on, two in a row.

    Args:
        titles: by default the recordings' own.
        view: the time to show, in seconds since another version was wanted; by default all.
    """
    import matplotlib as mpl
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = len(recordings) if len(recordings) <= 3 else 2
    blocks = -(-len(recordings) // columns)
    zeros = [r.wanted_at for r in recordings]
    if view is None:
        view = (-max(zeros), max(r.end - zero for r, zero in zip(recordings, zeros, strict=True)))
    versions = sorted({span.version for r in recordings for span in r.spans()})
    with mpl.rc_context(PRINT_STYLE):
        width = PAGE_WIDTH if columns > 1 else 0.66 * PAGE_WIDTH
        figure = Picture(
            figsize=(width, _BLOCK_HEIGHT * blocks + 0.55),
            layout=ConstrainedLayoutEngine(h_pad=0.03, w_pad=0.03, hspace=0.02, wspace=0.02),
        )
        grid = figure.subplots(
            3 * blocks,
            columns,
            squeeze=False,
            sharex=True,
            height_ratios=(0.62, 0.8, 1.15) * blocks,
        )
        rows: _Rows = ([], [], [])
        # The last block may have places without a recording.
        for axes in grid[3 * (blocks - 1) :, len(recordings) - columns * (blocks - 1) :].flat:
            axes.set_visible(False)
        for place, (recording, zero) in enumerate(zip(recordings, zeros, strict=True)):
            block, column = divmod(place, columns)
            states, memory, requests = three = grid[3 * block : 3 * block + 3, column]
            _draw_states(states, recording, zero, versions, view)
            _draw_memory(memory, recording, zero)
            _draw_requests(requests, recording, zero)
            _draw_gaps((memory, requests), recording, zero)
            head(states, titles[place] if titles else recording.title, recording.brief, pad=11.5)
            for axes, kind in zip(three, rows, strict=True):
                kind.append(axes)
                _tidy(axes, first=column == 0, last=axes is requests)
        _share(rows, view, ("state", "memory, MB", "latency, ms"), columns)
        _legend(figure, columns, versions)
    return figure


def _draw_states(
    axes: Axes,
    recording: Recording,
    zero: float,
    versions: Sequence[int],
    view: tuple[float, float],
) -> None:
    for span in recording.spans():
        row = versions.index(span.version)
        start = max(view[0], span.start - zero)
        end = min(view[1], recording.end - zero, span.end - zero)
        if end <= start:
            continue
        look, colour = STATES[span.state].patch(), version_colour(span.version)
        edge = "white" if look["hatch"] else colour
        axes.barh(
            row, end - start, left=start, height=0.6, color=colour, edgecolor=edge, linewidth=0.0,
            **look,
        )  # fmt: skip
        if span.state == "AVAILABLE" and end - start > 0.28 * (view[1] - view[0]):
            axes.text(
                (start + end) / 2, row, "available", ha="center", va="center", fontsize=7,
                color="white",
            )  # fmt: skip
    for step in recording.harness_spans():
        at = step.start - zero
        if step.state not in _SAME_AS_PUBLIC and view[0] < at < view[1] and step.start > 0:
            # The manager's steps within a public state.
            row = versions.index(step.version)
            axes.vlines(at, row - 0.3, row + 0.3, color="white", linewidth=0.9)
    for warm in recording.warm_ups():
        row = versions.index(warm.version)
        axes.barh(row + 0.24, warm.end - warm.start, left=warm.start - zero, height=0.12, color=INK)
    decided = [d for d in recording.decisions() if view[0] <= d.at - zero <= view[1]]
    # An empty line that is not clipped would still take room, at the figure's corner.
    if decided:
        axes.plot(
            [d.at - zero for d in decided],
            [versions.index(d.version) - 0.44 for d in decided],
            linestyle="none",
            marker="v",
            markersize=3,
            color=INK,
            clip_on=False,
        )
    axes.set_yticks(range(len(versions)), [f"version {v}" for v in versions])
    axes.set_ylim(len(versions) - 0.5, -0.65)


def _draw_memory(axes: Axes, recording: Recording, zero: float) -> None:
    table = recording.memory_by_version() / 2**20
    if table.empty or not len(table.columns):
        return
    order = sorted(table.columns)
    at = np.asarray(table.index, float) - zero
    axes.stackplot(
        at,
        [table[v].to_numpy() for v in order],
        colors=[version_colour(int(v)) for v in order],
        alpha=0.75,
        linewidth=0,
    )
    # Dots are exact readings; between them, memory is estimated from cheap ones.
    exact = recording.memory[recording.memory["measured"].astype(bool)]
    total = table.sum(axis=1).to_numpy()
    times = exact["at"].to_numpy(float)
    times = np.unique(times[(times >= 0) & (times < recording.end)])
    places = np.minimum(np.searchsorted(at + zero, times), len(total) - 1)
    axes.plot(
        at[places], total[places], linestyle="none", marker="o", markersize=1.6, color=INK,
        markeredgewidth=0,
    )  # fmt: skip
    peak = recording.peak_bytes() / 2**20
    write(axes, 0.99, 0.98, f"peak {peak:,.0f} MB", ha="right", va="top", fontsize=7)


def _draw_requests(axes: Axes, recording: Recording, zero: float) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    load = recording.load
    due, latency = load.intended - zero, load.latency * 1e3
    held = recording.held
    for version in sorted(set(load.version[load.succeeded].tolist())):
        mine = load.succeeded & (load.version == version)
        colour = version_colour(int(version))
        one: Any = {"markersize": 1.7, "markeredgewidth": 0, "color": colour}
        ring: Any = {"markersize": 3.2, "markerfacecolor": "none", "markeredgewidth": 0.7}
        ring["markeredgecolor"] = colour
        for chosen, look in ((mine & ~held, one), (mine & held, ring)):
            axes.plot(due[chosen], latency[chosen], "o", alpha=0.75, rasterized=True, **look)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=8))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    failed = ~load.succeeded
    axes.plot(
        due[failed],
        np.full(int(failed.sum()), 0.95),
        linestyle="none",
        marker="x",
        markersize=3,
        markeredgewidth=0.7,
        color=FAILED,
        transform=axes.get_xaxis_transform(),
    )


def _draw_gaps(axes: Sequence[Axes], recording: Recording, zero: float) -> None:
    """A band behind each time in which no version served."""
    for gap in recording.gaps:
        for each in axes:
            each.axvspan(
                gap.start - zero, min(gap.end, recording.end) - zero, color=_GAP_COLOUR, zorder=0,
                linewidth=0,
            )  # fmt: skip


def _share(
    rows: _Rows,
    view: tuple[float, float],
    labels: tuple[str, str, str],
    columns: int,
) -> None:
    """Give all panels of a kind the same limits, and label only the outer ones."""
    for kind, label in zip(rows, labels, strict=True):
        if label != "state":
            limits = [axes.get_ylim() for axes in kind]
            low, high = min(one[0] for one in limits), max(one[1] for one in limits)
            room = (0.0, high * 1.2) if label.startswith("memory") else (low, high * 2)
            for axes in kind:
                axes.set_ylim(*room)
        for place, axes in enumerate(kind):
            axes.set_xlim(*view)
            if place % columns:
                axes.tick_params(labelleft=False)
            elif label != "state":
                axes.set_ylabel(label)
    for place, axes in enumerate(rows[2]):
        if place + columns >= len(rows[2]):
            axes.set_xlabel("seconds since the new version was wanted")
    if columns == 3:
        for axes in (rows[2][0], rows[2][2]):
            axes.set_xlabel("")


def _tidy(axes: Axes, first: bool, last: bool) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelbottom=last)
    axes.grid(axis="x", color="#EEEEEE", linewidth=0.6)
    axes.set_axisbelow(True)
    if not first and axes.get_yticks().size and not last:
        axes.tick_params(left=False)


def _legend(figure: Any, columns: int, versions: Sequence[int]) -> None:
    """The key, in the order of the panels."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def dot(**look: Any) -> Line2D:
        return Line2D([], [], linestyle="none", **look)

    grey = "#888888"
    entries: list[tuple[Any, str]] = [
        (Patch(color=version_colour(v), linewidth=0), f"version {v}") for v in versions
    ]
    entries += [
        (Patch(facecolor=grey, alpha=0.5, hatch="/////", edgecolor="white"), "loading"),
        (Patch(facecolor=grey, alpha=0.5, hatch=".....", edgecolor="white"), "unloading"),
        (dot(marker="v", markersize=4, color=INK), "decision"),
        (Patch(color=_GAP_COLOUR, linewidth=0), "nothing serves"),
        (dot(marker="o", markersize=2.4, color=INK), "memory, measured exactly"),
        (dot(marker="o", markersize=3.6, markerfacecolor="none", markeredgecolor=INK), "held"),
        (dot(marker="x", markersize=4, color=FAILED), "failed"),
    ]  # fmt: skip
    figure.legend(
        *zip(*entries, strict=True),
        loc="outside lower center",
        ncols=5 if columns > 1 else 3,
        frameon=False,
        handlelength=1.5,
        columnspacing=1.6,
        labelspacing=0.35,
    )
