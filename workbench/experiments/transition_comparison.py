"""What a comparison of transitions found: a table with ranges, advice, and the figure."""

from __future__ import annotations

import base64
import html
import statistics
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.experiments.recording import Recording

if TYPE_CHECKING:
    import pandas as pd

    from workbench.experiments.figure import Picture

# Two samples of a worker's memory that are this near tell nothing: pages come and go.
_MEMORY_NOISE_BYTES = 4 * 2**20


@dataclass(frozen=True, eq=False)
class Run:
    """One change of version under one policy.

    Attributes:
        old, new: the versions before and after.
    """

    policy: str
    recording: Recording = field(repr=False)
    old: int
    new: int

    @cached_property
    def window(self) -> tuple[float, float]:
        """From when the new version is wanted to when it serves alone, in seconds on the
        recording's axis."""
        events = self.recording.events
        mine = events[(events["model"] == self.recording.model)]
        wanted = mine[(mine["kind"] == "aspired") & (mine["version"] == self.new)]["at"]
        ended = mine[(mine["kind"] == "unloaded") & (mine["version"] == self.old)]["at"]
        served = mine[(mine["kind"] == "available") & (mine["version"] == self.new)]["at"]
        return float(wanted.iloc[-1]), float(max(ended.iloc[-1], served.iloc[-1]))

    def latency_ms(self, when: str, percentile: float) -> float:
        """A percentile of the answered requests' latency, of those due ``before``, ``during`` or
        ``after`` the change; NaN where none was answered."""
        start, end = self.window
        due = self.recording.load.intended
        chosen = {"before": due < start, "during": (due >= start) & (due <= end)}.get(
            when, due > end
        )
        latency = self.recording.load.latency[chosen & self.recording.load.succeeded]
        return float(np.percentile(latency, percentile)) * 1e3 if len(latency) else float("nan")

    @cached_property
    def figures(self) -> dict[str, float]:
        """The measures of this run, by their names in the table."""
        start, end = self.window
        recording = self.recording
        memory = recording.memory_by_version().sum(axis=1)
        before = memory[(memory.index < start) & (memory > 0)]
        steady = float(before.median()) if len(before) else 0.0
        return {
            "failed requests": float(recording.failed),
            "gap (ms)": recording.gap_seconds * 1e3,
            "until the new version serves (s)": self._served_at() - start,
            "the change in all (s)": end - start,
            "both in memory (s)": recording.overlap_seconds(),
            "peak memory (MB)": recording.peak_bytes() / 2**20,
            "peak above before (MB)": max(0.0, recording.peak_bytes() - steady) / 2**20,
            "p99 before (ms)": self.latency_ms("before", 99),
            "p99 during (ms)": self.latency_ms("during", 99),
            "worst during (ms)": self.latency_ms("during", 100),
            "p99 after (ms)": self.latency_ms("after", 99),
        }

    def _served_at(self) -> float:
        events = self.recording.events
        chosen = (events["kind"] == "available") & (events["version"] == self.new)
        return float(events[chosen & (events["model"] == self.recording.model)]["at"].iloc[-1])


@dataclass(frozen=True, eq=False)
class TransitionComparison:
    """Policies on the same traffic.

    Attributes:
        versions: the one before and the one after.
        rate: offered load in requests a second; `seed`: of its arrivals.
        policies: those asked for; `runs`: what was measured, in order.
    """

    model: str
    versions: tuple[int, int]
    rate: float
    seed: int
    policies: tuple[str, ...]
    runs: tuple[Run, ...] = field(repr=False)
    interrupted: bool = False

    def of(self, policy: str) -> list[Run]:
        """The runs of one policy."""
        return [run for run in self.runs if run.policy == policy]

    @cached_property
    def measured(self) -> dict[str, dict[str, tuple[float, float, float]]]:
        """For each policy and measure its median over the runs, and its range."""
        table: dict[str, dict[str, tuple[float, float, float]]] = {}
        for policy in self.policies:
            runs = self.of(policy)
            if runs:
                table[policy] = {
                    name: (statistics.median(values), min(values), max(values))
                    for name in runs[0].figures
                    for values in [[run.figures[name] for run in runs]]
                }
        return table

    @property
    def frame(self) -> pd.DataFrame:
        """One row a measure; for each policy its median over the runs, and their range."""
        import pandas as pd

        columns = {
            (policy, part): {name: values[i] for name, values in measures.items()}
            for policy, measures in self.measured.items()
            for i, part in enumerate(("median", "lowest", "highest"))
        }
        return pd.DataFrame(columns)

    @property
    def advice(self) -> str:
        """One sentence or two on which policy to choose for this change."""
        smooth, swapped = self.measured.get("smooth"), self.measured.get("unload_first")
        if smooth is None or swapped is None:
            return "With both policies measured, there would be advice here."
        more = smooth["peak memory (MB)"][0] - swapped["peak memory (MB)"][0]
        failed, gap = swapped["failed requests"][0], swapped["gap (ms)"][0]
        kept = smooth["failed requests"][2]
        memory = (
            f"it needs {more:.0f} MB more for {smooth['both in memory (s)'][0]:.2g} s"
            if more * 2**20 > _MEMORY_NOISE_BYTES
            else "it needs hardly any more memory"
        )
        if kept:
            return (
                f"Even smooth lost up to {kept:.0f} requests: look at the events of its runs "
                "before choosing."
            )
        said = (
            f"Choose smooth if the memory is there: no request failed, and {memory}. Unload_first "
            f"never holds both versions, and at {self.rate:g} requests a second it failed "
            f"{failed:.0f} of them while nothing served for {gap:.0f} ms."
        )
        waiting = self.measured.get("unload_first+hold")
        if waiting is not None:
            lost = waiting["failed requests"][2]
            said += (
                f" With hold, {'none' if not lost else f'up to {lost:.0f}'} failed: they waited "
                f"up to {waiting['worst during (ms)'][0]:.0f} ms."
            )
        return said

    def plot(self) -> Picture:
        """For each policy its typical run (the median gap) on the same axes."""
        from workbench.experiments.recording_figure import draw

        shown = []
        for policy in self.measured:
            runs = sorted(self.of(policy), key=lambda run: run.figures["gap (ms)"])
            shown.append(runs[len(runs) // 2].recording)
        return draw(shown)  # type: ignore[return-value]

    def to_json(self) -> dict[str, Any]:
        """All figures of all runs, as plain data."""
        return {
            "model": self.model,
            "versions": list(self.versions),
            "rate": self.rate,
            "seed": self.seed,
            "interrupted": self.interrupted,
            "advice": self.advice,
            "runs": [
                {
                    "policy": run.policy,
                    # What is no number as null: JSON has no NaN.
                    **{n: None if np.isnan(v) else v for n, v in run.figures.items()},
                }
                for run in self.runs
            ],
        }

    def __str__(self) -> str:
        return f"{self._title()}\n{self._table().to_string()}\n{self.advice}"

    def _title(self) -> str:
        counted = ", ".join(f"{len(self.of(p))} times {p}" for p in self.measured)
        return (
            f"{self.model}: version {self.versions[0]} to {self.versions[1]} at {self.rate:g} "
            f"requests a second, {counted}{', interrupted' if self.interrupted else ''}"
        )

    def _table(self) -> pd.DataFrame:
        """The same as words: the median, and the range where there is one."""
        import pandas as pd

        return pd.DataFrame(
            {
                policy: {name: _words(*values) for name, values in measures.items()}
                for policy, measures in self.measured.items()
            }
        )

    def _repr_html_(self) -> str:
        """Advice, table and figure; needs neither kernel nor script to be looked at."""
        picture = base64.b64encode(self.plot()._repr_png_()).decode("ascii")
        return (
            f"<p><b>{html.escape(self._title())}</b></p><p>{html.escape(self.advice)}</p>"
            f"{self._table().to_html(border=0)}"
            f'<img alt="{html.escape(self.advice)}" style="max-width:100%" '
            f'src="data:image/png;base64,{picture}">'
        )


def _words(median: float, low: float, high: float) -> str:
    if np.isnan(median):
        return "–"
    if f"{low:.3g}" == f"{high:.3g}":
        return f"{median:.3g}"
    return f"{median:.3g} ({low:.3g} to {high:.3g})"
