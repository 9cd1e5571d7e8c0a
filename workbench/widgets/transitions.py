"""Explores a comparison of transitions: the policies side by side on shared axes.

All data goes to the browser once; afterwards neither the kernel nor the server is needed.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.experiments.recording.recording import Recording
from workbench.experiments.transitions.transition_comparison import TransitionComparison
from workbench.experiments.transitions.transition_run import Run
from workbench.widgets.base.durable import show_result
from workbench.widgets.base.live import View, view

MOST_DOTS = 4000
"""The most answered requests drawn of a run, evenly chosen; held and failed ones are all drawn."""
_ANSWERED, _HELD, _FAILED = 0, 1, 2


class TransitionsView(View):
    """The view of a comparison of transitions, `found`."""

    face = view("transitions")

    def __init__(self, found: TransitionComparison) -> None:
        self.found = found
        super().__init__(about(found))

    def __repr__(self) -> str:
        return f"<TransitionsView {self.found.model}: {', '.join(self.found.policies)}>"


def about(found: TransitionComparison) -> dict[str, Any]:
    """The view as plain data: times are seconds since the new version was wanted,
    memory is in bytes, latencies are in microseconds."""
    return {
        "title": found.title(),
        "advice": found.advice,
        "view": list(found.view()),
        "runs": [
            {**run_data(run), "title": title}
            for run, title in zip(found.typical(), found.titles(), strict=True)
        ],
        "tables": [
            {
                "heading": heading,
                "columns": list(one.measured),
                "rows": [[str(name), *map(str, row)] for name, *row in one.words().itertuples()],
                "footnote": one.footnote(),
            }
            for heading, one in found.by_disk()
        ],
    }


def run_data(run: Run) -> dict[str, Any]:
    """One run: states, gaps, decisions, memory and requests."""
    recording = run.recording
    zero, end = recording.wanted_at, recording.end

    def seconds(at: float) -> float:
        return round(min(at, end) - zero, 6)

    table = recording.memory_by_version()
    return {
        "head": f"{recording.brief}; peak {recording.peak_bytes() / 2**20:,.0f} MB",
        "old": run.old,
        "new": run.new,
        "start": seconds(0.0),
        "end": seconds(end),
        "spans": [
            {**asdict(span), "start": seconds(span.start), "end": seconds(span.end)}
            for span in recording.spans()
        ],
        "gaps": [[seconds(gap.start), seconds(gap.end)] for gap in recording.gaps],
        "decisions": [
            {"at": seconds(d.at), "text": f"{d.act} version {d.version}: {d.why}"}
            for d in recording.decisions()
        ],
        "memory": {
            "at": [seconds(float(at)) for at in table.index],
            "by": [
                [int(str(v)), table[v].astype(np.int64).tolist()] for v in sorted(table.columns)
            ],
        },
        "dots": dots(recording),
    }


def dots(recording: Recording) -> list[list[float]]:
    """Requests as (due, microseconds, version, 0 answered | 1 held | 2 failed), by time. A failed
    request has no latency; its microseconds are the time until it failed."""
    load = recording.load
    held = recording.held & load.succeeded
    kinds = np.where(load.succeeded, np.where(held, _HELD, _ANSWERED), _FAILED)
    kept: NDArray[np.bool_] = kinds != _ANSWERED
    usual = np.flatnonzero(~kept)
    kept[usual[:: max(1, math.ceil(len(usual) / MOST_DOTS))]] = True
    micros = np.nan_to_num(load.done - load.intended, nan=0.0, posinf=0.0) * 1e6
    due = load.intended - recording.wanted_at
    return [
        [round(float(due[i]), 6), round(float(micros[i])), int(load.version[i]), int(kinds[i])]
        for i in np.flatnonzero(kept)
    ]


def show_transitions(found: TransitionComparison) -> None:
    """As `show_result`; without any run there is nothing to explore."""
    if not found.runs:
        raise NotImplementedError
    show_result(found, TransitionsView)
