"""What a server does when the machine has nothing left for it, and when its processes misbehave."""

from __future__ import annotations

import http.client
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

import workbench as wb
from tests.server.supervision.test_whole_lifetime import House, a_house, until
from tests.servers import freeze
from workbench.core.status import ServingError

WAIT_SECONDS = 90.0


@pytest.fixture
def standing(tmp_path: Path, models: Path) -> Iterator[House]:
    """A server for each test: its workers must not die too often."""
    with a_house(tmp_path, models) as house:
        house.serve()
        yield house
        house.server.stop()
        house.check_nothing_is_left()


def events(house: House, kind: str) -> list[dict[str, Any]]:
    told = house.server.control.events()["events"]
    return [event for event in told if event["kind"] == kind]


def ask(house: House) -> Any:
    answer: Any = house.server.predict([1.0])
    return answer.tolist()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_worker_that_crashes_is_replaced_and_the_reason_is_told(
    standing: House, number: signal.Signals
) -> None:
    before = standing.pid("worker", "life")
    os.kill(before, number)
    assert ask(standing) == [2.5]
    (told,) = [e for e in events(standing, "worker_exited") if e["data"]["pid"] == before]
    assert told["data"]["reason"] == f"killed by {number.name}"


@pytest.mark.slow
def test_stopped_processes_are_ended_and_replaced(standing: House) -> None:
    """Stopped, they live: nothing but their silence tells."""
    worker, zygote = standing.pid("worker", "life"), standing.pid("zygote")
    freeze(worker)
    assert ask(standing) == [2.5]
    assert standing.pid("worker", "life") != worker
    freeze(zygote)
    os.kill(standing.pid("worker", "life"), signal.SIGKILL)
    # The fork that does not come ends the zygote; the next one does it.
    control = standing.server.control
    until(
        lambda: control.describe_server()["zygote_pid"] != zygote,
        "the zygote is replaced",
        WAIT_SECONDS,
    )
    until(standing.answers, "the model is back", WAIT_SECONDS)
    assert not {worker, zygote} & set(standing.processes())


@pytest.mark.slow
def test_without_descriptors_it_waits_until_there_are_some(standing: House) -> None:
    """Who has a connection is answered on it, others are refused at once; and it does not spin."""
    server = standing.pid("server")
    entry = standing.entry
    old = http.client.HTTPConnection(entry.host, entry.port, timeout=WAIT_SECONDS)
    assert over(old, entry.token) == b'{"predictions":[2.5]}'
    soft, hard = resource.prlimit(server, resource.RLIMIT_NOFILE)
    worker = standing.pid("worker", "life")
    # Now and then one is open or closed for a moment only, as of a connection that ends.
    free = statistics.mode(_lowest_free(server) for _ in range(20))
    resource.prlimit(server, resource.RLIMIT_NOFILE, (free, hard))
    try:
        assert over(old, entry.token) == b'{"predictions":[2.5]}'
        for _ in range(5):
            with socket.create_connection((entry.host, entry.port), WAIT_SECONDS) as refused:
                refused.sendall(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                assert ended(refused)
        assert psutil.Process(server).cpu_percent(1.0) < 50
        os.kill(worker, signal.SIGKILL)
        time.sleep(2.0)
    finally:
        resource.prlimit(server, resource.RLIMIT_NOFILE, (soft, hard))
    until(standing.answers, "it answers again", WAIT_SECONDS)
    assert over(old, entry.token) == b'{"predictions":[2.5]}'
    assert standing.pid("server") == server
    old.close()


def _lowest_free(pid: int) -> int:
    """The number that the next descriptor of a process gets: a limit is one of numbers."""
    time.sleep(0.05)
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    return min(set(range(len(used) + 1)) - used)


def over(connection: http.client.HTTPConnection, token: str | None) -> bytes:
    """What a request over this very connection is answered with."""
    headers = {"Authorization": f"Bearer {token}"}
    connection.request("POST", "/v1/models/life:predict", b'{"instances": [1.0]}', headers)
    return b"".join(connection.getresponse().read().split())


def ended(sock: socket.socket) -> bool:
    """Whether the server has closed a connection, without a word."""
    try:
        return sock.recv(1000) == b""
    except ConnectionResetError:
        return True


def test_the_server_takes_as_many_descriptors_as_it_may(standing: House) -> None:
    soft, hard = resource.prlimit(standing.pid("server"), resource.RLIMIT_NOFILE)
    assert soft == min(hard, 65_536) or soft > 65_536


IDLE = """
import resource, socket, sys
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
kept = []
for number in range(count):
    sock = socket.socket()
    # One address has ports for so many only.
    sock.bind((f"127.0.0.{2 + number % 4}", 0))
    sock.connect((host, port))
    kept.append(sock)
print("connected", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.parametrize("interface", ["port", "grpc_port"])
def test_ten_thousand_idle_connections_shut_nobody_out(standing: House, interface: str) -> None:
    entry = standing.entry
    with subprocess.Popen(
        [sys.executable, "-c", IDLE, entry.host, str(getattr(entry, interface)), "10000"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as crowd:
        try:
            assert crowd.stdout is not None
            assert crowd.stdout.readline() == "connected\n"
            for _ in range(20):
                assert ask(standing) == [2.5]
            with grpc.insecure_channel(str(entry.grpc_address)) as channel:
                check = channel.unary_unary("/grpc.health.v1.Health/Check")
                assert check(b"", timeout=WAIT_SECONDS) == b"\x08\x01"
        finally:
            crowd.kill()
    assert ask(standing) == [2.5]


@pytest.mark.slow
def test_a_model_folder_that_is_gone_serves_on_and_comes_back(models: Path, tmp_path: Path) -> None:
    with a_house(tmp_path, models) as house:
        house.serve()
        slow = house.add_slow()
        away = house.base.with_name("away")
        house.base.rename(away)
        before = house.pid("worker", "slow")
        asked = {"x": [7.0], "steps": [1]}
        answer: Any = slow.predict(asked)
        assert answer.tolist() == [7.0]
        os.kill(before, signal.SIGKILL)
        until(lambda: _failed(house), "it cannot be replaced", WAIT_SECONDS)
        away.rename(house.base)
        until(lambda: _answers(slow, asked), "it is back by itself", WAIT_SECONDS)
        house.server.stop()
        house.check_nothing_is_left()


def _failed(house: House) -> bool:
    return any(event["model"] == "slow" for event in events(house, "quarantined"))


def _answers(server: wb.Server, asked: dict[str, Any]) -> bool:
    try:
        answer: Any = server.predict(asked)
    except ServingError:
        return False
    return bool(answer.tolist() == [7.0])


CLOCK = """
import os, time
real = time.time
def jumping():
    try:
        with open(os.environ["WORKBENCH_TEST_CLOCK"]) as file:
            return real() + float(file.read() or 0)
    except OSError:
        return real()
time.time = jumping
time.time_ns = lambda: int(jumping() * 1e9)
"""


@pytest.mark.slow
def test_a_clock_that_jumps_disturbs_nobody(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of all of the server's processes, set days ahead and back while it serves, loads
    and changes (the machine's own would be everybody's)."""
    clock = tmp_path / "clock"
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(CLOCK)
    monkeypatch.setenv("WORKBENCH_TEST_CLOCK", str(clock))
    monkeypatch.setenv("PYTHONPATH", str(site))
    with a_house(tmp_path, models) as house:
        house.serve(base_path=tmp_path / "versions")
        supervisor, server = house.entry.supervisor, house.pid("server")
        for turn, days in enumerate((30, -30, 3650, 0)):
            clock.write_text(str(days * 86400))
            until(lambda days=days: moved(house, days), "its clock has jumped", WAIT_SECONDS)  # type: ignore[misc]
            assert ask(house) == [2.5 + turn % 2]
            began = time.monotonic()
            house.server.publish(models / ("half_plus_three", "half_plus_two")[turn % 2])
            assert ask(house) == [3.5 - turn % 2]
            os.kill(house.pid("worker", "life"), signal.SIGKILL)
            assert ask(house) == [3.5 - turn % 2]
            assert time.monotonic() - began < 30
        assert house.pid("server") == server
        assert house.entry.supervisor == supervisor
        assert events(house, "worker_hung") == []
        house.server.stop()
        house.check_nothing_is_left()


def moved(house: House, days: float) -> bool:
    """Whether what the server dates now is that many days from our own time."""
    house.server.labels = {}
    told = house.server.control.events()["events"]
    return abs(float(told[-1]["wall"]) - time.time() - days * 86400) < 3600
