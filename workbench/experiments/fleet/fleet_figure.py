"""The figure of a simulated fleet: its servers as lanes, their queues and the latency over time.

Results of several policies stand side by side on the same axes. A lane is dark where its server has
many requests; its phases are hatched or named, so colour never carries a meaning alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.experiments.figure import INK, PAGE_WIDTH, PRINT_STYLE, Picture, head, write
from workbench.experiments.fleet.fleet_outcomes import Outcome
from workbench.experiments.fleet.fleet_server import Phase
from workbench.experiments.looks import FAILED, HATCHES, VERSIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.experiments.fleet.fleet_result import FleetResult
    from workbench.experiments.fleet.simulate_fleet import PolicyComparison

_STEPS = 240
"""Columns of a lane, and points of the lines above it."""
_MOST_LANES = 40
"""Of more servers, so many are shown, evenly chosen."""
_MOST_DOTS = 4000
_QUEUE, _LATENCY = VERSIONS[0], VERSIONS[1]
_PHASES: dict[Phase, tuple[str, dict[str, Any]]] = {
    Phase.STARTING: ("starting", {"facecolor": "#FFFFFF", "hatch": HATCHES["rising"]}),
    Phase.SLOWER: ("slower", {"facecolor": "none", "hatch": "....."}),
    Phase.DRAINING: ("draining", {"facecolor": "none", "hatch": HATCHES["falling"]}),
    Phase.AWAY: ("away", {"facecolor": "#E4E4E4", "hatch": HATCHES["falling"]}),
    Phase.LOST: ("lost", {"facecolor": "#F3DADA", "hatch": "xxxxx"}),
    Phase.SILENT: ("lost, silent", {"facecolor": "#F3DADA", "hatch": "+++++"}),
    Phase.ABSENT: ("none", {"facecolor": "#FFFFFF"}),
}


def draw_fleet(result: FleetResult) -> Picture:
    """See `FleetResult.plot`."""
    return draw([result], [result.setting.policy.replace("_", " ")])


def draw_policies(comparison: PolicyComparison) -> Picture:
    """See `PolicyComparison.plot`."""
    titles = [policy.replace("_", " ") for policy in comparison.results]
    return draw(list(comparison.results.values()), titles)


def draw(results: Sequence[FleetResult], titles: Sequence[str]) -> Picture:
    """Latency, queues and lanes of each result, one below the other, and the results side by
    side."""
    import matplotlib as mpl
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    end = max(result.seconds for result in results)
    shown = [_shown(result) for result in results]
    grids = [_queues(result, lanes, end) for result, lanes in zip(results, shown, strict=True)]
    highest = max(1.0, *(float(grid.max()) for grid in grids))
    tall = 0.4 + 0.16 * max(len(lanes) for lanes in shown)
    with mpl.rc_context(PRINT_STYLE):
        figure = Picture(
            figsize=(PAGE_WIDTH, 3.0 + tall),
            layout=ConstrainedLayoutEngine(h_pad=0.03, w_pad=0.03, hspace=0.02, wspace=0.02),
        )
        panels = figure.subplots(
            3, len(results), squeeze=False, sharex=True, height_ratios=(1.15, 0.85, tall)
        )
        for row in panels[:2]:
            for axes in row[1:]:
                axes.sharey(row[0])
        for column, (result, title) in enumerate(zip(results, titles, strict=True)):
            latency, queue, lanes = panels[:, column]
            _draw_latency(latency, result)
            _draw_queue(queue, result, end)
            _draw_lanes(lanes, result, shown[column], grids[column], (end, highest))
            summary = result.summary()
            found = summary["latency_s"].get(99.0, float("nan")) * 1e3
            head(latency, title, f"p99 {found:.3g} ms, {summary['failed_share']:.2%} failed", 11.5)
            for axes, label in zip(
                (latency, queue, lanes), ("latency, ms", "requests a server", "server"), strict=True
            ):
                axes.spines[["top", "right"]].set_visible(False)
                axes.set_xlim(0, end)
                axes.tick_params(labelleft=column == 0, labelbottom=axes is lanes)
                if column == 0:
                    axes.set_ylabel(label)
            lanes.set_xlabel("seconds")
        _legend(figure, results, highest)
    return figure


def _shown(result: FleetResult) -> list[int]:
    """The servers that get a lane."""
    last = len(result.lanes) - 1
    places = np.linspace(0, last, min(last + 1, _MOST_LANES)).round().astype(int)
    lanes: list[int] = np.unique(places).tolist()
    return lanes


def _queues(result: FleetResult, lanes: Sequence[int], end: float) -> Any:
    """Shape (lanes, steps): the requests of each server in the middle of each step."""
    at = (np.arange(_STEPS) + 0.5) * end / _STEPS
    return np.array([result.lanes[lane].outstanding(at) for lane in lanes], float)


def _draw_latency(axes: Axes, result: FleetResult) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    answered = np.flatnonzero(result.answered)
    some = answered[:: max(1, len(answered) // _MOST_DOTS)]
    axes.plot(
        result.arrived[some], (result.done - result.arrived)[some] * 1e3, "o", color=_LATENCY,
        markersize=1.5, markeredgewidth=0, alpha=0.6, rasterized=True,
    )  # fmt: skip
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=8))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    failed = np.flatnonzero(~result.answered)
    axes.plot(
        result.arrived[failed], np.full(len(failed), 0.95), "x", color=FAILED, markersize=3,
        markeredgewidth=0.7, transform=axes.get_xaxis_transform(),
    )  # fmt: skip


def _draw_queue(axes: Axes, result: FleetResult, end: float) -> None:
    """The requests of the mean and of the busiest server."""
    at = (np.arange(_STEPS) + 0.5) * end / _STEPS
    mean, most = np.zeros(_STEPS), np.zeros(_STEPS)
    for lane in result.lanes:
        held = lane.outstanding(at)
        mean += held / len(result.lanes)
        np.maximum(most, held, out=most)
    axes.plot(at, most, color=_QUEUE, linewidth=0.9)
    axes.plot(at, mean, color=_QUEUE, linewidth=0.9, linestyle=":")
    write(axes, 0.99, 0.98, f"most {most.max():.0f}", ha="right", va="top", fontsize=7)
    axes.set_ylim(0, max(axes.get_ylim()[1], 1.25 * most.max(), 1))
    if len(result.wanted) > 1:
        times, servers, _ = zip(*result.wanted, strict=True)
        steps = axes.twinx()
        steps.step([*times, end], [*servers, servers[-1]], where="post", color=INK, linewidth=0.9)
        steps.set_ylim(0, max(servers) * 1.3)
        steps.set_ylabel("servers wanted")
        steps.spines["top"].set_visible(False)


def _draw_lanes(
    axes: Axes, result: FleetResult, lanes: Sequence[int], grid: Any, limits: tuple[float, float]
) -> None:
    end, highest = limits
    axes.imshow(
        grid, aspect="auto", cmap="Blues", vmin=0, vmax=highest, interpolation="nearest",
        extent=(0, end, len(lanes) - 0.5, -0.5), rasterized=True,
    )  # fmt: skip
    for row, lane in enumerate(lanes):
        for spell in result.lanes[lane].spells:
            if spell.phase in _PHASES and spell.end > spell.start:
                axes.barh(
                    row, spell.end - spell.start, left=spell.start, height=0.9, linewidth=0.0,
                    edgecolor="#555555", **_PHASES[spell.phase][1],
                )  # fmt: skip
    step = max(1, len(lanes) // 8)
    axes.set_yticks(range(0, len(lanes), step), [str(lane) for lane in lanes[::step]])
    axes.set_ylim(len(lanes) - 0.5, -0.5)


def _legend(figure: Any, results: Sequence[FleetResult], highest: float) -> None:
    """What the marks mean, of those that are there."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def dot(marker: str, colour: str) -> Line2D:
        return Line2D([], [], linestyle="none", marker=marker, markersize=3.5, color=colour)

    entries: list[tuple[Any, str]] = [
        (dot("o", _LATENCY), "answered"),
        (Line2D([], [], color=_QUEUE, linewidth=0.9), "busiest server"),
        (Line2D([], [], color=_QUEUE, linewidth=0.9, linestyle=":"), "mean server"),
        (Patch(color="#08306B", linewidth=0), f"{highest:.0f} requests in a server"),
    ]
    if any(set(result.outcome.tolist()) - {Outcome.ANSWERED.value} for result in results):
        entries.insert(1, (dot("x", FAILED), "failed"))
    met = {spell.phase for r in results for lane in r.lanes for spell in lane.spells}
    for phase, (label, look) in _PHASES.items():
        if phase in met and phase is not Phase.ABSENT:
            entries.append((Patch(edgecolor="#555555", linewidth=0, **look), label))
    if any(len(result.wanted) > 1 for result in results):
        entries.append((Line2D([], [], color=INK, linewidth=0.9), "servers wanted"))
    figure.legend(
        *zip(*entries, strict=True), loc="outside lower center", ncols=4, frameon=False,
        handlelength=1.5, columnspacing=1.6, labelspacing=0.35,
    )  # fmt: skip
