"""One change of version under one policy: its recording, and the figures to compare."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from workbench.experiments.recording.recording import Recording

Disk = Literal["warm", "cold"]
"""Whether the new version's files were in the page cache when the change began."""

GAP = "gap (ms)"
SERVES = "until the new version serves (s)"

_MEGABYTE = 2**20


@dataclass(frozen=True, eq=False)
class Run:
    """One change of version under one policy.

    Attributes:
        old, new: the versions before and after.
        disk: whether the new version's files were brought into the page cache, or dropped from it.
        cached: the share of their bytes in the page cache; None if unknown.
    """

    policy: str
    recording: Recording = field(repr=False)
    old: int
    new: int
    disk: Disk = "warm"
    cached: float | None = None

    def _last(self, kind: str, version: int) -> float | None:
        """When the version last had an event of this kind, on the recording's axis."""
        found = [
            float(event["at"])
            for event in self.recording.own_events(kind)
            if event["version"] == version and event["at"] >= 0
        ]
        return found[-1] if found else None

    @cached_property
    def window(self) -> tuple[float, float]:
        """From when the new version is wanted to when it serves alone or has failed, in seconds on
        the recording's axis; without either, to the end of the recording."""
        wanted = self._last("aspired", self.new)
        served = self._last("available", self.new)
        ended = self._last("unloaded", self.old)
        end = self._last("error", self.new)
        if served is not None:
            end = max(served, ended) if ended is not None else self.recording.end
        start = 0.0 if wanted is None else wanted
        return start, max(start, self.recording.end if end is None else end)

    def latency_ms(self, when: str, percentile: float) -> float:
        """A percentile of the answered requests' latency, of those due ``before``, ``during`` or
        ``after`` the change; NaN where none was answered."""
        start, end = self.window
        due = self.recording.load.intended
        chosen = {"before": due < start, "during": (due >= start) & (due <= end)}.get(
            when, due > end
        )
        latency = self.recording.load.latency[chosen & self.recording.load.succeeded]
        return float(np.percentile(latency, percentile)) * 1e3 if len(latency) else math.nan

    @cached_property
    def breakdown(self) -> dict[str, float]:
        """The steps of the new version's load in seconds, from the server's events, and its first
        run, which comes after the load."""
        steps: dict[str, float] = {}
        for event in self.recording.own_events("available", "first_run"):
            if event["version"] != self.new or event["at"] < self.window[0]:
                continue
            if event["kind"] == "available":
                steps = {name: float(s) for name, s in event["data"].get("breakdown", {}).items()}
            else:
                steps["first_run"] = float(event["data"]["seconds"])
        return steps

    @cached_property
    def figures(self) -> dict[str, float]:
        """The measures by their names in the table; infinite where the new version never served."""
        start, end = self.window
        recording = self.recording
        load = recording.load
        wait = recording.held_wait[recording.held]
        mine = load.done[load.succeeded & (load.version == self.new) & (load.intended >= start - 1)]
        served = self._last("available", self.new)
        before, after = self._steady_bytes()
        peak = float(recording.peak_bytes())
        figures = {
            "failed requests": float(recording.failed),
            "held requests": float(len(wait)),
            "longest wait of those held (ms)": float(wait.max()) * 1e3 if len(wait) else 0.0,
            GAP: recording.gap_seconds * 1e3,
            SERVES: math.inf if served is None else served - start,
            "until it answers a request (s)": float(mine.min()) - start if len(mine) else math.inf,
            "the change in all (s)": end - start,
            "both in memory (s)": recording.overlap_seconds(),
            "peak memory (MB)": peak / _MEGABYTE,
            "peak with shared pages, PSS (MB)": recording.peak_bytes("pss") / _MEGABYTE,
            "peak above before (MB)": max(0.0, peak - before) / _MEGABYTE,
            "memory of both (MB)": (before + after) / _MEGABYTE,
        }
        for when in ("before", "during", "after"):
            figures[f"p99 {when} (ms)"] = self.latency_ms(when, 99)
            figures[f"worst {when} (ms)"] = self.latency_ms(when, 100)
        for step, seconds in self.breakdown.items():
            figures[f"load: {step.replace('_', ' ')} (ms)"] = seconds * 1e3
        return figures

    def _steady_bytes(self) -> tuple[float, float]:
        """The workers' memory before the change, and some time after it."""
        start, end = self.window
        memory = self.recording.memory_by_version().sum(axis=1)
        found = []
        for chosen in (memory.index < start, memory.index > (end + self.recording.end) / 2):
            values = memory[chosen & (memory > 0).to_numpy()]
            found.append(float(values.median()) if len(values) else 0.0)
        return found[0], found[1]

    def to_json(self, recordings: bool = True) -> dict[str, Any]:
        """Plain data; `from_json` needs the recording."""
        data = {
            "policy": self.policy,
            "old": self.old,
            "new": self.new,
            "disk": self.disk,
            "cached": self.cached,
            # NaN and infinity become null: JSON has neither.
            **{n: v if math.isfinite(v) else None for n, v in self.figures.items()},
        }
        return {**data, "recording": self.recording.to_json()} if recordings else data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Run:
        """The run that `to_json` wrote."""
        recording = Recording.from_json(data["recording"])
        return cls(
            data["policy"], recording, data["old"], data["new"], data["disk"], data["cached"]
        )
