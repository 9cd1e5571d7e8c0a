"""What a server does when the machine has nothing left for it, and when its processes misbehave."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import workbench as wb
from tests.kernel.test_lifetime import House, a_house, until
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
    told = house.server._control.request("GET", "/events")["events"]
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
    os.kill(worker, signal.SIGSTOP)
    assert ask(standing) == [2.5]
    assert standing.pid("worker", "life") != worker
    os.kill(zygote, signal.SIGSTOP)
    os.kill(standing.pid("worker", "life"), signal.SIGKILL)
    # The fork that does not come ends the zygote; the next one does it.
    control = standing.server._control
    until(
        lambda: control.request("GET", "/server")["zygote_pid"] != zygote,
        "the zygote is replaced",
        WAIT_SECONDS,
    )
    until(standing.answers, "the model is back", WAIT_SECONDS)
    assert not {worker, zygote} & set(standing.processes())


@pytest.mark.slow
def test_without_descriptors_it_waits_until_there_are_some(standing: House) -> None:
    server = standing.pid("server")
    soft, hard = resource.prlimit(server, resource.RLIMIT_NOFILE)
    in_use = len(os.listdir(f"/proc/{server}/fd"))
    worker = standing.pid("worker", "life")
    resource.prlimit(server, resource.RLIMIT_NOFILE, (in_use, hard))
    try:
        os.kill(worker, signal.SIGKILL)
        time.sleep(2.0)
    finally:
        resource.prlimit(server, resource.RLIMIT_NOFILE, (soft, hard))
    until(standing.answers, "it answers again", WAIT_SECONDS)
    assert standing.pid("server") == server


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
def test_ten_thousand_idle_connections_shut_nobody_out(standing: House) -> None:
    entry = standing.entry
    with subprocess.Popen(
        [sys.executable, "-c", IDLE, entry.host, str(entry.port), "10000"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as crowd:
        try:
            assert crowd.stdout is not None
            assert crowd.stdout.readline() == "connected\n"
            for _ in range(20):
                assert ask(standing) == [2.5]
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
