"""The timeline of the last minutes as a figure, a table and text."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workbench.experiments.figure import INK, PAGE_WIDTH, Picture
from workbench.experiments.looks import FAILED, STATES, version_colour
from workbench.experiments.recording.recorded_timeline import Span, spans_between

if TYPE_CHECKING:
    import pandas as pd

LONGEST_SECONDS = 120.0
_SHORTEST_SECONDS = 5.0
_MARGIN_SECONDS = 2.0
_APART_SECONDS = 20.0


def spans_of(news: Mapping[str, Any]) -> list[Span]:
    """The states in a pulse's events in seconds on the server's clock; current states end now."""
    changes = (
        (event["monotonic"], event["version"], event["data"]["state"])
        for event in news["events"]
        if event["kind"] == "state" and event.get("version") is not None
    )
    found = spans_between(changes, news["now"], last="END")
    return sorted(found, key=lambda span: (span.version, span.start))


def window(news: Mapping[str, Any]) -> tuple[float, float]:
    """The time to show: from shortly before the last change of version until now, two minutes
    at most."""
    now = news["now"]
    start = now - _SHORTEST_SECONDS
    changes = sorted(e["monotonic"] for e in news["events"] if e["kind"] == "state")
    # Include all steps of the change.
    for at in reversed(changes):
        if at < now - LONGEST_SECONDS or (at < start - _APART_SECONDS and at != changes[-1]):
            break
        start = min(start, at - _MARGIN_SECONDS)
    return start, now


def frame_of(news: Mapping[str, Any]) -> pd.DataFrame:
    """A row for each version in the `window`: its state, memory and requests."""
    import pandas as pd

    start, end = window(news)
    spans = [s for s in spans_of(news) if s.end > start]
    rows = []
    for version in _versions(spans):
        last = [span for span in spans if span.version == version][-1]
        mine = [s for s in news["seconds"] if s[1] == version and s[0] >= int(start)]
        rows.append(
            (
                version,
                last.state.lower() if last.end >= end else "gone",
                max((held for _, held in _samples(news, version)), default=0) / 2**20,
                sum(s[2] for s in mine),
                sum(s[3] for s in mine),
                max((s[5] / 1e3 for s in mine if s[5] is not None), default=math.nan),
            )
        )
    counts = ["memory, most (MB)", "answered", "failed", "p99 up to, most (ms)"]
    return pd.DataFrame(rows, columns=["version", "state", *counts])


def _versions(spans: Sequence[Span]) -> list[int]:
    return sorted({span.version for span in spans})


def _samples(news: Mapping[str, Any], version: int) -> list[tuple[float, int]]:
    """The times and the memory of a version's worker."""
    return [(m[0], m[4]) for m in news["memory"] if m[1] == "worker" and m[2] == version]


def text_of(news: Mapping[str, Any], title: str) -> str:
    """The timeline for a terminal: the versions, then the last lines of the log."""
    lines = [e["line"] for e in news["events"] if e.get("line")][-8:]
    table = frame_of(news).to_string(index=False, float_format="{:.4g}".format, na_rep="-")
    return "\n".join([title, table, *lines])


def title_of(name: str, news: Mapping[str, Any]) -> str:
    """The title, with the local time of the pulse."""
    when = time.strftime("%H:%M:%S", time.localtime(news["wall"]))
    return f"Timeline of {name}, as of {when}"


def plot_timeline(news: Mapping[str, Any], title: str) -> Picture:
    """States, memory, requests and latencies on one time axis, whose zero is now.

    Runs in the thread of news, so it does not change matplotlib's global settings.
    """
    start, now = window(news)
    spans = [s for s in spans_of(news) if s.end > start]
    figure = Picture(figsize=(PAGE_WIDTH, 4.6), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=9, fontweight="bold")
    rows = figure.subplots(4, 1, sharex=True, height_ratios=(0.7, 1, 1, 1.2))
    labels = ("version", "memory, MB", "requests/s", "latency, ms")
    for axes, label in zip(rows, labels, strict=True):
        axes.set_ylabel(label, fontsize=8, color=INK)
        axes.tick_params(labelsize=7.5, colors=INK)
        axes.spines[["top", "right"]].set_visible(False)
    lanes, memory, requests, latency = rows
    _lanes(lanes, spans, start, now)
    _memory(memory, news, spans, start, now)
    _requests(requests, news, [*_versions(spans), None], start, now)
    _latency(latency, news, start, now)
    latency.set_xlim(start - now, 0)
    latency.set_xlabel("seconds before that", fontsize=8, color=INK)
    return figure


def _lanes(axes: Any, spans: Sequence[Span], start: float, now: float) -> None:
    versions = _versions(spans)
    for span in spans:
        lane = versions.index(span.version)
        left = max(span.start, start) - now
        width = span.end - now - left
        look = STATES.get(span.state, STATES["START"]).patch()
        axes.barh(
            lane, width, left=left, height=0.7, edgecolor="white", linewidth=0,
            facecolor=version_colour(span.version), **look,
        )  # fmt: skip
        if width > 0.12 * (now - start):
            ink = "white" if span.state == "AVAILABLE" else INK
            at = left + 0.005 * (now - start)
            axes.text(at, lane, span.state.lower(), va="center", fontsize=7.5, color=ink)
    axes.set_yticks(range(len(versions)), [f"v{version}" for version in versions])
    axes.set_ylim(max(0.5, len(versions) - 0.5), -0.5)


def _memory(
    axes: Any, news: Mapping[str, Any], spans: Sequence[Span], start: float, now: float
) -> None:
    import numpy as np

    times = np.linspace(start, now, 400)
    below = np.zeros(len(times))
    for version in _versions(spans):
        samples = _samples(news, version)
        if not samples:
            continue
        measured_at, sizes = (np.array(column) for column in zip(*samples, strict=True))
        place = np.searchsorted(measured_at, times, side="right") - 1
        held = np.where(place >= 0, sizes[np.maximum(place, 0)], 0)
        alive = np.zeros(len(times), bool)
        for span in spans:
            if span.version == version and span.state != "START":
                alive |= (times >= span.start) & (times <= span.end)
        top = below + np.where(alive, held, 0) / 2**20
        axes.fill_between(
            times - now, below, top, color=version_colour(version), alpha=0.6, linewidth=0
        )
        below = top
    axes.set_ylim(bottom=0)


def _requests(
    axes: Any, news: Mapping[str, Any], versions: Sequence[int | None], start: float, now: float
) -> None:
    # The current second is incomplete.
    seconds = [s for s in news["seconds"] if start <= s[0] <= now - 1]
    below: dict[int, int] = {}
    for version in versions:
        for second, whose, answered, failed, *_ in seconds:
            if whose != version:
                continue
            counts = {FAILED: failed}
            if version is not None:
                counts = {version_colour(version): answered, FAILED: failed}
            for colour, count in counts.items():
                if count:
                    base = below.get(second, 0)
                    axes.bar(second - now, count, 0.9, base, align="edge", color=colour)
                    below[second] = base + count
    axes.set_ylim(bottom=0)


def _latency(axes: Any, news: Mapping[str, Any], start: float, now: float) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    dots = [d for d in news["dots"] if d[0] >= start]
    good = [d for d in dots if d[3] == 0 and d[1] > 0]
    axes.scatter(
        [d[0] - now for d in good], [d[1] / 1e3 for d in good], s=4, linewidths=0,
        c=[version_colour(d[2] or 1) for d in good], alpha=0.7,
    )  # fmt: skip
    axes.set_yscale("log")
    if good:
        low, high = min(d[1] for d in good) / 1e3, max(d[1] for d in good) / 1e3
        axes.set_ylim(low / 1.5, high * 2)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    bad = [d[0] - now for d in dots if d[3] != 0]
    if bad:
        axes.plot(
            bad, [0.95] * len(bad), "x", color=FAILED, markersize=4, label="failed",
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip
        axes.legend(frameon=False, fontsize=7.5, loc="upper left")
