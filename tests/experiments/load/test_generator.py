"""The load generator against a small HTTP server that can be told to misbehave."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httptools
import numpy as np
import pytest

from workbench.experiments.load import generator
from workbench.experiments.load.generator import Closed, LoadError, LoadJob, LoadResult, run_load
from workbench.load.arrivals import Schedule
from workbench.processes.lifetime import ProcessId, wait_gone


class Service:
    """An HTTP server in a thread of its own; `answer` says what each request gets."""

    def __init__(self, path: str | None = None) -> None:
        self.requests: list[tuple[bytes, bytes, dict[bytes, bytes]]] = []
        self.answer: Callable[[int], bytes | None] = lambda number: response()
        self.address: tuple[str, int] | str = path or ("127.0.0.1", 0)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    def __enter__(self) -> Service:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    async def _main(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self._transports: set[asyncio.Transport] = set()
        if isinstance(self.address, str):
            server = await self._loop.create_unix_server(lambda: Peer(self), self.address)
        else:
            server = await self._loop.create_server(lambda: Peer(self), "127.0.0.1", 0)
            self.address = server.sockets[0].getsockname()[:2]
        self._ready.set()
        await self._over.wait()
        server.close()
        # Connections may still be on their way into the set.
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
        for transport in list(self._transports):
            transport.abort()
        while self._transports:
            await asyncio.sleep(0)


class Peer(asyncio.Protocol):
    def __init__(self, service: Service) -> None:
        self._service = service

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)
        self._service._transports.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._service._transports.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body, self._headers, self._url = b"", {}, b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name] = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        requests = self._service.requests
        requests.append((self._url, self._body, self._headers))
        answer = self._service.answer(len(requests) - 1)
        if answer is None:
            self._transport.abort()
        else:
            self._transport.write(answer)
            if b"Connection: close" in answer:
                self._transport.close()


def response(status: int = 200, body: bytes = b"{}", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as service:
        yield service


def job(service: Service, schedule: Schedule | Closed, **settings: Any) -> LoadJob:
    settings = {"bodies": [b"a", b"bb", b"ccc"], "timeout_s": 10.0, **settings}
    return LoadJob(service.address, "/v1/models/m:predict", schedule=schedule, **settings)


def test_requests_are_sent_as_scheduled(service: Service) -> None:
    service.answer = lambda number: response(200, b"12345", "X-Workbench-Version: 7")
    schedule = Schedule("poisson", 200, 0.5, seed=3)
    headers = {"Authorization": "Bearer secret"}
    result = run_load(job(service, schedule, headers=headers, connections=1))  # so: in order
    count = len(schedule.arrivals())
    assert np.array_equal(result.intended, schedule.arrivals())
    assert [body for _, body, _ in service.requests] == ([b"a", b"bb", b"ccc"] * count)[:count]
    host = f"{service.address[0]}:{service.address[1]}".encode()
    assert service.requests[1] == (
        b"/v1/models/m:predict",
        b"bb",
        {b"Host": host, b"Authorization": b"Bearer secret", b"Content-Length": b"2"},
    )
    assert result.status.tolist() == [200] * count
    assert result.size.tolist() == [5] * count
    assert result.version.tolist() == [7] * count
    assert np.all(result.intended <= result.sent)
    assert np.all(result.sent <= result.done)
    assert (result.failures, result.stopped, result.sent_until_s) == ({}, False, 0.5)
    assert abs(time.time() - result.started_at) < 60
    assert "secret" not in repr(job(service, schedule, headers=headers))
    assert "secret" not in json.dumps(result.to_json())


def test_every_status_is_accounted_for(service: Service) -> None:
    answers = [
        response(200, b"ok", "X-Workbench-Version: 1"),
        response(503, b"busy"),
        response(404, b"", "X-Workbench-Version: none"),
        response(200, b"bye", "Connection: close"),
        None,
    ]
    service.answer = lambda number: answers[number % 5]
    schedule = Schedule("constant", 200, 0.5)
    # One connection and one request at a time, so that answers go in turn.
    result = run_load(job(service, schedule, connections=1))
    summary = result.summary()
    assert summary["by_status"] == {0: 20, 200: 40, 404: 20, 503: 20}
    assert sum(result.failures.values()) == 20
    assert set(result.failures) <= {"ConnectionClosed", "ConnectionResetError"}
    assert result.size.sum() == 20 * (2 + 4 + 0 + 3)
    assert sorted(set(result.version.tolist())) == [0, 1]
    assert summary["requests"] == 100
    assert summary["offered_per_s"] == 200
    assert not np.isnan(result.done).any()


def test_an_answer_that_is_no_http_is_a_failure(service: Service) -> None:
    service.answer = lambda number: b"hello\r\n\r\n"
    result = run_load(job(service, Schedule("constant", 50, 0.1)))
    assert result.status.tolist() == [0] * 5
    assert result.failures == {"HttpParserError": 5}


def test_a_service_that_refuses_is_counted() -> None:
    with Service() as gone:
        pass
    for schedule in (Schedule("constant", 50, 0.2), Closed(2, 0.2)):
        result = run_load(job(gone, schedule))
        assert result.failures == {"ConnectionRefusedError": len(result.intended)}
        assert len(result.intended) >= 4
        assert set(result.status.tolist()) == {0}
        assert np.isnan(result.sent).all()
        assert not np.isnan(result.done).any()
        assert result.summary()["latency_s"] == {}


def test_a_stall_shows_in_every_request_intended_during_it(service: Service) -> None:
    """No coordinated omission: 300 ms during which the server does nothing at all."""

    stall = []

    def stall_once(number: int) -> bytes:
        if number == 50:
            stall.append(time.monotonic())
            time.sleep(0.3)
            stall.append(time.monotonic())
        return response()

    service.answer = stall_once
    result = run_load(job(service, Schedule("constant", 500, 1.0), connections=2))
    start, end = (moment - result.start_monotonic for moment in stall)
    during = (result.intended > start) & (result.intended < end)
    assert during.sum() >= 145
    # Each waited at least until the stall was over, although only two could be in flight.
    assert np.all(result.done[during] >= end - 0.001)
    assert result.waited >= 140
    assert set(result.status.tolist()) == {200}


def test_a_closed_loop_keeps_so_many_requests_in_flight(service: Service) -> None:
    result = run_load(job(service, Closed(4, 0.3)))
    assert result.connections == 4
    assert not result.open_loop
    assert len(service.requests) == len(result.intended) > 20
    in_flight = [
        int(np.sum((result.sent <= moment) & (result.done > moment))) for moment in result.sent
    ]
    assert max(in_flight) == 4
    assert result.lag_p99_s == 0
    assert result.waited == 0


def test_a_request_without_an_answer_fails_at_its_time_limit(service: Service) -> None:
    service.answer = lambda number: b"" if number == 3 else response()
    result = run_load(job(service, Schedule("constant", 100, 0.2), timeout_s=0.4))
    assert result.failures == {"Timeout": 1}
    lost = int(np.flatnonzero(result.status == 0)[0])
    assert result.latency[lost] >= 0.4


def test_waiting_for_a_connection_counts_against_the_time_limit(service: Service) -> None:
    service.answer = lambda number: b""
    result = run_load(job(service, Schedule("constant", 50, 0.2), timeout_s=0.3, connections=1))
    assert result.failures == {"Timeout": 10}
    assert result.waited == 9
    assert np.all(result.latency >= 0.3)


# The generator's own time limit is seconds.
@pytest.mark.slow
def test_a_connection_that_the_service_may_be_closing_is_not_used(service: Service) -> None:
    """The one that was used last is used next; those that nobody needs are closed in good time, and
    made again when they are needed."""
    open_then: list[int] = []

    def answer(number: int) -> bytes | None:
        open_then.append(len(service._transports))
        return response()

    service.answer = answer
    result = run_load(job(service, Schedule("constant", 20, 7.0), connections=20))
    assert (result.failures, result.waited) == ({}, 0)
    assert open_then[0] == 20
    assert 1 <= open_then[-1] <= 5
    assert result.status.tolist() == [200] * 140


def test_a_unix_socket_is_served_as_well(tmp_path: Path) -> None:
    with Service(str(tmp_path / "s")) as service:
        result = run_load(job(service, Schedule("constant", 50, 0.1), method="GET", bodies=[b""]))
        assert result.status.tolist() == [200] * 5
        assert service.requests[0] == (b"/v1/models/m:predict", b"", {b"Host": b"localhost"})


def test_progress_is_reported_and_a_run_can_be_stopped(service: Service) -> None:
    stop = threading.Event()
    lines = []

    def progress(line: generator.Progress) -> None:
        lines.append(line)
        if line["answered"] >= 20:
            stop.set()

    result = run_load(job(service, Schedule("constant", 100, 60)), progress, stop)
    assert result.stopped
    assert result.sent_until_s < 30
    assert 20 <= len(result.intended) < 3000
    assert set(result.status.tolist()) == {200}
    assert all(line["begun"] == line["open"] + line["answered"] + line["failed"] for line in lines)
    assert sum(line.get("recent", 0) for line in lines) == lines[-1]["answered"]
    assert all(line["p50_s"] <= line["p99_s"] for line in lines if "recent" in line)


def test_a_stopped_run_does_not_wait_for_answers_that_do_not_come(service: Service) -> None:
    service.answer = lambda number: b""
    stop = threading.Event()
    result = run_load(
        job(service, Schedule("constant", 100, 60), timeout_s=60, connections=1),
        lambda line: stop.set() if line["begun"] >= 3 else None,
        stop,
    )
    assert result.failures == {"Stopped": len(result.intended)}
    stopped_before = run_load(job(service, Schedule("constant", 100, 60)), stop=stop)
    assert stopped_before.stopped


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The generator's processes that are started from now on."""
    processes: list[Any] = []
    popen = subprocess.Popen

    def remember(*args: Any, **settings: Any) -> Any:
        process = popen(*args, **settings)
        processes.append(process)
        return process

    monkeypatch.setattr(generator.subprocess, "Popen", remember)
    return processes


def test_a_generator_that_is_held_up_says_so(service: Service, started: list[Any]) -> None:
    """It is stopped for 0.4 s of the second: what is late is late because of it."""

    def hold_up(line: generator.Progress) -> None:
        if line["begun"] >= 20 and timers == []:
            os.kill(started[0].pid, signal.SIGSTOP)
            timers.append(threading.Timer(0.4, os.kill, (started[0].pid, signal.SIGCONT)))
            timers[0].start()

    timers: list[threading.Timer] = []
    result = run_load(job(service, Schedule("constant", 200, 1.0)), hold_up)
    timers[0].join()

    assert result.limited
    assert result.verdict() == "limited by the load generator"
    assert result.lag_p99_s > 0.3
    # The server is not to blame, and no request was lost over it.
    assert set(result.status.tolist()) == {200}


def test_more_than_a_generator_can_send_says_so(service: Service) -> None:
    """A million requests a second: it is busy all the time, and ever later."""
    result = run_load(job(service, Schedule("constant", 1_000_000, 0.1), timeout_s=2.0))

    assert result.verdict() == "limited by the load generator"


def test_an_interrupt_ends_the_process(service: Service, started: list[Any]) -> None:
    def interrupt(line: generator.Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_load(job(service, Schedule("constant", 100, 60)), interrupt)
    assert [process.returncode for process in started] == [-signal.SIGKILL]
    assert started[0].args[1:] == ["-m", "workbench.experiments.load.generator_process"]


PARENT = """
import json, sys
from workbench.experiments.load import generator
from workbench.load.arrivals import Schedule

popen = generator.subprocess.Popen
def tell(*args, **settings):
    process = popen(*args, **settings)
    print(process.pid, flush=True)
    return process
generator.subprocess.Popen = tell
generator.run_load(
    generator.LoadJob(("127.0.0.1", int(sys.argv[1])), "/", [b""], Schedule("constant", 50, 60)),
    lambda line: print("sending", flush=True),
)
"""


def test_the_process_ends_with_its_parent(service: Service) -> None:
    root = str(Path(generator.__file__).parents[3])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(service.address[1])],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    )
    with parent:
        assert parent.stdout is not None
        child = ProcessId.of(int(parent.stdout.readline()))
        assert child is not None
        assert parent.stdout.readline() == b"sending\n"
        assert child.alive()
        parent.kill()
    assert wait_gone(child, 10)


def test_a_process_that_fails_says_why(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LoadJob, "_to_child", lambda self: b"\n")
    with pytest.raises(LoadError) as raised:
        run_load(job(service, Closed(1, 1)))
    assert str(raised.value).startswith("The load generator failed (exit code 1): Traceback")
    assert str(raised.value).endswith("EOFError: Ran out of input")


def made_up(**changes: Any) -> LoadResult:
    """A thousand requests a second for two seconds, each answered after 10 to 20 ms."""
    n = 2000
    intended = np.arange(n) / 1000
    values: dict[str, Any] = {
        "target": "/x",
        "schedule": Schedule("constant", 1000, 2).to_json(),
        "connections": 8,
        "started_at": 1.7e9,
        "sent_until_s": 2.0,
        "stopped": False,
        "failures": {},
        "waited": 4,
        "busy_share": 0.25,
        "lag_p99_s": 0.0001,
        "limited": False,
        "intended": intended,
        "sent": intended + 0.001,
        "done": intended + 0.0105 + 0.01 * (np.arange(n) % 10) / 10,
        "status": np.full(n, 200, np.int32),
        "size": np.full(n, 30, np.int64),
        "version": np.full(n, 2, np.int64),
    }
    return LoadResult(**{**values, **changes})


def test_summary() -> None:
    summary = made_up().summary()
    assert summary.pop("latency_s") == pytest.approx(
        {50.0: 0.0145, 90.0: 0.0185, 95.0: 0.0195, 99.0: 0.0195, 99.9: 0.0195}
    )
    assert list(summary.pop("send_delay_s").values()) == pytest.approx([0.001] * 5)
    assert summary == {
        "loop": "open",
        "requests": 2000,
        "seconds": 2.0,
        "offered_per_s": 1000.0,
        "achieved_per_s": 992.5,
        "by_status": {200: 2000},
        "failures": {},
        "waited_for_connection": 4,
        "generator_busy_share": 0.25,
        "generator_lag_p99_s": 0.0001,
        "verdict": "stable",
    }


def test_goodput_counts_what_was_lost_as_late() -> None:
    base = made_up()
    half = np.where(np.arange(2000) % 2 == 0, 503, 200).astype(np.int32)
    slowest = float(base.latency.max()) * 1e3
    assert (base.goodput(slowest + 1e-6), base.goodput(0)) == (1.0, 0.0)
    assert made_up(status=half).goodput(slowest + 1e-6) == 0.5
    assert 0 < base.goodput(float(np.median(base.latency)) * 1e3) < 1


def test_verdicts() -> None:
    base = made_up()
    late = base.intended + np.linspace(0.01, 3, 2000)
    failed = np.where(np.arange(2000) % 10 == 0, 503, 200).astype(np.int32)
    closed = Closed(4, 2).to_json()
    few = {name: getattr(base, name)[:100] for name, _ in generator.ARRAYS}
    verdicts = [
        made_up(limited=True, status=failed).verdict(),
        made_up(status=failed, done=late).verdict(),
        made_up(done=late).verdict(),
        made_up(done=late, schedule=closed).verdict(),
        made_up(**few).verdict(),
        made_up(**{name: array[:0] for name, array in few.items()}).verdict(),
    ]
    assert verdicts == [
        "limited by the load generator",
        "failing",
        "saturated",
        "stable",
        "not sure yet",
        "not sure yet",
    ]


def test_a_result_survives_as_json() -> None:
    result = made_up(failures={"Timeout": 3}, sent=np.full(2000, np.nan))
    again = LoadResult.from_json(json.loads(json.dumps(result.to_json())))
    assert again.summary() == result.summary()
    for name, _ in generator.ARRAYS:
        before, after = getattr(result, name), getattr(again, name)
        assert before.dtype == after.dtype
        assert np.array_equal(before, after, equal_nan=name == "sent")
    assert len(json.dumps(result.to_json())) < 40_000


def test_the_frame_has_a_row_for_each_request() -> None:
    frame = made_up().frame
    assert list(frame.columns) == [
        "intended",
        "sent",
        "done",
        "status",
        "size",
        "version",
        "latency",
        "send_delay",
    ]
    assert len(frame) == 2000
    assert frame.latency[1] == pytest.approx(0.0115)
    assert frame.send_delay[1] == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bodies": []}, "bodies must not be empty"),
        ({"connections": 0}, "connections and timeout_s must be positive"),
        ({"timeout_s": 0}, "connections and timeout_s must be positive"),
        (
            {"headers": {"A": "b\r\nC: d"}},
            "the request line and headers must not contain line breaks",
        ),
    ],
)
def test_jobs_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    values = {"bodies": [b""], "schedule": Closed(1, 1), **settings}
    with pytest.raises(ValueError) as raised:
        LoadJob(("127.0.0.1", 1), "/", **values)
    assert str(raised.value) == message


def test_a_closed_loop_needs_clients_and_time() -> None:
    with pytest.raises(ValueError) as raised:
        Closed(0, 3)
    assert str(raised.value) == "clients and duration_s must be positive; were 0 and 3"
