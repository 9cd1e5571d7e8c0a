"""The recording of a server while something is done to it.

    with record(server, x, rate=100) as recording:
        server.publish(model)
    recording.plot()

The load generator sends requests on a schedule made in advance, so every request that is due while
the server is away shows it.
"""

from __future__ import annotations

import html
import json
import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.client.display.tables import table_of
from workbench.client.server import ServerClient
from workbench.core.status import invalid_argument
from workbench.experiments.load.generator import Closed, LoadJob, LoadResult, run_load
from workbench.experiments.load.measure import rest_job
from workbench.experiments.recording.recorded_timeline import RecordedTimeline
from workbench.experiments.showing import figures, html_result, text_result
from workbench.load.arrivals import Schedule

if TYPE_CHECKING:
    import pandas as pd

    from workbench.experiments.figure import Picture

LEAD_SECONDS = 1.0
"""Traffic before and after the block, for comparison."""
_LIMIT_SECONDS = 600.0
_START_SECONDS = 20.0
GAP_SECONDS = 4.0
"""Requests that wait in a gap of this length do not keep others from being sent."""
_MOST_CONNECTIONS = 1000
_TRAVEL_SECONDS = 0.05
"""On a busy machine, a request may be held this long after it was sent."""
_EVENT_COLUMNS = ["seq", "at", "kind", "model", "version", "data", "line"]
_MEMORY_COLUMNS = ["at", "model", "version", "pid", "pss", "uss", "measured"]

MemoryKind = Literal["uss", "pss"]


@dataclass
class Recording(RecordedTimeline):
    """One model over time, on one axis: seconds since the first request was due.

    Attributes:
        title: the name of what was done.
        load: every request, with its intended time, latency, status and answering version.
        events: the server's events, with a column `at` on this axis.
        memory: samples of the workers' memory, with a column `at`; `measured` is
            False for the cheap readings between two exact ones.
    """

    title: str
    model: str
    load: LoadResult = field(init=False)
    events: pd.DataFrame = field(init=False)
    memory: pd.DataFrame = field(init=False)

    # Requests.

    @property
    def answered(self) -> int:
        """Requests answered with a status of 2xx."""
        return int(self.load.succeeded.sum())

    @property
    def failed(self) -> int:
        """Requests answered with an error, or not at all."""
        return int((~self.load.succeeded).sum())

    @property
    def held(self) -> NDArray[np.bool_]:
        """Which requests waited on the server for a version: those sent while requests were held
        that ended only after the release, and those sent in a gap without end that had no answer
        when the recording ended."""
        load = self.load
        held = np.zeros(len(load.intended), bool)
        for release in self.releases():
            held |= (
                (load.sent >= release.since - _TRAVEL_SECONDS)
                & (load.sent < release.at)
                & (load.done >= release.at)
            )
        for gap in self.gaps:
            if math.isinf(gap.end):
                held |= (load.sent >= gap.start) & (load.status == 0) & (load.done >= self.end)
        return held

    @property
    def held_wait(self) -> NDArray[np.float64]:
        """How long each request waited for a version, in seconds from its intended time; 0 for
        those that did not wait."""
        wait = np.zeros(len(self.load.intended))
        for release in self.releases():
            mine = self.held & (wait == 0) & (self.load.done >= release.at)
            wait[mine] = np.maximum(release.at - self.load.intended[mine], 0.0)
        unanswered = self.held & (wait == 0)
        wait[unanswered] = np.maximum(self.end - self.load.intended[unanswered], 0.0)
        return wait

    @property
    def draining(self) -> pd.DataFrame:
        """Requests that a version still had after it stopped accepting new ones: `at`, `version`
        and `requests`, a row each time the number changes."""
        import pandas as pd

        rows = []
        for drain in self.drains():
            load = self.load
            mine = load.succeeded & (load.version == drain.version) & (load.done > drain.start)
            # The same version may have been loaded again later.
            mine &= load.intended < drain.end
            left = int(mine.sum())
            rows.append((drain.start, drain.version, left))
            for done in np.sort(load.done[mine]):
                left -= 1
                rows.append((float(done), drain.version, left))
        return pd.DataFrame(rows, columns=["at", "version", "requests"])

    # States.

    @property
    def gap_seconds(self) -> float:
        """How long no version was available, from the server's own events; infinite if none was
        available at the end."""
        return sum(gap.seconds for gap in self.gaps)

    @property
    def gap_seen_seconds(self) -> float:
        """The gap that callers saw: from the first failed request to the next answered one;
        infinite if no more were answered."""
        failed = np.flatnonzero(~self.load.succeeded)
        if not len(failed):
            return 0.0
        due = self.load.intended
        after = np.flatnonzero(self.load.succeeded & (due > due[failed[-1]]))
        return float(due[after[0]] - due[failed[0]]) if len(after) else math.inf

    @property
    def end(self) -> float:
        """When sending ended, in seconds on the axis."""
        return float(self.load.sent_until_s)

    # Memory.

    def overlap_seconds(self) -> float:
        """How long the workers of two versions held memory at the same time."""
        pairs = combinations(self.resident(), 2)
        return sum(max(0.0, min(a.end, b.end) - max(a.start, b.start)) for a, b in pairs)

    def peak_bytes(self, kind: MemoryKind = "uss") -> int:
        """The largest sum of the memory of this model's workers, in bytes."""
        if self.memory.empty:
            return 0
        return int(self.memory_by_version(kind).sum(axis=1).max())

    def memory_by_version(self, kind: MemoryKind = "uss") -> pd.DataFrame:
        """Memory in bytes of each version's worker (columns) over time in seconds (index).

        Args:
            kind: ``uss``, the worker's private memory, or ``pss``, which adds its share of memory
                that it has in common with other processes.
        """
        import pandas as pd

        grid = np.arange(0.0, self.end, 0.02)
        table = pd.DataFrame(index=pd.Index(grid, name="at"))
        for span in self.resident():
            mine = self.memory[self.memory["version"] == span.version]
            if span.start > 0:
                # An earlier worker of this version was another process.
                mine = mine[mine["at"] >= span.start]
            if mine.empty:
                continue
            # Between two samples, the earlier one holds.
            at = np.searchsorted(mine["at"].to_numpy(), grid, side="right") - 1
            held = mine[kind].to_numpy(float)[np.maximum(at, 0)]
            inside = (grid >= span.start) & (grid < span.end) & ((at >= 0) | (span.start <= 0))
            before = table.get(span.version, 0.0)
            table[span.version] = before + np.where(inside, held, 0.0)
        return table

    # Summaries and formats.

    def summary(self) -> dict[str, Any]:
        """The recording in a few numbers, with their units in the names; percentiles are None where
        no request succeeded."""
        latency = self.load.latency[self.load.succeeded] * 1e3
        p50, p99 = (
            np.percentile(latency, [50, 99]).round(2).tolist() if len(latency) else (None, None)
        )
        wait = self.held_wait[self.held]
        return {
            "requests": len(self.load.intended),
            "answered": self.answered,
            "failed": self.failed,
            "held": len(wait),
            "held_wait_ms": round(float(wait.max()) * 1e3, 1) if len(wait) else 0.0,
            "gap_ms": round(self.gap_seconds * 1e3, 1),
            "p50_ms": p50,
            "p99_ms": p99,
            "memory_overlap_s": round(self.overlap_seconds(), 2),
            "peak_mb": round(self.peak_bytes() / 2**20, 1),
            "peak_pss_mb": round(self.peak_bytes("pss") / 2**20, 1),
        }

    @property
    def brief(self) -> str:
        """Failed and held requests, and the time without a version, in one line."""
        gap, held = self.gap_seconds, int(self.held.sum())
        parts = [f"{self.failed:,} failed" if self.failed else "none failed"]
        parts += [f"{held:,} held"] if held else []
        if math.isinf(gap):
            parts.append("no version until the end")
        else:
            parts.append(f"no version for {gap * 1e3:.0f} ms" if gap else "always served")
        return ", ".join(parts)

    @property
    def frame(self) -> pd.DataFrame:
        """One row a request: `LoadResult.frame`, `held`, and `held_wait` in seconds."""
        return self.load.frame.assign(held=self.held, held_wait=self.held_wait)

    @property
    def timeline(self) -> pd.DataFrame:
        """Public and harness states, decisions, warm-up and draining, each from `at` to `until`,
        sorted by time."""
        import pandas as pd

        rows: list[tuple[float, float, str, int, str]] = []
        for kind, spans in (
            ("state", self.spans()),
            ("harness", self.harness_spans()),
            ("warm-up", self.warm_ups()),
        ):
            rows += [(s.start, s.end, kind, s.version, s.state) for s in spans]
        rows += [(d.at, d.at, "decision", d.version, f"{d.act}: {d.why}") for d in self.decisions()]
        rows += [
            (d.start, d.end, "drain", d.version, f"{d.pending} requests") for d in self.drains()
        ]
        frame = pd.DataFrame(rows, columns=["at", "until", "kind", "version", "what"])
        return frame.sort_values("at", kind="stable", ignore_index=True)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data."""
        import pandas as pd

        events = self.events[[c for c in _EVENT_COLUMNS if c in self.events]]
        memory = self.memory[[c for c in _MEMORY_COLUMNS if c in self.memory]]
        plain = {
            name: [
                {key: value for key, value in row.items() if not _nothing(value)}
                for row in frame.astype(object).to_dict("records")
            ]
            for name, frame in (("events", events), ("memory", pd.DataFrame(memory)))
        }
        return {"title": self.title, "model": self.model, "load": self.load.to_json(), **plain}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Recording:
        """The recording that `to_json` wrote."""
        recording = cls(data["title"], data["model"])
        recording.load = LoadResult.from_json(data["load"])
        recording.events = table_of(data["events"], _EVENT_COLUMNS)
        recording.memory = table_of(data["memory"], _MEMORY_COLUMNS)
        return recording

    def plot(self) -> Picture:
        """States, memory and requests over time, one above the other."""
        return figures(self)

    @property
    def sentence(self) -> str:
        """What was recorded, in words."""
        if not hasattr(self, "load"):
            return f"Recording of {self.model}, {self.title}: it has not ended."
        s = self.summary()
        latency = "" if s["p99_ms"] is None else f"; p99 {s['p99_ms']:g} ms"
        return (
            f"Recording of {self.model}, {self.title}: {s['requests']:,} requests, "
            f"{self.brief}{latency}; peak memory {s['peak_mb']:g} MB."
        )

    def _table(self) -> pd.DataFrame:
        """The summary, a row a measure."""
        import pandas as pd

        rows = [(name, "–" if value is None else value) for name, value in self.summary().items()]
        return pd.DataFrame(rows, columns=["measure", "value"], dtype=object)

    def __repr__(self) -> str:
        return self.sentence

    def __str__(self) -> str:
        if not hasattr(self, "load"):
            return self.sentence
        return text_result(self.sentence, self._table())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        if not hasattr(self, "load"):
            return f"<p>{html.escape(self.sentence)}</p>"
        return html_result(self.sentence, self._table(), self.plot())


def _nothing(value: Any) -> bool:
    import pandas as pd

    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


@contextmanager
def record(
    server: ServerClient,
    x: Any,
    *,
    rate: float = 100.0,
    load: Schedule | None = None,
    title: str = "",
    seed: int = 0,
    lead_seconds: float = LEAD_SECONDS,
    gap_seconds: float = GAP_SECONDS,
) -> Iterator[Recording]:
    """Record a server under `rate` requests a second while the `with` block runs.

    Args:
        x: one example (or batch), as a nested list or array: the `instances` of each request.
        rate: offered load in requests a second, Poisson arrivals from `seed`.
        load: other arrivals, for as long as the block runs; not a ramp, under which the time before
            and after would differ anyway.
        gap_seconds: there are enough connections for all requests that are due in this time, so
            requests that wait do not block others.

    Raises:
        LoadError: the load generator failed.
        ServingError: INVALID_ARGUMENT, the load is a ramp.
    """
    recording = Recording(title or server.transition, server.model)
    about = server.status()
    first_seq = int(about["last_seq"])
    if load is None:
        load = Schedule("poisson", rate=rate, duration_s=_LIMIT_SECONDS, seed=seed)
    elif load.kind == "ramp":
        raise invalid_argument("A ramp cannot be recorded: use a constant, poisson or bursty load")
    # A longer run begins with the arrivals of a shorter one; the block ends it.
    job = predict_job(server, x, replace(load, duration_s=_LIMIT_SECONDS), gap_seconds)
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
        raise result if result is not None else RuntimeError("The load did not end in time")
    recording.load = result
    start = result.start_monotonic
    # Versions that served before the recording start in their last state.
    import pandas as pd

    states = before[(before["kind"] == "state") & (before["model"] == server.model)]
    standing = states.drop_duplicates("version", keep="last")
    standing = standing[[d["state"] != "END" for d in standing["data"]]]
    events = pd.concat([standing, server.events(first_seq)], ignore_index=True)
    events = events.drop_duplicates("seq").assign(at=lambda e: e["monotonic"] - start)
    recording.events = events
    memory = server.memory_history().assign(at=lambda m: m["monotonic"] - start)
    inside = (memory["at"] > -1.1) & (memory["at"] < recording.end + 0.1)
    recording.memory = memory[inside & (memory["model"] == server.model)].copy()


def predict_job(
    server: ServerClient, x: Any, schedule: Schedule | Closed, gap_seconds: float = GAP_SECONDS
) -> LoadJob:
    """Predict requests for `x` over REST, with the server's token; `gap_seconds` as in `record`."""
    instances = x.tolist() if hasattr(x, "tolist") else x
    body = json.dumps({"instances": instances}).encode()
    rate = 0.0 if isinstance(schedule, Closed) else schedule.rate
    connections = int(min(max(64, gap_seconds * rate), _MOST_CONNECTIONS))
    return rest_job(server, [body], "application/json", schedule, connections)
