"""One run of the load generator: sends requests at scheduled times and records each outcome.

Every request has an *intended* time. In an open loop it is drawn beforehand. If all connections are
busy, the request waits for one, and that wait is part of its latency, as it would be for a user
(leaving it out is Gil Tene's "coordinated omission"). In a closed loop a client sends its next
request when the last one was answered, so a slow server lowers the load.
"""

from __future__ import annotations

import asyncio
import math
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.experiments.load.generator import ARRAYS, Closed, LoadJob
from workbench.experiments.load.http_sender import HttpConnection, request_bytes
from workbench.experiments.load.load_connection import Connection
from workbench.ipc.precise_timer import Alarm

if TYPE_CHECKING:
    from workbench.experiments.load.grpc_sender import GrpcChannels

PROGRESS_SECONDS = 0.1
SWEEP_SECONDS = 0.02
"""The interval at which time limits are checked."""

RETRY_SECONDS = 0.05
"""How long a closed-loop client waits after a request that failed without an answer."""

IDLE_SECONDS = 5.0
"""Connections idle for longer are not used again: servers close idle connections (ours after 10 s
if nothing ever came over them), and a request sent at that moment is lost."""

GRACE_SECONDS = 0.5
"""How long a stopped run waits for missing answers."""

BUSY_LIMIT = 0.9
"""A generator that is busy for more than this share of the time is the bottleneck."""

LAG_LIMIT_SECONDS, LAG_LIMIT_SHARE = 0.002, 0.1
"""It is also the bottleneck if its 99th percentile of lateness exceeds both this and this share of
the 99th percentile of the latencies."""


class Run:
    """A run: its connections, the requests that wait for one, and the outcome of each.

    Args:
        report: called with the progress ten times a second.
    """

    def __init__(self, job: LoadJob, report: Callable[[Mapping[str, Any]], None]) -> None:
        self._job = job
        self._tell = report
        self._loop = asyncio.get_running_loop()
        self._channels: GrpcChannels | None = None
        self._requests = job.bodies
        if job.protocol == "grpc":
            from workbench.experiments.load.grpc_sender import GrpcChannels

            self._channels = GrpcChannels(job.address, job.target, job.headers)
        else:
            host = "localhost" if isinstance(job.address, str) else "{}:{}".format(*job.address)
            headers = {"Host": host, **job.headers}
            self._requests = [request_bytes(job.method, job.target, headers, b) for b in job.bodies]
        self._order = job.order()
        self._connections: list[Connection] = []
        # Since when each has been idle, the longest first. The last is used first.
        self._idle: dict[Connection, float] = {}
        self._down: deque[Connection] = deque()
        self._waiting: deque[int] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self._columns: dict[str, array[Any]] = {name: array(code) for name, code in ARRAYS}
        self._intended, self._sent, self._done, self._status, self._size, self._version = (
            self._columns.values()
        )
        self._lag = array("d")
        self._failures: Counter[str] = Counter()
        self._first_error = ""
        self._open = 0  # requests that are not answered yet
        self._waited = 0
        self._recent: list[float] = []
        self._sending = True
        self._stopped = False
        self._ended = self._loop.create_future()
        self._start, self._busy_before = time.monotonic(), _busy_seconds()
        self._arrivals: list[float] = []
        self._clients = 0
        if isinstance(job.schedule, Closed):
            self._clients = job.schedule.clients
        else:
            self._arrivals = job.schedule.arrivals().tolist()
        self._next = 0

    # The course of a run.

    async def execute(self) -> tuple[dict[str, Any], list[memoryview]]:
        """Run to the end; returns the description of the result, and its arrays as bytes."""
        for _ in range(self._job.in_flight):
            self._connections.append(
                HttpConnection(self, self._job.address)
                if self._channels is None
                else self._channels.connection(self)
            )
        # Connect beforehand, so that the first requests measure the service and not TCP.
        await asyncio.gather(*map(self._connect, self._connections))
        self._started_at = time.time()
        self._start, self._busy_before = time.monotonic(), _busy_seconds()
        self._alarm = Alarm(self._loop, self._send_due)
        self._send_due()
        for _ in range(self._clients):
            self.client_is_free()
        sweeper = asyncio.ensure_future(self._sweep())
        try:
            await self._ended
        finally:
            sweeper.cancel()
            self._alarm.close()
        for task in self._connecting:
            task.cancel()
        for connection in self._connections:
            connection.abandon("")
        if self._channels is not None:
            await self._channels.close()
        return self._describe()

    def stop(self) -> None:
        """Send no more requests, and end within `GRACE_SECONDS`."""
        if self._sending:
            self._stopped = True
            self._end_sending(self._now())
            self._loop.call_later(GRACE_SECONDS, self._fail_all, "Stopped")

    def _now(self) -> float:
        return time.monotonic() - self._start

    def _end_sending(self, at: float) -> None:
        self._sending = False
        self._sent_until = at
        # Waiting for the last answers says nothing about the generator's limit.
        self._busy_share = (_busy_seconds() - self._busy_before) / max(self._now(), 1e-9)
        self._end_if_done()

    def _end_if_done(self) -> None:
        if not self._sending and not self._open and not self._ended.done():
            self._ended.set_result(None)

    async def _sweep(self) -> None:
        """Enforce the time limits, and report the progress."""
        report_at, duration = 0.0, self._job.schedule.duration_s
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = self._now()
            if self._sending and now >= duration:
                self._end_sending(duration)
            latest = now - self._job.timeout_s
            for connection in self._connections:
                request = connection.request
                if request is not None and self._intended[request] < latest:
                    connection.abandon("Timeout")
            while self._waiting and self._intended[self._waiting[0]] < latest:
                self.failed(self._waiting.popleft(), "Timeout")
            if now >= report_at:
                report_at = now + PROGRESS_SECONDS
                self._report(now)
                self._close_idle(now - IDLE_SECONDS)

    def _fail_all(self, reason: str) -> None:
        while self._waiting:
            self.failed(self._waiting.popleft(), reason)
        for connection in self._connections:
            if connection.request is not None:
                connection.abandon(reason)

    def _report(self, now: float) -> None:
        line: dict[str, Any] = {
            "seconds": round(now, 3),
            "begun": len(self._intended),
            "open": self._open,
            "failed": self._failures.total(),
            "answered": len(self._intended) - self._open - self._failures.total(),
        }
        if self._recent:
            p50, p99 = np.quantile(self._recent, [0.5, 0.99]).tolist()
            line |= {"recent": len(self._recent), "p50_s": p50, "p99_s": p99}
            self._recent = []
        self._tell(line)

    # Requests.

    def _send_due(self) -> None:
        """Begin every request whose time has come, and set the alarm for the next."""
        now = self._now()
        arrivals, end = self._arrivals, len(self._arrivals)
        while self._sending and self._next < end and arrivals[self._next] <= now:
            intended = arrivals[self._next]
            self._next += 1
            self._lag.append(now - intended)
            self._begin(intended)
            now = self._now()
        if self._sending and self._next < end:
            self._alarm.at(self._start + arrivals[self._next])

    def _begin(self, intended: float) -> None:
        request = len(self._intended)
        self._intended.append(intended)
        self._sent.append(math.nan)
        self._done.append(math.nan)
        self._status.append(0)
        self._size.append(0)
        self._version.append(0)
        self._open += 1
        if self._idle:
            self._send(self._idle.popitem()[0], request)
        elif self._down:
            self._connect_for(self._down.popleft(), request)
        else:
            self._waited += 1
            self._waiting.append(request)

    def bytes_of(self, request: int) -> bytes:
        """The encoded request: bodies are sent in turn, or in the schedule's order."""
        return self._requests[self._order[request % len(self._order)]]

    def _send(self, connection: Connection, request: int) -> None:
        self._sent[request] = self._now()
        connection.send(request)

    def answered(self, request: int, status: int, size: int, version: int) -> None:
        """Record an answer."""
        self._status[request] = status
        self._size[request] = size
        self._version[request] = version
        self._finish(request)
        self._recent.append(self._done[request] - self._intended[request])

    def refused(self, status: int, text: str) -> None:
        """Note the text of the first refusal; 503, a full queue, is a result and no error."""
        if status != 503 and not self._first_error:
            self._first_error = text

    def failed(self, request: int, reason: str) -> None:
        """Record a failure; a closed loop's client continues after a pause."""
        self._failures[reason] += 1
        self._finish(request)
        self._loop.call_later(RETRY_SECONDS, self.client_is_free)

    def client_is_free(self) -> None:
        """In a closed loop, a client that has its answer sends the next request."""
        if self._clients and self._sending:
            self._begin(self._now())

    def _finish(self, request: int) -> None:
        self._done[request] = self._now()
        self._open -= 1
        self._end_if_done()

    # Connections.

    def idle(self, connection: Connection) -> None:
        """Use a free connection for the request that waits longest, or keep it for later."""
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._idle[connection] = self._now()

    def _close_idle(self, before: float) -> None:
        """Close connections that have been idle since then; they reconnect when a request needs
        them. gRPC channels do that themselves."""
        while self._channels is None and self._idle:
            connection, since = next(iter(self._idle.items()))
            if since >= before:
                return
            del self._idle[connection]
            connection.abandon("")

    def lost(self, connection: Connection, request: int | None, reason: str) -> None:
        """Record the request in flight as failed, and reconnect if one is waiting."""
        self._idle.pop(connection, None)
        if request is not None:
            self.failed(request, reason)
        self._is_down(connection)

    def _is_down(self, connection: Connection) -> None:
        if self._waiting and not self._ended.done():
            self._connect_for(connection, self._waiting.popleft())
        else:
            self._down.append(connection)

    def _connect_for(self, connection: Connection, request: int) -> None:
        connection.request = request
        task = self._loop.create_task(self._connect(connection))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, connection: Connection) -> None:
        """Connect, and send the request that waits for this connection, if any."""
        try:
            await asyncio.wait_for(connection.connect(), self._job.timeout_s)
        except (OSError, asyncio.TimeoutError) as error:
            connection.abandon(type(error).__name__)
            self._is_down(connection)
            return
        if connection.request is None:
            self.idle(connection)
        else:
            self._send(connection, connection.request)

    # The result.

    def _describe(self) -> tuple[dict[str, Any], list[memoryview]]:
        lag_p99 = float(np.quantile(self._lag, 0.99)) if self._lag else 0.0
        latencies = np.asarray(self._done) - np.asarray(self._intended)
        latency_p99 = float(np.quantile(latencies, 0.99)) if len(latencies) else 0.0
        late = lag_p99 > max(LAG_LIMIT_SECONDS, LAG_LIMIT_SHARE * latency_p99)
        description = {
            "requests": len(self._intended),
            "started_at": self._started_at,
            "start_monotonic": self._start,
            "sent_until_s": self._sent_until,
            "stopped": self._stopped,
            "failures": dict(self._failures),
            "waited": self._waited,
            "busy_share": self._busy_share,
            "lag_p99_s": lag_p99,
            "first_error": self._first_error,
            "limited": late or self._busy_share > BUSY_LIMIT,
        }
        return description, [memoryview(column).cast("B") for column in self._columns.values()]


def _busy_seconds() -> float:
    """How long this process has been running or waiting for a core that others used."""
    try:
        with open("/proc/self/schedstat", "rb") as file:
            ran, waited, _ = file.read().split()
        return (int(ran) + int(waited)) / 1e9
    except OSError:  # Not on Linux: only its CPU time is known.
        return time.process_time()
