"""The memory ledger as a figure: a bar for each device, with the server's part magnified below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workbench.core.memory.budget import size
from workbench.experiments.figure import INK, PAGE_WIDTH, Picture
from workbench.experiments.looks import HATCHES, PROCESS, version_colour
from workbench.widgets.ledger.ledger_parts import (
    OF_A_VERSION,
    OF_THE_SERVER,
    OTHER_PROCESS,
    UNATTRIBUTED,
    Device,
    Part,
)

_LINE_INCHES, _BAR_INCHES = 0.16, 0.62


def plot_ledger(devices: Sequence[Device], title: str) -> Picture:
    """Draws each device, with the server's part magnified.

    Runs in the thread of news, so it does not change matplotlib's global settings.
    """
    heights = [1.85 * _BAR_INCHES + _LINE_INCHES * (len(d.parts) + 1.5) for d in devices]
    figure = Picture(figsize=(PAGE_WIDTH, sum(heights) + 0.3))
    figure.text(0.02, 1 - 0.2 / (sum(heights) + 0.3), title, fontsize=9, fontweight="bold")
    top = sum(heights)
    for device, height in zip(devices, heights, strict=True):
        _device(figure, device, top, sum(heights) + 0.3)
        top -= height
    return figure


def _device(figure: Any, device: Device, top: float, whole: float) -> None:
    def axes(up: float, height: float) -> Any:
        made = figure.add_axes((0.02, (top - up - height) / whole, 0.96, height / whole))
        made.set_axis_off()
        return made

    end = device.magnified_to()
    bar = axes(0.22, 0.2)
    _bar(bar, device, device.total, above=True)
    bar.set_title(
        f"{device.device}, {size(device.total)} by the {device.scope}",
        loc="left", fontsize=8, color=INK, pad=3,
    )  # fmt: skip
    below = 0.55
    if end is not None:
        lower = axes(0.72, 0.3)
        _bar(lower, device, end, above=False)
        # Two lines connect the magnified part with its place.
        bar.plot([0, 0], [0, -1.5], color="#999999", linewidth=0.6, clip_on=False)
        bar.plot([end, device.total], [0, -1.5], color="#999999", linewidth=0.6, clip_on=False)
        at = device.budget_at()
        # On the side away from the budget's text.
        right = at is None or at > end or at < end / 2
        lower.text(
            end if right else 0, -0.12, f"magnified, up to {size(end)}",
            ha="right" if right else "left", va="top", fontsize=7, color=INK,
        )  # fmt: skip
        below = 1.25
    legend = axes(below, _LINE_INCHES * len(device.parts))
    legend.set_xlim(0, 1)
    legend.set_ylim(len(device.parts), 0)
    for row, part in enumerate(device.parts):
        legend.barh(row + 0.5, 0.02, height=0.62, **_look(part))
        words = {"fontsize": 7.5, "color": INK, "va": "center"}
        legend.text(0.03, row + 0.5, part.label, **words)
        legend.text(0.5, row + 0.5, part.amount, ha="right", **words)
        legend.text(0.52, row + 0.5, part.how, **words)


def _bar(axes: Any, device: Device, end: int, above: bool) -> None:
    """The parts up to `end` bytes, and the budget's line unless the magnified bar shows it; the
    line's text is above or below the bar."""
    axes.set_xlim(0, end)
    axes.set_ylim(0, 1)
    start = 0
    for part in device.parts:
        if part.bytes <= 0 or start >= end:
            continue
        width = min(part.bytes, end - start)
        axes.barh(0.5, width, left=start, height=1.0, **_look(part))
        start += width
    axes.plot([0, end, end, 0, 0], [0, 0, 1, 1, 0], color="#999999", linewidth=0.8, clip_on=False)
    at = device.budget_at()
    if at is None or not 0 <= at <= end:
        return
    magnified = device.magnified_to()
    if above and magnified is not None and at <= magnified:
        return
    axes.plot([at, at], [-0.15, 1.15], color=INK, linewidth=1.6, clip_on=False)
    axes.text(
        at, 1.2 if above else -0.12, budget_words(device), ha="right" if at > end / 2 else "left",
        va="bottom" if above else "top", fontsize=7, color=INK,
    )  # fmt: skip


def budget_words(device: Device) -> str:
    """The text of the budget's line."""
    assert device.limit is not None
    left = device.limit - device.reserved
    said = f"{size(left)} left" if left >= 0 else f"{size(-left)} beyond"
    return f"budget {size(device.limit)}, {said}"


def _look(part: Part) -> dict[str, Any]:
    """Colours show the owner; hatching marks estimates."""
    hatch = HATCHES["rising"] if part.how == "estimated" else None
    if part.kind == "free":
        return {"facecolor": "white", "edgecolor": "#bbbbbb", "linewidth": 0.4}
    if part.kind == "reserved":
        return {"facecolor": "white", "edgecolor": INK, "linewidth": 0.4, "hatch": hatch}
    if part.version is not None:
        colour, shade = version_colour(part.version), OF_A_VERSION.get(part.kind, 0.7)
    elif part.kind == "unattributed":
        colour, shade = PROCESS, UNATTRIBUTED
    else:
        colour, shade = PROCESS, OF_THE_SERVER.get(part.label, OTHER_PROCESS)
    face = _over_white(colour, shade)
    return {"facecolor": face, "edgecolor": "white", "linewidth": 0.3, "hatch": hatch}


def _over_white(colour: str, opacity: float) -> tuple[float, ...]:
    return tuple(1 - opacity * (1 - int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
