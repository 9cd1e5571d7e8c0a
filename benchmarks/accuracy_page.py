"""The page and the picture that `benchmarks.batching_accuracy` writes."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchmarks.batching_accuracy import Compared

_DELAYS = ((0, 0, "0"), (1, 5000, "to 5"), (5001, 20_000, "5 to 20"))
_LOADS = ((0.0, 0.3, "to 30 %"), (0.3, 0.7, "30 to 70 %"), (0.7, math.inf, "over 70 %"))
_COLORS = {"small": "#4269d0", "images": "#efb118", "wide": "#3ca951"}
_SIZE, _EDGE = 420, 50


def page(
    found: Sequence[Compared],
    verdicts: Sequence[tuple[str, bool]],
    seconds: float,
    drawing: str,
) -> str:
    """The page, in Markdown; `drawing` is the file of its picture."""
    missed = [line for line, met in verdicts if not met]
    said = (
        f"{len(verdicts) - len(missed)} of {len(verdicts)} targets are met."
        if missed
        else "All targets are met."
    )
    lines = "\n".join(f"* {'met' if met else '**missed**'}: {line}" for line, met in verdicts)
    return f"""# How well the simulator predicts

Written by `python -m benchmarks.batching_accuracy` on {os.cpu_count()} cores
({platform.machine()}): {len(found)} settings drawn at random, with delays of 0 to 20 ms, batches of
1 to 256 rows, 1 to 4 threads, open and closed loops, 5 to 95 % load. All of them count. The load
comes from inside the server (`engine`) and takes {seconds:g} s for each setting, right after a
calibration, which refines the last four (`calibrate(refine=...)`). The three models are a small
perceptron, a convolutional network and a wide perceptron.

{said}

{lines}

The 99th percentile is that of a typical spell, measured and predicted: the median over spells of
0.05 s, or of 500 requests where these take longer. That of the whole run also contains the delays
by other work on the machine, some a second, and nobody can know how many come. The interval allows
for them, so it is held against the whole run. Near the capacity, a small error of the capacity is a
large error of the waiting time.

![Predicted against measured 99th percentiles]({drawing})

## By delay and load

Medians of the absolute errors; in brackets, in how many settings the interval of p99 holds. The
load is the measured throughput, as a share of the measured capacity.

{_groups(found)}

## All settings

{_table(found)}
"""


def _groups(found: Sequence[Compared]) -> str:
    head = ["delay (ms)", "load", "settings", "capacity", "throughput", "p99", "interval holds"]
    rows = []
    for low, high, delay in _DELAYS:
        for least, most, load in _LOADS:
            inside = [
                each
                for each in found
                if low <= each.delay_micros <= high and least <= each.utilization < most
            ]
            if inside:
                rows.append([delay, load, str(len(inside)), *_errors(inside)])
    rows.append(["all", "all", str(len(found)), *_errors(found)])
    return _markdown(head, rows)


def _errors(found: Sequence[Compared]) -> list[str]:
    def median(error: Callable[[Compared], float]) -> float:
        return float(np.median([abs(error(each)) for each in found]))

    return [
        f"{median(lambda each: each.capacity_error):.1%}",
        f"{median(lambda each: each.predicted.achieved.estimate / each.achieved - 1):.1%}",
        f"{median(lambda each: each.p99_error):.0%}",
        f"{sum(each.holds for each in found)} of {len(found)}",
    ]


def _table(found: Sequence[Compared]) -> str:
    head = [
        "delay (ms)", "load", "loop", "model", "size", "threads", "capacity/s", "predicted",
        "error", "measured/s", "predicted", "p50 (ms)", "predicted", "p99 (ms)",
        "predicted", "error", "whole run (ms)", "interval",
    ]  # fmt: skip
    rows = []
    for each in sorted(found, key=lambda each: (each.delay_micros, each.utilization)):
        setting, latency = each.drawn.parameters, each.predicted.latency
        p99 = latency["p99"]
        loop = f"{each.load} callers" if isinstance(each.load, int) else f"{each.load.rate:.0f}/s"
        rows.append(
            [
                f"{each.delay_micros / 1e3:.1f}",
                f"{each.utilization:.0%}",
                loop,
                each.model,
                str(setting.max_batch_size),
                str(setting.num_batch_threads),
                f"{each.capacity:.0f}",
                f"{each.predicted_capacity:.0f}",
                f"{each.capacity_error:+.1%}",
                f"{each.achieved:.0f}",
                f"{each.predicted.achieved.estimate:.0f}",
                f"{each.p50 * 1e3:.2f}",
                f"{latency['p50'].estimate * 1e3:.2f}",
                f"{each.p99 * 1e3:.2f}",
                f"{p99.estimate * 1e3:.2f}",
                f"{each.p99_error:+.0%}",
                f"{each.whole_p99 * 1e3:.2f}",
                f"{p99.low * 1e3:.2f} to {p99.high * 1e3:.2f}"
                + ("" if each.holds else ": outside"),
            ]
        )
    return _markdown(head, rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    lines.insert(1, f"|{'---:|' * len(head)}")
    return "\n".join(lines)


def picture(found: Sequence[Compared]) -> str:
    """Predicted against measured 99th percentiles with their intervals, on logarithmic scales, as
    SVG."""
    values = [each.p99 for each in found] + [
        each.predicted.latency["p99"].estimate for each in found
    ]
    low = 10 ** math.floor(math.log10(min(values) * 1e3))
    high = 10 ** math.ceil(math.log10(max(values) * 1e3))
    scale = (_SIZE - 2 * _EDGE) / math.log10(high / low)

    def at(milliseconds: float) -> float:
        return math.log10(min(max(milliseconds, low), high) / low) * scale

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SIZE} {_SIZE}" '
        f'font-family="sans-serif" font-size="11">',
        f'<rect width="{_SIZE}" height="{_SIZE}" fill="white"/>',
    ]
    bottom, tick = _SIZE - _EDGE, low
    while tick <= high:
        place = at(tick)
        parts.append(
            f'<path d="M{_EDGE + place:.1f} {bottom}V{_EDGE}M{_EDGE} {bottom - place:.1f}'
            f'H{_SIZE - _EDGE}" stroke="#ddd"/>'
            f'<text x="{_EDGE + place:.1f}" y="{bottom + 15}" text-anchor="middle">{tick:g}</text>'
            f'<text x="{_EDGE - 5}" y="{bottom - place + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
        tick *= 10
    parts.append(
        f'<path d="M{_EDGE} {bottom}L{_SIZE - _EDGE} {_EDGE}" stroke="#888"/>'
        f'<text x="{_SIZE / 2}" y="{_SIZE - 12}" text-anchor="middle">measured p99 (ms)</text>'
        f'<text transform="translate(14 {_SIZE / 2}) rotate(-90)" text-anchor="middle">'
        "predicted p99 (ms)</text>"
    )
    for each in found:
        p99, x = each.predicted.latency["p99"], _EDGE + at(each.p99 * 1e3)
        y, top, end = (bottom - at(v * 1e3) for v in (p99.estimate, p99.high, p99.low))
        color = _COLORS[each.model]
        parts.append(
            f'<path d="M{x:.1f} {top:.1f}V{end:.1f}" stroke="{color}" opacity="0.4"/>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>'
        )
    for place, (model, color) in enumerate(_COLORS.items()):
        y = _EDGE + 14 * (place + 1)
        parts.append(
            f'<circle cx="{_EDGE + 10}" cy="{y - 4}" r="3" fill="{color}"/>'
            f'<text x="{_EDGE + 18}" y="{y}">{model}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])
