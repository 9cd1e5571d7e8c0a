"""What happens to live traffic, memory and states while something is done to a server.

    with record(server, x, rate=100) as recording:
        server.publish(model)
    recording.plot()

Requests come from the load generator's own process on a schedule made in advance, so a server
that is away for a moment is seen by every request that was due in that moment.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.client.server import Server
from workbench.experiments.generator import Closed, LoadJob, LoadResult, run_load
from workbench.load.arrivals import Schedule

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

LEAD_SECONDS = 1.0
"""Traffic before and after what is recorded, so that both can be compared with it."""
_LIMIT_SECONDS = 600.0
_START_SECONDS = 20.0


@dataclass
class Recording:
    """One stretch of time of one model, on one axis: seconds since the first request was due.

    Attributes:
        title: what was done.
        load: every request, with its intended time, latency, status and answering version.
        events: the server's events in that time, with a column `at` on this axis.
        memory: samples of the workers' memory in that time, with a column `at`.
    """

    title: str
    model: str
    load: LoadResult = field(init=False)
    events: pd.DataFrame = field(init=False)
    memory: pd.DataFrame = field(init=False)

    @property
    def answered(self) -> int:
        return int(self.load.succeeded.sum())

    @property
    def failed(self) -> int:
        return int((~self.load.succeeded).sum())

    @property
    def gap_seconds(self) -> float:
        """How long no version was available, from the server's own events; 0.0 if always."""
        gap = 0.0
        serving: set[int] = set()
        since: float | None = None
        for event in self._states():
            if event.state == "AVAILABLE":
                if not serving and since is not None:
                    gap += event.at - since
                serving.add(event.version)
            elif event.version in serving:
                serving.discard(event.version)
                if not serving:
                    since = event.at
        return float(gap)

    @property
    def gap_seen_seconds(self) -> float:
        """The same as callers saw it: from the first failed request to the next answered one."""
        failed = np.flatnonzero(~self.load.succeeded)
        if not len(failed):
            return 0.0
        due = self.load.intended
        after = np.flatnonzero(self.load.succeeded & (due > due[failed[-1]]))
        end = due[after[0]] if len(after) else due[-1]
        return float(end - due[failed[0]])

    def spans(self) -> list[Span]:
        """Each version's public states as bars: when it was in which."""
        open_spans: dict[int, Span] = {}
        spans: list[Span] = []
        for event in self._states():
            before = open_spans.pop(event.version, None)
            if before is not None:
                before.end = event.at
            if event.state != "END":
                open_spans[event.version] = Span(event.version, event.state, event.at, self.end)
                spans.append(open_spans[event.version])
        return [s for s in spans if s.end > 0 and s.start < self.end]

    @property
    def end(self) -> float:
        return float(self.load.sent_until_s)

    def overlap_seconds(self) -> float:
        """How long the workers of two versions held memory at the same time."""
        workers = [
            (span.start, span.end) for span in _merged(self.spans()) if span.state == "resident"
        ]
        total = 0.0
        for i, (start, end) in enumerate(workers):
            for other_start, other_end in workers[i + 1 :]:
                total += max(0.0, min(end, other_end) - max(start, other_start))
        return total

    def peak_bytes(self) -> int:
        """The most that the workers of this model took together (USS), in the samples."""
        if self.memory.empty:
            return 0
        return int(self.memory_by_version().sum(axis=1).max())

    def memory_by_version(self) -> pd.DataFrame:
        """USS in bytes of each version's worker (columns) over time in seconds (index)."""
        import pandas as pd

        grid = np.arange(0.0, self.end, 0.02)
        table = pd.DataFrame(index=pd.Index(grid, name="at"))
        for span in _merged(self.spans()):
            mine = self.memory[self.memory["version"] == span.version]
            if span.start > 0:
                # A worker that had this version before is another process.
                mine = mine[mine["at"] >= span.start]
            if mine.empty:
                continue
            # Between two samples a worker is as large as it was in the one before.
            at = np.searchsorted(mine["at"].to_numpy(), grid, side="right") - 1
            held = mine["uss"].to_numpy(float)[np.maximum(at, 0)]
            inside = (grid >= span.start) & (grid < span.end) & ((at >= 0) | (span.start <= 0))
            before = table.get(span.version, 0.0)
            table[span.version] = before + np.where(inside, held, 0.0)
        return table

    def summary(self) -> dict[str, Any]:
        latency = self.load.latency[self.load.succeeded]
        return {
            "requests": len(self.load.intended),
            "answered": self.answered,
            "failed": self.failed,
            "gap_ms": round(self.gap_seconds * 1e3, 1),
            "p50_ms": round(float(np.percentile(latency, 50)) * 1e3, 2) if len(latency) else None,
            "p99_ms": round(float(np.percentile(latency, 99)) * 1e3, 2) if len(latency) else None,
            "memory_overlap_s": round(self.overlap_seconds(), 2),
            "peak_mb": round(self.peak_bytes() / 2**20, 1),
        }

    def plot(self) -> Figure:
        """States, memory and requests over time, one above the other."""
        from workbench.experiments.recording_figure import draw

        return draw([self])

    def __repr__(self) -> str:
        return f"Recording({self.title}: {self.summary()})"

    def _states(self) -> Iterator[_State]:
        states = self.events[self.events["kind"] == "state"]
        for event in states.sort_values("at").to_dict("records"):
            if event["model"] == self.model:
                yield _State(event["at"], int(event["version"]), event["data"]["state"])


@dataclass
class Span:
    """A version was in a state from `start` to `end` (seconds on the recording's axis)."""

    version: int
    state: str
    start: float
    end: float


@dataclass(frozen=True)
class _State:
    at: float
    version: int
    state: str


def _merged(spans: list[Span]) -> list[Span]:
    """From the first state in which a version's worker exists to the last."""
    whole: dict[int, Span] = {}
    merged: list[Span] = []
    for span in spans:
        if span.state == "START":
            continue
        known = whole.get(span.version)
        if known is not None and abs(known.end - span.start) < 1e-9:
            known.end = span.end
        else:
            whole[span.version] = Span(span.version, "resident", span.start, span.end)
            merged.append(whole[span.version])
    return merged


@contextmanager
def record(
    server: Server,
    x: Any,
    *,
    rate: float = 100.0,
    title: str = "",
    seed: int = 0,
    lead_seconds: float = LEAD_SECONDS,
) -> Iterator[Recording]:
    """Record a server under `rate` requests a second while the `with` block runs.

    Args:
        x: one example (or batch), as a nested list or array: the `instances` of each request.
        rate: offered load in requests a second, Poisson arrivals from `seed`.

    Raises:
        LoadError: the load generator failed.
    """
    recording = Recording(title or server.transition, server.model)
    about = server.status()
    first_seq = int(about["last_seq"])
    job = predict_job(
        server, x, Schedule("poisson", rate=rate, duration_s=_LIMIT_SECONDS, seed=seed)
    )
    stop = threading.Event()
    began = threading.Event()
    outcome: list[LoadResult | BaseException] = []

    def send() -> None:
        try:
            outcome.append(run_load(job, lambda _: began.set(), stop))
        except BaseException as error:
            outcome.append(error)
        began.set()

    sender = threading.Thread(target=send, name="recording-load", daemon=True)
    before = server.events(max(0, first_seq - 2000))
    sender.start()
    try:
        began.wait(_START_SECONDS)
        time.sleep(lead_seconds)
        yield recording
        time.sleep(lead_seconds)
    finally:
        stop.set()
        sender.join(_START_SECONDS)
    result = outcome[0] if outcome else None
    if not isinstance(result, LoadResult):
        raise result if result is not None else RuntimeError("the load did not end in time")
    recording.load = result
    start = result.started_at
    # Versions that served before the recording began: their last state is where they start.
    import pandas as pd

    states = before[(before["kind"] == "state") & (before["model"] == server.model)]
    standing = states.drop_duplicates("version", keep="last")
    standing = standing[[d["state"] != "END" for d in standing["data"]]]
    events = pd.concat([standing, server.events(first_seq)], ignore_index=True)
    events = events.drop_duplicates("seq").assign(at=lambda e: e["wall"] - start)
    recording.events = events
    memory = server.memory_history().assign(at=lambda m: m["wall"] - start)
    inside = (memory["at"] > -1.1) & (memory["at"] < recording.end + 0.1)
    recording.memory = memory[inside & (memory["model"] == server.model)].copy()


def predict_job(server: Server, x: Any, schedule: Schedule | Closed) -> LoadJob:
    """Requests over REST that ask the server's model for `x`, with its token."""
    entry = server._control.entry()
    instances = x.tolist() if hasattr(x, "tolist") else x
    headers = {"Content-Type": "application/json"}
    if entry.token is not None:
        headers["Authorization"] = f"Bearer {entry.token}"
    return LoadJob(
        address=(entry.host, entry.port),
        target=f"/v1/models/{server.model}:predict",
        bodies=[json.dumps({"instances": instances}).encode()],
        schedule=schedule,
        headers=headers,
    )
