"""The figure of a fleet's timeline: what was done on top, a lane for each server below, and the
steps in words.

A lane has the states of the server's versions and, below them, the requests that the balancers sent
it; all lanes share one scale. Colours never carry a meaning alone.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.experiments.figure import INK, PAGE_WIDTH, PRINT_STYLE, Picture
from workbench.experiments.looks import FAILED, PROCESS, STATES, version_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.experiments.fleet_history.fleet_lanes import Lane
    from workbench.experiments.fleet_history.fleet_marks import Rollout
    from workbench.experiments.fleet_history.fleet_timeline import FleetTimeline
    from workbench.experiments.recording.recorded_timeline import Span

_SOFT, _REQUESTS = "#767676", "#A9B4BF"
_LEAST_FAILED = 0.25
_BANDS = {"finished": "#EEF1F4", "not ended": "#EEF1F4", "taken back": "#F8E6E6"}
_ROW, _TRAFFIC, _SPACE = 1.0, 0.9, 0.55
"""Heights within a lane: of a row of versions, of the requests, of the space below."""
_INCHES_A_ROW, _INCHES_A_LINE = 0.19, 0.145
_LETTER_INCHES = 0.058
_LEFT_INCHES, _LANE_INCHES = 0.95, 5.93
_KEY_COLUMNS = 4
_MOST_ENTRIES, _LINE_LETTERS, _MOST_LINES = 12, 115, 2


@dataclass(frozen=True)
class Entry:
    """One numbered entry on top of the figure, and its words below it.

    Attributes:
        rollout: None for a mark that belongs to none.
    """

    number: int
    at: float
    words: str
    rollout: Rollout | None = None


def entries_of(timeline: FleetTimeline) -> list[Entry]:
    """What was done in the time that is shown, in the order of time; the last dozen."""
    found: list[tuple[float, str, Rollout | None]] = []
    for mark in timeline.marks:
        if mark.revision is None or mark.kind == "deployed":
            found.append((mark.at, mark.words, None))
    for rollout in timeline.rollouts:
        found.append((rollout.start, _rollout_words(timeline, rollout), rollout))
    found = [
        each
        for each in sorted(found, key=lambda each: each[0])
        if max(each[0], each[2].end if each[2] else each[0]) >= timeline.shown_from
    ][-_MOST_ENTRIES:]
    return [Entry(number, *each) for number, each in enumerate(found, 1)]


def _rollout_words(timeline: FleetTimeline, rollout: Rollout) -> str:
    what = f"revision {rollout.revision}" + (f", {rollout.what}" if rollout.what else "")
    seconds = f"{rollout.end - rollout.start:.1f} s"
    how = f"not ended after {seconds}"
    if rollout.outcome != "not ended":
        how = f"{rollout.outcome} after {seconds}"
    why = rollout.why
    for lane in timeline.lanes:
        why = why.replace(lane.server, lane.node)
    return f"{what}: {how}" + (f"; {why}" if why else "")


def plot_fleet_timeline(timeline: FleetTimeline) -> Picture:
    """See `FleetTimeline.plot`."""
    import matplotlib as mpl

    lanes = [lane for lane in timeline.lanes if lane.end is None or lane.end >= timeline.shown_from]
    entries = entries_of(timeline)
    lines = list(_lines(timeline, entries))
    rows = sum(_height(lane) for lane in lanes) + 0.3 if lanes else _ROW
    with mpl.rc_context(PRINT_STYLE):
        keys = _keys(timeline, lanes)
        heights = {
            "title": 0.27,
            "changes": 0.24,
            "lanes": _INCHES_A_ROW * rows,
            "axis": 0.46,
            "words": _INCHES_A_LINE * len(lines),
            "key": 0.17 * -(-len(keys) // _KEY_COLUMNS) + 0.2,
        }
        whole = sum(heights.values())
        figure = Picture(figsize=(PAGE_WIDTH, whole))
        places, top = {}, whole
        for name, height in heights.items():
            top -= height
            places[name] = (
                _LEFT_INCHES / PAGE_WIDTH, top / whole, _LANE_INCHES / PAGE_WIDTH, height / whole,
            )  # fmt: skip
        figure.text(
            0.012, 1 - 0.08 / whole, _title(timeline), va="top", fontsize=8.5, fontweight="bold"
        )
        below = figure.add_axes(places["lanes"])
        top_axes = figure.add_axes(places["changes"], sharex=below)
        _draw_lanes(below, timeline, lanes, [each.rollout for each in entries if each.rollout])
        _draw_entries(top_axes, timeline, entries)
        _write_lines(figure.add_axes(places["words"]), lines)
        if keys:
            figure.legend(
                *zip(*keys, strict=True), loc="lower center", ncols=_KEY_COLUMNS, frameon=False,
                handlelength=1.5, columnspacing=1.6, labelspacing=0.35,
            )  # fmt: skip
    return figure


def _title(timeline: FleetTimeline) -> str:
    end = timeline.zero + timeline.end
    day = time.strftime("%Y-%m-%d", time.localtime(end))
    return f"{timeline.model} on fleet {timeline.fleet}, as of {day} {_clock(end)}"


def _clock(wall: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(wall))


# The time axis.


def _shown(timeline: FleetTimeline) -> float:
    """How long the axis is, in seconds."""
    return max(timeline.end - timeline.shown_from, 1.0)


def _unit(timeline: FleetTimeline) -> tuple[float, str]:
    """The seconds of the axis' unit, and its name."""
    shown = _shown(timeline)
    for seconds, name in ((3600.0, "hours"), (60.0, "minutes")):
        if shown > 5 * seconds:
            return seconds, name
    return 1.0, "seconds"


def _fits(timeline: FleetTimeline, width: float, text: str) -> bool:
    """Whether a text fits into so many seconds of a lane."""
    return len(text) * _LETTER_INCHES < width / _shown(timeline) * _LANE_INCHES


# What was done.


def _draw_entries(axes: Axes, timeline: FleetTimeline, entries: Sequence[Entry]) -> None:
    unit, _ = _unit(timeline)
    start = timeline.shown_from
    for entry in entries:
        rollout, at = entry.rollout, max(entry.at, start)
        if rollout is not None:
            failed = rollout.outcome == "taken back"
            axes.barh(
                0, (rollout.end - at) / unit, left=at / unit, height=0.62, linewidth=0.8,
                facecolor=_BANDS[rollout.outcome], edgecolor=FAILED if failed else PROCESS,
                linestyle="--" if rollout.outcome == "not ended" else "-",
                hatch="\\\\\\\\\\" if failed else None,
            )  # fmt: skip
            said = rollout.outcome
            if _fits(timeline, rollout.end - at, f"   {said}  "):
                axes.text(
                    (at + rollout.end) / 2 / unit, 0, said, ha="center", va="center", fontsize=7,
                    color=FAILED if failed else INK,
                    bbox={"facecolor": _BANDS[rollout.outcome], "edgecolor": "none", "pad": 1},
                )  # fmt: skip
        axes.plot(
            at / unit, 0, marker="o", markersize=9, color=INK, markeredgecolor="white",
            clip_on=False, zorder=4,
        )  # fmt: skip
        axes.text(
            at / unit, -0.02, str(entry.number), ha="center", va="center_baseline", fontsize=6.5,
            color="white", fontweight="bold", zorder=5,
        )  # fmt: skip
    axes.set_ylim(-0.6, 0.6)
    axes.set_yticks([0], ["changes"])
    axes.spines[["top", "right", "bottom", "left"]].set_visible(False)
    axes.tick_params(labelbottom=False, bottom=False, left=False, pad=10)


def _lines(timeline: FleetTimeline, entries: Sequence[Entry]) -> Iterator[tuple[str, str, str]]:
    """The words of the entries as lines: number, time, words; the first two only once."""
    unit, name = _unit(timeline)
    for entry in entries:
        found = textwrap.wrap(entry.words, _LINE_LETTERS)
        if len(found) > _MOST_LINES:
            found = [*found[: _MOST_LINES - 1], f"{found[_MOST_LINES - 1][:-2]} …"]
        at = f"{entry.at / unit:.1f} {name[:1] if name != 'minutes' else 'min'}"
        for place, line in enumerate(found):
            yield ("", "", line) if place else (str(entry.number), at, line)


def _write_lines(axes: Axes, lines: Sequence[tuple[str, str, str]]) -> None:
    axes.set_axis_off()
    for place, (number, at, words) in enumerate(lines):
        y = 1 - (place + 0.5) / max(len(lines), 1)
        look: Any = {"transform": axes.transAxes, "va": "center", "fontsize": 7.3}
        axes.text(-0.1, y, number, ha="right", fontweight="bold", **look)
        axes.text(-0.015, y, at, ha="right", color=_SOFT, **look)
        axes.text(0, y, words, **look)


# The lanes.


def _height(lane: Lane) -> float:
    return _ROW * _rows(lane.spans)[1] + _TRAFFIC + _SPACE


def _rows(spans: Sequence[Span]) -> tuple[list[int], int]:
    """A row for each span, so that versions that were there together lie below each other and a
    version stays in its row; and the number of rows."""
    rows: list[int] = []
    ends: list[float] = []
    last: dict[int, int] = {}
    for place, span in enumerate(spans):
        before = last.get(span.version)
        if before is not None and span.start - spans[before].end < 1e-6:
            row = rows[before]
        else:
            free = (row for row, end in enumerate(ends) if end <= span.start + 1e-6)
            row = next(free, len(ends))
        if row == len(ends):
            ends.append(0.0)
        ends[row] = _whole_end(span, spans)
        rows.append(row)
        last[span.version] = place
    return rows, max(len(ends), 1)


def _whole_end(span: Span, spans: Sequence[Span]) -> float:
    """When the version of a span was gone: the end of the states that follow it without a gap."""
    end = span.end
    for later in spans:
        if later.version == span.version and abs(later.start - end) < 1e-6:
            end = later.end
    return end


def _draw_lanes(
    axes: Axes, timeline: FleetTimeline, lanes: Sequence[Lane], rollouts: Sequence[Rollout]
) -> None:
    unit, name = _unit(timeline)
    start, end = timeline.shown_from, timeline.end
    for rollout in rollouts:
        axes.axvspan(
            max(rollout.start, start) / unit, rollout.end / unit, zorder=0, linewidth=0,
            color=_BANDS[rollout.outcome],
        )  # fmt: skip
    most = max((_rates(lane, start, end)[1].max(initial=0.0) for lane in lanes), default=0.0)
    y, ticks, labels = 0.0, [], []
    for place, lane in enumerate(lanes):
        _draw_states(axes, timeline, lane, y)
        rows = _ROW * _rows(lane.spans)[1]
        base = y + rows + _TRAFFIC
        if most:
            _draw_requests(axes, timeline, lane, base, most)
        for rollout in rollouts:
            orders = [m.at for m in rollout.steps if lane.server in m.servers and m.at >= start]
            axes.plot(
                np.array(orders) / unit, [y - 0.12] * len(orders), "v", markersize=4, color=INK,
                clip_on=False, zorder=4,
            )  # fmt: skip
        if place:
            axes.axhline(y - _SPACE / 2 - 0.08, color="#DDDDDD", linewidth=0.6, zorder=1)
        ticks.append(y + (rows + _TRAFFIC) / 2)
        labels.append(f"{lane.node}\n{lane.server.removeprefix(timeline.fleet + '-')}")
        y += rows + _TRAFFIC + _SPACE
    axes.set_yticks(ticks, labels, linespacing=1.35)
    axes.set_ylim(max(y - _SPACE / 2, _ROW), -0.45)
    axes.set_xlim(start / unit, (start + _shown(timeline)) / unit)
    axes.set_xlabel(f"{name} since {_clock(timeline.zero)}")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    axes.grid(axis="x", color="#E4E4E4", linewidth=0.5)
    axes.set_axisbelow(True)


def _draw_states(axes: Axes, timeline: FleetTimeline, lane: Lane, y: float) -> None:
    unit, _ = _unit(timeline)
    start = timeline.shown_from
    rows, _ = _rows(lane.spans)
    first = min((span.start for span in lane.spans), default=lane.end or timeline.end)
    if first > max(lane.start, start):
        at = max(lane.start, start)
        axes.plot(
            [at / unit, first / unit], [y + 0.5, y + 0.5], color=PROCESS, linewidth=0.9,
            linestyle=(0, (1, 1.5)),
        )  # fmt: skip
        if _fits(timeline, first - at, " starting "):
            axes.text(
                (at + first) / 2 / unit, y + 0.5, "starting", ha="center", va="center",
                fontsize=7, color=_SOFT, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )  # fmt: skip
    for span, row in zip(lane.spans, rows, strict=True):
        left = max(span.start, start)
        if span.end <= left:
            continue
        look, colour = STATES[span.state].patch(), version_colour(span.version)
        middle = y + _ROW * (row + 0.5)
        axes.barh(
            middle, (span.end - left) / unit, left=left / unit, height=0.86 * _ROW, linewidth=0.0,
            color=colour, edgecolor="white" if look["hatch"] else colour, **look,
        )  # fmt: skip
        for text in (f"version {span.version}", str(span.version)):
            if span.state == "AVAILABLE" and _fits(timeline, span.end - left, f"{text}  "):
                axes.text(
                    left / unit + 0.004 * _shown(timeline) / unit, middle, text,
                    va="center_baseline", fontsize=7, color="white",
                )  # fmt: skip
                break
    for failure in lane.failures:
        if failure.at >= start:
            near = [
                row for span, row in zip(lane.spans, rows, strict=True)
                if span.version == failure.version and span.start <= failure.at <= span.end + 1.0
            ]  # fmt: skip
            axes.plot(
                failure.at / unit, y + _ROW * (max(near, default=0) + 0.5), "x", color=FAILED,
                markersize=5, markeredgewidth=1.4, zorder=4,
            )  # fmt: skip
    if lane.end is not None:
        bottom = y + _ROW * _rows(lane.spans)[1]
        axes.vlines(lane.end / unit, y - 0.05, bottom + _TRAFFIC, color=FAILED, linewidth=1.4)
        axes.text(
            lane.end / unit + 0.006 * _shown(timeline) / unit, y + 0.5, "gone",
            va="center_baseline", fontsize=7, color=FAILED,
        )  # fmt: skip


def _rates(lane: Lane, start: float, end: float) -> tuple[Any, Any, Any]:
    """The edges of equal steps of time, and in each the requests and the failed ones a second."""
    steps = min(max(int(end - start), 1), 300)
    edges = np.linspace(start, end, steps + 1)
    sent, failed = np.zeros(steps), np.zeros(steps)
    width = (end - start) / steps or 1.0
    for each in lane.requests:
        whole = max(each.end - each.start, 1e-6)
        shares = np.clip(
            np.minimum(edges[1:], each.end) - np.maximum(edges[:-1], each.start), 0.0, None
        ) / whole  # fmt: skip
        sent += each.sent * shares
        failed += each.failed * shares
    return edges, sent / width, failed / width


def _draw_requests(
    axes: Axes, timeline: FleetTimeline, lane: Lane, base: float, most: float
) -> None:
    unit, _ = _unit(timeline)
    edges, sent, failed = _rates(lane, timeline.shown_from, timeline.end)
    height = 0.82 * _TRAFFIC
    # One failed request among thousands must be seen, too.
    least = np.where(failed > 0, _LEAST_FAILED * height, 0.0)
    for tall, colour in (
        (sent / most * height, _REQUESTS),
        (np.maximum(failed / most * height, least), FAILED),
    ):
        axes.stairs(base - tall, edges / unit, baseline=base, fill=True, color=colour, linewidth=0)
    until = timeline.end if lane.end is None else lane.end
    axes.hlines(
        base, max(lane.start, timeline.shown_from) / unit, until / unit, color=_REQUESTS,
        linewidth=0.6,
    )  # fmt: skip


def _keys(timeline: FleetTimeline, lanes: Sequence[Lane]) -> list[tuple[Any, str]]:
    """The key: only what is in the figure."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    def dot(**look: Any) -> Line2D:
        return Line2D([], [], linestyle="none", **look)

    grey = "#888888"
    spans = [span for lane in lanes for span in lane.spans if span.end >= timeline.shown_from]
    states = {span.state for span in spans}
    entries: list[tuple[Any, str]] = [
        (Patch(color=version_colour(v), linewidth=0), f"version {v}")
        for v in sorted({span.version for span in spans})
    ]
    if any(lane.start < min((s.start for s in lane.spans), default=0.0) for lane in lanes):
        line = Line2D([], [], color=PROCESS, linewidth=0.9, linestyle=(0, (1, 1.5)))
        entries.append((line, "starting"))
    for state in ("LOADING", "UNLOADING"):
        if state in states:
            patch = Patch(facecolor=grey, edgecolor="white", **STATES[state].patch())
            entries.append((patch, state.lower()))
    if any(rollout.steps for rollout in timeline.rollouts):
        entries.append((dot(marker="v", markersize=4, color=INK), "ordered to change"))
    if any(lane.failures for lane in lanes):
        look: Any = {"marker": "x", "markersize": 4.5, "markeredgewidth": 1.3, "color": FAILED}
        entries.append((dot(**look), "could not be loaded"))
    start, end = timeline.shown_from, timeline.end
    most = max((_rates(lane, start, end)[1].max(initial=0.0) for lane in lanes), default=0.0)
    if most:
        entries.append((Patch(color=_REQUESTS), f"requests, at most {most:,.0f}/s"))
    if any(lane.failed for lane in lanes):
        entries.append((Patch(color=FAILED), "failed on the server"))
    return entries
