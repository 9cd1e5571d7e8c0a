"""The result of comparing transitions: a table with intervals, advice, and a figure."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.experiments.showing import figures, html_picture, views
from workbench.experiments.transitions.transition_advice import advise
from workbench.experiments.transitions.transition_certainty import verdict
from workbench.experiments.transitions.transition_run import GAP, SERVES, Disk, Run
from workbench.experiments.versions.agreement import median_interval
from workbench.load.arrivals import Schedule
from workbench.load.intervals import Interval

if TYPE_CHECKING:
    import pandas as pd

    from workbench.experiments.figure import Picture


@dataclass(frozen=True, eq=False)
class TransitionComparison:
    """Policies compared on the same traffic.

    Attributes:
        versions: the old and the new version.
        load: the arrivals, the same in each run.
        policies: those to compare; `runs`: the measured changes, in order.
        disks: ``warm``, ``cold`` or both, each with its own table.
        precision: the wanted precision of the gaps; None where the number of runs was given.
        number: in the store; None if it was not kept.
    """

    model: str
    versions: tuple[int, int]
    load: Schedule
    policies: tuple[str, ...]
    runs: tuple[Run, ...] = field(repr=False)
    disks: tuple[Disk, ...] = ("warm",)
    precision: float | None = None
    interrupted: bool = False
    number: int | None = None

    @property
    def rate(self) -> float:
        """The mean number of requests a second."""
        return self.load.rate

    def of(self, policy: str) -> list[Run]:
        """The runs of one policy."""
        return [run for run in self.runs if run.policy == policy]

    def on(self, disk: Disk) -> TransitionComparison:
        """The comparison with the runs of one disk only.

        Raises:
            ValueError: this disk was not measured.
        """
        if disk not in self.disks:
            raise ValueError(
                f"disk must be one of those measured, {', '.join(self.disks)}; was {disk}"
            )
        runs = tuple(run for run in self.runs if run.disk == disk)
        return replace(self, runs=runs, disks=(disk,))

    @cached_property
    def measured(self) -> dict[str, dict[str, Interval]]:
        """For each policy and measure, the median over the runs with its interval."""
        table: dict[str, dict[str, Interval]] = {}
        for policy in self.policies:
            runs = self.of(policy)
            if runs:
                names = dict.fromkeys(name for run in runs for name in run.figures)
                table[policy] = {
                    name: median_interval([run.figures.get(name, math.nan) for run in runs])
                    for name in names
                }
        return table

    @property
    def verdicts(self) -> dict[str, str]:
        """For each policy a clause: ``certain``, or ``not certain after n runs`` with what is known
        and about how many more runs it would take."""
        precision = 0.1 if self.precision is None else self.precision
        return {policy: verdict(self.of(policy), precision) for policy in self.measured}

    @property
    def frame(self) -> pd.DataFrame:
        """One row a measure; for each policy, its median over the runs with the interval. With two
        disks, the disk is the columns' first level."""
        import pandas as pd

        if len(self.disks) > 1:
            return pd.concat({disk: self.on(disk).frame for disk in self.disks}, axis=1)
        columns = {
            (policy, part): {
                name: getattr(interval, attribute) for name, interval in measures.items()
            }
            for policy, measures in self.measured.items()
            for part, attribute in (("median", "estimate"), ("low", "low"), ("high", "high"))
        }
        return pd.DataFrame(columns)

    def goodput(self, target_ms: float) -> dict[str, float]:
        """For each policy, the share of all requests of its runs that succeeded within `target_ms`,
        before, during and after the change."""
        return {
            policy: float(np.mean([run.recording.load.goodput(target_ms) for run in runs]))
            for policy in self.policies
            if (runs := self.of(policy))
        }

    @property
    def advice(self) -> str:
        """A few sentences on which policy to choose for this change."""
        if len(self.disks) > 1:
            return " ".join(f"{heading}: {one.advice}" for heading, one in self.by_disk())
        return advise(self.measured, self.rate)

    def typical(self) -> list[Run]:
        """For each policy and disk, the run with the median gap (without gaps, time to serve)."""
        shown = []
        for disk in self.disks:
            for policy in self.policies:
                runs = [run for run in self.of(policy) if run.disk == disk]
                runs.sort(key=lambda run: (run.figures[GAP], run.figures[SERVES]))
                if runs:
                    shown.append(runs[len(runs) // 2])
        return shown

    def plot(self) -> Picture:
        """The typical run of each policy on the same axes; 0 is when the version was wanted."""
        return figures(self)

    def titles(self) -> list[str]:
        """The names of the typical runs."""
        return [
            run.policy if len(self.disks) == 1 else f"{run.policy}, {run.disk} disk"
            for run in self.typical()
        ]

    def view(self) -> tuple[float, float]:
        """The time to show, within all recordings: start and end in seconds since the version was
        wanted."""
        runs = self.typical()
        longest = max(run.window[1] - run.window[0] for run in runs)
        recorded = min(run.recording.end - run.window[0] for run in runs)
        return -0.35 * longest - 0.05, max(longest, min(1.75 * longest + 0.1, recorded))

    def to_json(self, recordings: bool = True) -> dict[str, Any]:
        """Plain data; `from_json` needs the recordings."""
        return {
            "model": self.model,
            "versions": list(self.versions),
            "rate": self.rate,
            "load": self.load.to_json(),
            "policies": list(self.policies),
            "disks": list(self.disks),
            "precision": self.precision,
            "interrupted": self.interrupted,
            "advice": self.advice,
            "verdicts": self.verdicts
            if len(self.disks) == 1
            else {disk: self.on(disk).verdicts for disk in self.disks},
            "runs": [run.to_json(recordings) for run in self.runs],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], number: int | None = None) -> TransitionComparison:
        """The comparison that `to_json` wrote."""
        first, second = data["versions"]
        return cls(
            data["model"],
            (first, second),
            Schedule.from_json(data["load"]),
            tuple(data["policies"]),
            tuple(Run.from_json(run) for run in data["runs"]),
            tuple(data["disks"]),
            data["precision"],
            data["interrupted"],
            number,
        )

    def __str__(self) -> str:
        parts = [self.title()]
        for heading, one in self.by_disk():
            parts += [*([heading] if heading else []), one.words().to_string(), one.footnote()]
        return "\n".join([*parts, self.advice])

    def by_disk(self) -> list[tuple[str, TransitionComparison]]:
        """A heading and a comparison for each disk that any run used."""
        if len(self.disks) == 1:
            return [("", self)]
        used = {run.disk for run in self.runs}
        return [(f"With a {disk} disk", self.on(disk)) for disk in self.disks if disk in used]

    def title(self) -> str:
        """Versions, load, and the runs of each policy, in a line."""
        runs = {policy: len(self.of(policy)) for policy in self.policies}
        counted = ", ".join(
            f"once {policy}" if count == 1 else f"{count} times {policy}"
            for policy, count in runs.items()
            if count
        )
        kind = "" if self.load.kind == "poisson" else f" ({self.load.kind})"
        return (
            f"{self.model}: version {self.versions[0]} to {self.versions[1]} at {self.rate:g} "
            f"requests a second{kind}, {counted}{', interrupted' if self.interrupted else ''}"
        )

    def words(self) -> pd.DataFrame:
        """The table for people: each median as text, with its interval."""
        import pandas as pd

        return pd.DataFrame(
            {
                policy: {name: _words(interval) for name, interval in measures.items()}
                for policy, measures in self.measured.items()
            }
        ).fillna("–")

    def footnote(self) -> str:
        """The meaning of the brackets, the verdicts, and the files' share in the page cache."""
        sure = {found[GAP].confidence for found in self.measured.values()}
        low, high = min(sure), max(sure)
        text = f"{low:.0%}" if f"{low:.0%}" == f"{high:.0%}" else f"{low:.0%} to {high:.0%}"
        notes = [
            f"In brackets: the interval that contains the true median with {text} confidence."
            if high > 0
            else "With one run of each policy, the variation between runs is unknown."
        ]
        notes += [f"{policy}: {verdict}." for policy, verdict in self.verdicts.items()]
        shares = [run.cached for run in self.runs if run.cached is not None]
        if shares:
            least, most = f"{min(shares):.0%}", f"{max(shares):.0%}"
            share = least if least == most else f"{least} to {most}"
            notes.append(f"{share} of the new version's files were in the page cache at the start.")
        return " ".join(notes)

    def _ipython_display_(self) -> None:
        views(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        """Advice, tables and figure, without scripts."""
        tables = "".join(
            (f"<p><b>{html.escape(heading)}</b></p>" if heading else "")
            + f"{one.words().to_html(border=0)}<p>{html.escape(one.footnote())}</p>"
            for heading, one in self.by_disk()
        )
        return (
            f"<p><b>{html.escape(self.title())}</b></p><p>{html.escape(self.advice)}</p>{tables}"
            f"{html_picture(self.plot()._repr_png_(), self.advice)}"
        )


def _words(interval: Interval) -> str:
    if np.isnan(interval.estimate):
        return "–"
    if math.isinf(interval.estimate):
        return "not ended"
    middle, low, high = (f"{v:.3g}" for v in (interval.estimate, interval.low, interval.high))
    return middle if low == high else f"{middle} ({low} to {high})"
