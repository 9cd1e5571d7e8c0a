"""Transitions of large models: each policy on the same arrivals, on a warm and on a cold disk.

    python -m benchmarks.transitions [--quick] [--kind weights|graph] [--markdown]

Prints the table of each comparison with its intervals, and then what must hold, with the figures;
the exit code is 1 where it does not.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile

import numpy as np

import workbench as wb
from benchmarks.transition_models import KINDS, example, save_model
from workbench.experiments.transitions.compare_transitions import POLICIES, compare_transitions
from workbench.experiments.transitions.transition_comparison import TransitionComparison
from workbench.experiments.transitions.transition_run import GAP, Run
from workbench.load.arrivals import Schedule

# Constant, so that the gap that callers see is known to two thousandths of a second.
RATES = {"weights": 500.0, "graph": 20.0}
REPEATS = 5
WITHIN = 0.05
NOT_RESTORING = ("spawn", "graph", "lanes")
"""Parts of a load that staging takes out of the gap."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one run of each")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="runs of each")
    parser.add_argument("--kind", choices=KINDS, help="only this model")
    parser.add_argument("--markdown", action="store_true", help="print tables for the docs")
    arguments = parser.parse_args()
    wrong = 0
    for kind in [arguments.kind] if arguments.kind else KINDS:
        found = compare(kind, 1 if arguments.quick else arguments.repeats)
        print(f"\n{kind}\n{to_markdown(found) if arguments.markdown else found}\n", flush=True)
        for disk in found.disks:
            for what, value, allowed, holds in must_hold(kind, found.on(disk)):
                wrong += not holds
                mark = "ok " if holds else "NOT"
                print(f"{mark} {kind}, {disk}: {what:<52} {value:<34} {allowed}", flush=True)
    return 1 if wrong else 0


def compare(kind: str, repeats: int) -> TransitionComparison:
    with tempfile.TemporaryDirectory() as folder:
        old, new = (save_model(kind, folder, seed) for seed in (0, 1))
        with wb.serve(old, f"bench-{kind}") as server:
            return compare_transitions(
                server,
                new,
                example(kind),
                policies=POLICIES,
                load=Schedule("constant", RATES[kind], 1.0),
                repeats=repeats,
                disk=("warm", "cold"),
                keep=False,
            )


def must_hold(kind: str, found: TransitionComparison) -> list[tuple[str, str, str, bool]]:
    """What must hold of the runs on one disk: what, the figure, what is allowed, and whether."""
    runs = {policy: found.of(policy) for policy in POLICIES}

    def median(policy: str, name: str) -> float:
        return statistics.median(run.figures[name] for run in runs[policy])

    rows: list[tuple[str, str, str, bool]] = []
    for policy in ("smooth", "unload_first+hold"):
        failed = sum(run.recording.failed for run in runs[policy])
        rows.append((f"{policy}: failed requests in all", f"{failed}", "none", failed == 0))
    both = median("smooth", "memory of both (MB)")
    peak = median("smooth", "peak memory (MB)")
    rows.append(
        ("smooth: peak memory", f"{peak:.0f} of {both:.0f} MB", "90 % of both", peak > 0.9 * both)
    )
    gap = median("unload_first", GAP)
    if kind == "weights":
        off = statistics.median(
            run.recording.gap_seen_seconds / run.recording.gap_seconds - 1
            for run in runs["unload_first"]
        )
        rows.append(
            (
                "unload_first: the callers' gap beside the events'",
                f"{off:+.1%} of {gap:.0f} ms",
                "within 5 %",
                abs(off) < WITHIN,
            )
        )
    extra = [_extra_over_gap(run) for run in runs["unload_first+hold"]]
    off = statistics.median(extra)
    hold_gap = median("unload_first+hold", GAP)
    rows.append(
        (
            "hold: the oldest's extra latency beside the gap",
            f"{off:+.1%} of {hold_gap:.0f} ms",
            "within 5 %",
            abs(off) < WITHIN,
        )
    )
    spared = statistics.median(
        sum(run.breakdown.get(part, 0.0) for part in NOT_RESTORING) for run in runs["unload_first"]
    )
    shorter = gap - median("staged", GAP)
    rows.append(
        (
            "staged: gap shorter than unload_first's by",
            f"{shorter:.0f} ms of {gap:.0f}",
            f"at least {spared * 1e3:.0f} ms",
            spared > 0 and shorter >= spared * 1e3,
        )
    )
    more = {policy: median(policy, "peak above before (MB)") for policy in ("smooth", "staged")}
    share = more["staged"] / more["smooth"]
    rows.append(
        (
            "staged: extra memory beside smooth's",
            f"{more['staged']:.0f} of {more['smooth']:.0f} MB, {share:.0%}",
            "under 20 %",
            share < 0.2,
        )
    )
    return rows


def _extra_over_gap(run: Run) -> float:
    """By how much of the gap the extra latency of the request that waited longest differs from the
    gap. What it waited for its version's first run is not the gap's, and is taken off."""
    recording = run.recording
    load = recording.load
    held = np.flatnonzero(recording.held)
    oldest = held[0]
    start, _ = run.window
    before = load.latency[load.succeeded & (load.intended < start)]
    first_run = run.breakdown.get("first_run", 0.0)
    extra = float(load.latency[oldest] - np.median(before)) - max(0.0, first_run)
    # It was due a moment into the gap.
    waited = recording.gap_seconds - (load.intended[oldest] - recording.gaps[0].start)
    return extra / waited - 1


def to_markdown(found: TransitionComparison) -> str:
    """A table a disk, for the docs."""
    parts = []
    for disk in found.disks:
        one = found.on(disk)
        table = one.words()
        parts += [
            f"**{disk} disk.** {one.footnote()}\n",
            "| | " + " | ".join(table.columns) + " |",
            "| --- |" + " --- |" * len(table.columns),
            *(f"| {name} | " + " | ".join(row) + " |" for name, row in table.T.items()),
            "",
        ]
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
