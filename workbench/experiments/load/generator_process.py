"""The load generator's own process: sends requests at the times a schedule says.

    python -m workbench.experiments.load.generator_process

reads one line of JSON from standard input (`Job`), writes lines of JSON about its progress to
standard output, and then one line that describes the result, followed by its arrays as raw
bytes. A line `stop` on standard input ends the run early. It is a process of its own so that
neither the notebook nor the server it measures can hold it up; and it watches itself, because
a generator that cannot keep up measures nothing but itself.

Every request has an *intended* time. In an open loop it is drawn beforehand and does not wait
for anybody: if all connections are busy, the request waits for one, and that wait is part of
its latency, as it would be for a user (Gil Tene's "coordinated omission" is leaving it out).
In a closed loop a client sends its next request when the last one was answered, so there a
slow server lowers the load.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import math
import os
import stat
import time
from array import array
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union, cast

import httptools
import numpy as np
import uvloop

from workbench.experiments.load.generator import ARRAYS
from workbench.ipc.precise_timer import Alarm
from workbench.load.arrivals import Schedule
from workbench.processes.lifetime import ProcessId, die_with

if TYPE_CHECKING:
    from workbench.experiments.load.grpc_sender import GrpcChannels, GrpcConnection

PROGRESS_SECONDS = 0.1
SWEEP_SECONDS = 0.02
"""How often time limits are looked at, and so how exact they are."""

RETRY_SECONDS = 0.05
"""How long a closed-loop client waits after a request that failed without an answer."""

IDLE_SECONDS = 5.0
"""A connection that has not been used for so long is not used again: servers close idle connections
(this one after 10 s, if nothing ever came over them), and a request that is sent in that moment is
lost for no reason that says anything of the service."""

GRACE_SECONDS = 0.5
"""How long a stopped run waits for the answers that are still missing."""

BUSY_LIMIT = 0.9
"""Busy for more than this share of the time, the generator is the bottleneck."""

LAG_LIMIT_SECONDS, LAG_LIMIT_SHARE = 0.002, 0.1
"""It is also the bottleneck if it is late by more than this at the 99th percentile, and by more
than this share of the 99th percentile of the latencies: then it measured itself."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to send where and when; the secrets in it are why it is read from standard input."""

    address: tuple[str, int] | str
    requests: list[bytes]
    schedule: Schedule | None
    clients: int
    duration_s: float
    connections: int
    timeout_s: float
    owner: ProcessId | None
    method: str
    metadata: Mapping[str, str] | None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Job:
        """The job in `data` (`generator.LoadJob`); `metadata` is of gRPC, and None over HTTP."""
        address = data["address"]
        grpc = data["protocol"] == "grpc"
        bodies = [base64.b64decode(body) for body in data["bodies"]]
        schedule = dict(data["schedule"])
        closed = schedule["kind"] == "closed"
        clients = schedule["clients"] if closed else 0
        return cls(
            address=address if isinstance(address, str) else (address[0], address[1]),
            requests=bodies
            if grpc
            else [
                _request(data["method"], data["target"], data["headers"], body) for body in bodies
            ],
            schedule=None if closed else Schedule.from_json(schedule),
            clients=clients,
            duration_s=schedule["duration_s"],
            connections=clients if closed else data["connections"],
            timeout_s=data["timeout_s"],
            owner=ProcessId(*data["owner"]) if data["owner"] else None,
            method=data["target"],
            metadata={k: v for k, v in data["headers"].items() if k != "Host"} if grpc else None,
        )


def _request(method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A whole HTTP/1.1 request, built once and sent many times."""
    lines = [
        f"{method} {target} HTTP/1.1",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    if body or method not in ("GET", "HEAD"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Connection(asyncio.Protocol):
    """One keep-alive connection: at most one request in flight."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self.request: int | None = None
        """The number of the request that is in flight or being connected for."""
        self._gave_up = ""  # why the request in flight was abandoned, if it was

    async def connect(self) -> None:
        """Connect; raises OSError where that is not possible."""
        address, loop = self._run.address, asyncio.get_running_loop()
        if isinstance(address, str):
            await loop.create_unix_connection(lambda: self, address)
        else:
            await loop.create_connection(lambda: self, *address)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)

    def send(self, request: int) -> None:
        assert self._transport is not None
        self.request = request
        self._size = self._version = 0
        self._transport.write(self._run.bytes_of(request))

    def abandon(self, reason: str) -> None:
        """Fail the request in flight; its late answer must not be taken for another's."""
        if self._transport is not None:
            self._gave_up = reason
            self._transport.abort()
        elif self.request is not None:  # it goes on connecting, for a later request
            request, self.request = self.request, None
            self._run.failed(request, reason)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.abandon(type(error).__name__)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-workbench-version" and value.isdigit():
            self._version = int(value)

    def on_body(self, body: bytes) -> None:
        self._size += len(body)

    def on_message_complete(self) -> None:
        if self.request is None or self._gave_up:
            return
        request, self.request = self.request, None
        self._run.answered(request, self._parser.get_status_code(), self._size, self._version)
        if self._parser.should_keep_alive():
            self._run.idle(self)
        else:
            assert self._transport is not None
            self._transport.close()
        self._run.client_is_free()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        reason = self._gave_up or (type(error).__name__ if error else "ConnectionClosed")
        request, self.request, self._gave_up = self.request, None, ""
        self._run.lost(self, request, reason)


AnyConnection = Union[Connection, "GrpcConnection"]


class Run:
    """A run: its connections, the requests that wait for one, and what came of each."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._loop = asyncio.get_running_loop()
        self._channels: GrpcChannels | None = None
        self._connections: list[AnyConnection] = []
        # Since when each has been idle, the longest first. The last is used first.
        self._idle: dict[AnyConnection, float] = {}
        self._down: deque[AnyConnection] = deque()
        self._waiting: deque[int] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self._columns: dict[str, array[Any]] = {name: array(code) for name, code in ARRAYS}
        self._intended, self._sent, self._done, self._status, self._size, self._version = (
            self._columns.values()
        )
        self._lag = array("d")
        self._failures: Counter[str] = Counter()
        self._open = 0  # requests that are not answered yet
        self._waited = 0
        self._reported = 0
        self._recent: list[float] = []
        self._sending = True
        self._stopped = False
        self._ended = self._loop.create_future()
        self._start, self._busy_before = time.monotonic(), _busy_seconds()
        self._arrivals: list[float] = job.schedule.arrivals().tolist() if job.schedule else []
        self._next = 0

    # The course of a run.

    async def execute(self) -> tuple[dict[str, Any], list[memoryview]]:
        """Run to the end; the description of the result, and its arrays as bytes."""
        if self._job.metadata is not None:
            from workbench.experiments.load.grpc_sender import GrpcChannels

            self._channels = GrpcChannels(self.address, self._job.method, self._job.metadata)
        for _ in range(self._job.connections):
            connection: AnyConnection = (
                Connection(self) if self._channels is None else self._channels.connection(self)
            )
            self._connections.append(connection)
            self._down.append(connection)
        # Connections are made beforehand: a first request measures the service, not TCP.
        await asyncio.gather(*(self._connect(self._down.popleft()) for _ in self._connections))
        self._started_at = time.time()
        self._start, self._busy_before = time.monotonic(), _busy_seconds()
        alarm = Alarm(self._loop, self._send_due)
        self._alarm = alarm
        if self._job.schedule is None:
            for _ in range(self._job.clients):
                self.client_is_free()
        else:
            self._send_due()
        sweeper = asyncio.ensure_future(self._sweep())
        try:
            await self._ended
        finally:
            sweeper.cancel()
            alarm.close()
        for task in self._connecting:
            task.cancel()
        for connection in self._connections:
            connection.abandon("")
        if self._channels is not None:
            await self._channels.close()
        return self._describe()

    @property
    def address(self) -> tuple[str, int] | str:
        return self._job.address

    def stop(self) -> None:
        """Send nothing any more, and end soon."""
        if self._sending:
            self._stopped = True
            self._end_sending(self._now())
            self._loop.call_later(GRACE_SECONDS, self._fail_all, "Stopped")

    def _now(self) -> float:
        return time.monotonic() - self._start

    def _end_sending(self, at: float) -> None:
        self._sending = False
        self._sent_until = at
        # What is left to do after this, waiting for answers, says nothing about the limit.
        self._busy_share = (_busy_seconds() - self._busy_before) / max(self._now(), 1e-9)
        self._end_if_done()

    def _end_if_done(self) -> None:
        if not self._sending and not self._open and not self._ended.done():
            self._ended.set_result(None)

    async def _sweep(self) -> None:
        """Keep the time limits, and report."""
        report_at = 0.0
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = self._now()
            if self._sending and now >= self._job.duration_s:
                self._end_sending(self._job.duration_s)
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
        _write_line(line)

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
        requests = self._job.requests
        return requests[request % len(requests)]

    def _send(self, connection: AnyConnection, request: int) -> None:
        self._sent[request] = self._now()
        connection.send(request)

    def answered(self, request: int, status: int, size: int, version: int) -> None:
        self._status[request] = status
        self._size[request] = size
        self._version[request] = version
        self._finish(request)
        self._recent.append(self._done[request] - self._intended[request])

    def failed(self, request: int, reason: str) -> None:
        self._failures[reason] += 1
        self._finish(request)
        self._loop.call_later(RETRY_SECONDS, self.client_is_free)

    def client_is_free(self) -> None:
        """In a closed loop, a client that has its answer sends the next request."""
        if self._job.schedule is None and self._sending:
            self._begin(self._now())

    def _finish(self, request: int) -> None:
        self._done[request] = self._now()
        self._open -= 1
        self._end_if_done()

    # Connections.

    def idle(self, connection: AnyConnection) -> None:
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._idle[connection] = self._now()

    def _close_idle(self, before: float) -> None:
        """Close connections that have been idle since before then; each is made again when there is
        a request for it. Channels of gRPC see to that themselves."""
        while self._channels is None and self._idle:
            connection, since = next(iter(self._idle.items()))
            if since >= before:
                return
            del self._idle[connection]
            connection.abandon("")

    def lost(self, connection: AnyConnection, request: int | None, reason: str) -> None:
        self._idle.pop(connection, None)
        if request is not None:
            self.failed(request, reason)
        self._is_down(connection)

    def _is_down(self, connection: AnyConnection) -> None:
        if self._waiting and not self._ended.done():
            self._connect_for(connection, self._waiting.popleft())
        else:
            self._down.append(connection)

    def _connect_for(self, connection: AnyConnection, request: int) -> None:
        connection.request = request
        task = self._loop.create_task(self._connect(connection))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, connection: AnyConnection) -> None:
        """Connect, and send the request that this is for, if it is for one."""
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
            "limited": late or self._busy_share > BUSY_LIMIT,
        }
        return description, [memoryview(column).cast("B") for column in self._columns.values()]


def _busy_seconds() -> float:
    """How long this process has been running or waiting for a core that others used."""
    try:
        with open("/proc/self/schedstat", "rb") as file:
            ran, waited, _ = file.read().split()
        return (int(ran) + int(waited)) / 1e9
    except OSError:  # not on Linux: what it ran is all that is known
        return time.process_time()


def _write_line(line: Mapping[str, Any]) -> None:
    """Report to the parent; a report that it has no room for is dropped, not waited for."""
    try:
        os.write(1, json.dumps(line).encode() + b"\n")
    except BlockingIOError:
        pass


def _write_result(description: Mapping[str, Any], columns: list[memoryview]) -> None:
    os.set_blocking(1, True)
    with open(1, "wb", closefd=False) as output:
        output.write(json.dumps({"result": description}).encode() + b"\n")
        for column in columns:
            output.write(column)


async def _main(job: Job, stop: bool) -> None:
    run = Run(job)
    loop = asyncio.get_running_loop()

    def heard() -> None:
        said = os.read(0, 1024)
        if said.startswith(b"stop"):
            run.stop()
        if not said:  # the parent has nothing more to say; whether it lives is not known by this
            loop.remove_reader(0)

    if stop:
        run.stop()
    if stat.S_ISFIFO(os.fstat(0).st_mode):  # and not a file, in which nobody can say anything
        loop.add_reader(0, heard)
    os.set_blocking(1, False)
    _write_result(*await run.execute())


def _read_job() -> tuple[Job, bool]:
    """The job, and whether the run is to end already."""
    chunks = []
    while chunk := os.read(0, 1 << 20):
        chunks.append(chunk)
        if b"\n" in chunk:
            break
    line, _, rest = b"".join(chunks).partition(b"\n")
    return Job.from_json(json.loads(line)), rest.startswith(b"stop")


def main() -> None:
    job, stop = _read_job()
    if job.owner is not None:
        die_with(job.owner)
    # A run makes no reference cycles worth a pause in the middle of it.
    gc.freeze()
    gc.disable()
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_main(job, stop))
    finally:
        loop.close()


if __name__ == "__main__":
    main()
