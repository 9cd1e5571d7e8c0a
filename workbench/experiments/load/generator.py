"""Runs a load (`LoadJob`) in a process of its own, `generator_process`; returns a `LoadResult`."""

from __future__ import annotations

import base64
import json
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, fields
from threading import Event
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.experiments.showing import figures, html_result, text_result
from workbench.load.arrivals import Schedule
from workbench.load.intervals import quantile_interval
from workbench.load.packed_numbers import pack_numbers, unpack_numbers
from workbench.processes import paths
from workbench.processes.lifetime import ProcessId, describe_exit

if TYPE_CHECKING:
    import pandas as pd

    from workbench.experiments.figure import Picture

Progress = Mapping[str, Any]
"""Reported at most ten times a second: `seconds` since the start, requests `begun`, `open`,
`answered` and `failed` so far, and for the `recent` answers since the last report `p50_s` and
`p99_s`."""

START_SECONDS = 30.0
"""How long the process may take to start and to hand over its result."""

ARRAYS = (
    ("intended", "d"),
    ("sent", "d"),
    ("done", "d"),
    ("status", "i"),
    ("size", "q"),
    ("version", "q"),
)
"""The arrays of a result in their order, each with its type code."""

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)

LIMITED, UNSURE = "limited by the load generator", "not sure yet"


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed loop: each client waits for an answer before it sends again."""

    clients: int
    duration_s: float

    def __post_init__(self) -> None:
        if self.clients < 1 or not self.duration_s > 0:
            raise ValueError(
                "clients and duration_s must be positive; were "
                f"{self.clients} and {self.duration_s}"
            )

    def to_json(self) -> dict[str, Any]:
        """As `Schedule.to_json`, of kind ``closed``."""
        return {"kind": "closed", **asdict(self)}


@dataclass(frozen=True, slots=True)
class LoadJob:
    """A load to send.

    Attributes:
        address: host and port, or the path of a unix socket.
        target: the request's path, such as ``/v1/models/digits:predict``.
        bodies: one for each request, in turn or in the order that a schedule names.
        schedule: the arrivals of an open loop, or a closed loop.
        headers: of every request; they may hold secrets and are in no result, text or argument
            list. ``Host`` and ``Content-Length`` are added.
        connections: the most requests in flight in an open loop; a closed loop has one
            connection for each client.
        timeout_s: seconds from its intended time after which an unanswered request has failed.
        method: ``GET`` or ``POST``.
        protocol: ``http`` or ``grpc``. With gRPC the target is a method's full name, bodies are
            serialised `PredictRequest` messages, headers are metadata, and a status is the one that
            REST has for the same answer.
    """

    address: tuple[str, int] | str
    target: str
    bodies: Sequence[bytes] = field(repr=False)
    schedule: Schedule | Closed
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    connections: int = 64
    timeout_s: float = 30.0
    method: str = "POST"
    protocol: Literal["http", "grpc"] = "http"

    def __post_init__(self) -> None:
        if not self.bodies:
            raise ValueError("bodies must not be empty")
        self.order()
        if self.connections < 1 or not self.timeout_s > 0:
            raise ValueError("connections and timeout_s must be positive")
        head = (self.method, self.target, *self.headers, *self.headers.values())
        if any("\r" in text or "\n" in text for text in head):
            raise ValueError("the request line and headers must not contain line breaks")

    @property
    def in_flight(self) -> int:
        """The most requests in flight."""
        return self.schedule.clients if isinstance(self.schedule, Closed) else self.connections

    def order(self) -> Sequence[int]:
        """Which of the bodies the requests send, in turn.

        Raises:
            ValueError: the schedule names others.
        """
        if isinstance(self.schedule, Closed):
            return range(len(self.bodies))
        return self.schedule.choices(len(self.bodies))

    def _to_child(self) -> bytes:
        """The line for `generator_process`, which runs the same code."""
        return base64.b64encode(pickle.dumps((self, ProcessId.me()))) + b"\n"


@dataclass(frozen=True, eq=False, repr=False)
class LoadResult:
    """The outcome of every request. Times are seconds from the start; arrays have shape (n,), in
    the order of the intended times.

    Attributes:
        target: as in the job.
        schedule: as data (`Schedule.to_json`, or of kind ``closed``).
        connections: the most requests that could be in flight.
        started_at: wall-clock time of the start, seconds since the epoch.
        start_monotonic: the same moment on this machine's monotonic clock, in seconds, as in the
            servers' events; a wall clock may be set during a measurement.
        sent_until_s: when sending ended: after the duration, or when the run was stopped.
        stopped: whether it was stopped early.
        failures: how many requests failed without an answer, by reason.
        waited: requests of an open loop that had to wait for a connection.
        busy_share: the share of the sending time in which the generator ran or waited for a core.
        lag_p99_s: how late the generator itself was, 99th percentile; 0 in a closed loop.
        limited: whether the generator limited the run.
        first_error: the text of the first answer that refused a request for another reason than a
            full queue.
        intended, sent, done: times; `sent` is NaN where no connection was available.
        status: HTTP status; 0 where there was no answer.
        size: bytes of the answer's body.
        version: the model version that answered (header ``X-Workbench-Version``), or 0.
    """

    target: str
    schedule: dict[str, Any]
    connections: int
    started_at: float
    sent_until_s: float
    stopped: bool
    failures: dict[str, int]
    waited: int
    busy_share: float
    lag_p99_s: float
    limited: bool
    intended: NDArray[np.float64] = field(repr=False)
    sent: NDArray[np.float64] = field(repr=False)
    done: NDArray[np.float64] = field(repr=False)
    status: NDArray[np.int32] = field(repr=False)
    size: NDArray[np.int64] = field(repr=False)
    version: NDArray[np.int64] = field(repr=False)
    start_monotonic: float = 0.0
    first_error: str = ""

    @property
    def open_loop(self) -> bool:
        """Whether arrivals came from a schedule, and not from clients that wait for answers."""
        return bool(self.schedule["kind"] != "closed")

    @property
    def succeeded(self) -> NDArray[np.bool_]:
        """Which requests were answered with a status of 2xx."""
        return (self.status >= 200) & (self.status < 300)

    @property
    def latency(self) -> NDArray[np.float64]:
        """Seconds from the intended time to the last byte of the answer."""
        return self.done - self.intended

    @property
    def frame(self) -> pd.DataFrame:
        """One row a request; `latency` and `send_delay` count from the intended time."""
        import pandas as pd

        columns = {name: getattr(self, name) for name, _ in ARRAYS}
        return pd.DataFrame(
            {**columns, "latency": self.latency, "send_delay": self.sent - self.intended}
        )

    def summary(self) -> dict[str, Any]:
        """The run in a few numbers, as plain data.

        Rates are per second of sending. Percentiles, in seconds, are of successful requests.
        """
        seconds = max(self.sent_until_s, 1e-9)
        latencies = self.latency[self.succeeded]
        in_time = self.succeeded & (self.done <= self.sent_until_s)
        delays = (self.sent - self.intended)[~np.isnan(self.sent)]
        return {
            "loop": "open" if self.open_loop else "closed",
            "requests": len(self.intended),
            "seconds": self.sent_until_s,
            "offered_per_s": len(self.intended) / seconds,
            "achieved_per_s": int(in_time.sum()) / seconds,
            "by_status": dict(sorted(Counter(self.status.tolist()).items())),
            "failures": self.failures,
            "latency_s": _percentiles(latencies),
            "send_delay_s": _percentiles(delays),
            "waited_for_connection": self.waited,
            "generator_busy_share": self.busy_share,
            "generator_lag_p99_s": self.lag_p99_s,
            "verdict": self.verdict(),
        }

    def goodput(self, target_ms: float) -> float:
        """The share of all requests that succeeded within `target_ms`; 1 if there were none."""
        within = self.succeeded & (self.latency <= target_ms / 1e3)
        return float(within.mean()) if len(within) else 1.0

    def verdict(self) -> str:
        """The first of these that holds: ``limited by the load generator``; ``failing``: more than
        5 % of the requests did not succeed; ``saturated``: more than 5 % of an open loop's
        requests were answered only after the sending had ended; ``not sure yet``: the 99th
        percentile has no upper bound; ``stable``."""
        if self.limited:
            return LIMITED
        succeeded = self.succeeded
        if succeeded.sum() < 0.95 * len(self.intended):
            return "failing"
        in_time = succeeded & (self.done <= self.sent_until_s)
        if self.open_loop and in_time.sum() < 0.95 * len(self.intended):
            return "saturated"
        latencies = self.latency[succeeded]
        if not len(latencies) or not quantile_interval(latencies, 0.99).bounded:
            return UNSURE
        return "stable"

    @property
    def sentence(self) -> str:
        """The run in words."""
        s = self.summary()
        failed = len(self.intended) - int(self.succeeded.sum())
        latency = ", ".join(
            f"p{level:g} {s['latency_s'][level] * 1e3:.3g} ms"
            for level in (50.0, 99.0)
            if level in s["latency_s"]
        )
        parts = [
            f"{s['requests']:,} requests to {self.target} in {s['seconds']:.3g} s ({s['loop']} "
            f"loop), {s['achieved_per_s']:.4g} answered a second",
            f"{failed:,} failed" if failed else "none failed",
            *([latency] if latency else []),
        ]
        return f"{', '.join(parts)}: {self.verdict()}."

    def _table(self) -> pd.DataFrame:
        """The percentiles of the latency, and of the delay of sending."""
        import pandas as pd

        s = self.summary()
        rows = {
            name: {f"p{level:g}": value * 1e3 for level, value in s[key].items()}
            for name, key in (("latency (ms)", "latency_s"), ("sent late (ms)", "send_delay_s"))
        }
        return pd.DataFrame.from_dict(rows, orient="index").reset_index(names="")

    def plot(self) -> Picture:
        """The latency of each request over time."""
        return figures(self)

    def __repr__(self) -> str:
        return self.sentence

    def __str__(self) -> str:
        return text_result(self.sentence, self._table())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        return html_result(self.sentence, self._table(), self.plot())

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data; arrays are compressed and in base64."""
        data = {each.name: getattr(self, each.name) for each in fields(self)}
        for name, _ in ARRAYS:
            data[name] = pack_numbers(data[name])
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LoadResult:
        """The result that `to_json` wrote."""
        return cls(**{**data, **{name: unpack_numbers(data[name], code) for name, code in ARRAYS}})


def _percentiles(values: NDArray[np.float64]) -> dict[float, float]:
    if not len(values):
        return {}
    found = np.percentile(values, PERCENTILES, method="inverted_cdf")
    return dict(zip(PERCENTILES, found.tolist(), strict=True))


class LoadError(Exception):
    """The load generator's process failed; the message holds its error output."""


def run_load(
    job: LoadJob,
    progress: Callable[[Progress], None] | None = None,
    stop: Event | None = None,
) -> LoadResult:
    """Send the load and wait until it ends. Callable from any thread.

    The generator's process is killed when an exception leaves this function, KeyboardInterrupt
    included, and ends itself when this process dies.

    Args:
        progress: called from this thread with each report.
        stop: ends the run early when it is set; the result covers what was sent until then.

    Raises:
        LoadError: the generator's process failed, or did not end in time. Requests that the
            service refuses are no error (`LoadResult.failures`).
    """
    limit = time.monotonic() + job.schedule.duration_s + 2 * job.timeout_s + START_SECONDS
    with tempfile.TemporaryFile() as errors, _Child(errors) as child:
        child.say(job._to_child())
        for line in child.lines(limit, stop):
            if "result" in line:
                return _result(job, line["result"], child, limit)
            if progress is not None:
                progress(line)
        raise child.failure()


def _result(
    job: LoadJob, description: Mapping[str, Any], child: _Child, limit: float
) -> LoadResult:
    values = dict(description)
    requests = values.pop("requests")
    for name, code in ARRAYS:
        raw = child.read(requests * np.dtype(code).itemsize, limit)
        values[name] = np.frombuffer(raw, dtype=code)
    return LoadResult(
        target=job.target,
        schedule=job.schedule.to_json(),
        connections=job.in_flight,
        **values,
    )


class _Child(AbstractContextManager["_Child"]):
    """The generator's process, which is killed when the `with` block ends."""

    def __init__(self, errors: IO[bytes]) -> None:
        self._errors = errors
        # The child must import the package from the same place.
        path = [str(paths.SOURCE), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "workbench.experiments.load.generator_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,
            # An interrupt from the keyboard is for this process, which then ends the child.
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        )
        self._heard = bytearray()

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def say(self, words: bytes) -> None:
        assert self._process.stdin is not None
        remaining = memoryview(words)
        try:
            while remaining:
                remaining = remaining[self._process.stdin.write(remaining) :]
        except BrokenPipeError:
            pass  # It has died; reading its output reports why.

    def lines(self, limit: float, stop: Event | None) -> Any:
        """Each line of JSON until the child ends; asks it to stop when `stop` is set."""
        asked = False
        while True:
            while (end := self._heard.find(b"\n")) >= 0:
                line = bytes(self._heard[:end])
                del self._heard[: end + 1]
                yield json.loads(line)
            if stop is not None and stop.is_set() and not asked:
                asked = True
                self.say(b"stop\n")
            if not self._hear(limit):
                return

    def read(self, count: int, limit: float) -> bytes:
        """The next `count` raw bytes."""
        while len(self._heard) < count:
            if not self._hear(limit):
                raise self.failure()
        data = bytes(self._heard[:count])
        del self._heard[:count]
        return data

    def _hear(self, limit: float) -> bool:
        """Wait a moment for output; False at its end."""
        if time.monotonic() > limit:
            raise LoadError("The load generator did not end in time")
        stdout = self._process.stdout
        assert stdout is not None
        if select.select([stdout], [], [], 0.05)[0]:
            chunk = os.read(stdout.fileno(), 1 << 20)
            self._heard += chunk
            return bool(chunk)
        return True

    def failure(self) -> LoadError:
        self._process.wait(START_SECONDS)
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()
        code = self._process.returncode
        how = describe_exit(code << 8 if code >= 0 else -code)
        return LoadError(f"The load generator failed ({how}): {said[-2000:]}")
