"""A real HAProxy in front of real servers: one is killed, one leaves, the balancer ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import workbench as wb
from tests.deploy.ray.closed_loop import ClosedLoop
from workbench.core.status import ServingError
from workbench.deploy.balancer.balancer_process import BalancerProcess, haproxy_binary
from workbench.deploy.balancer.haproxy_config import (
    BALANCE,
    BalancerSettings,
    haproxy_config,
)
from workbench.deploy.remote.remote_control import RemoteAddress

pytestmark = [pytest.mark.fleet, pytest.mark.alone]
PATH, BODY = "/v1/models/half:predict", '{"instances":[1.0]}'
HOST = "127.0.0.1"


def free_settings(**settings: object) -> BalancerSettings:
    from random import SystemRandom

    port = SystemRandom().randrange(10_000, 30_000)
    return BalancerSettings(HOST, port, port + 1, port + 2, **settings)  # type: ignore[arg-type]


@pytest.fixture
def pair(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[wb.Server]]:
    import shutil

    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    shutil.copytree(models / "half_plus_two", tmp_path / "half" / "1")
    servers = []
    for number in (1, 2):
        server = wb.serve(tmp_path / "half", f"half{number}", token="t")
        server.control.put_model("half", {"base_path": str(tmp_path / "half")})
        server.control.wait("half", 30)
        servers.append(server)
    yield servers
    for server in servers:
        server.stop()


def address(server: wb.Server) -> RemoteAddress:
    entry = server.control.entry()
    return RemoteAddress(server.name, HOST, entry.port, entry.grpc_port)


def wait_for(balancer: BalancerProcess, server: str, status: str) -> None:
    end = time.monotonic() + 20
    while True:
        found = {each.status for each in balancer.statistics().get(server, [])}
        if found == {status}:
            return
        assert time.monotonic() < end, found
        time.sleep(0.05)


def test_requests_outlive_a_server_that_is_killed(pair: list[wb.Server]) -> None:
    one, two = map(address, pair)
    with BalancerProcess(free_settings()) as balancer:
        balancer.update([one, two])
        wait_for(balancer, one.server, "UP")
        wait_for(balancer, two.server, "UP")
        url = f"http://{HOST}:{balancer.settings.rest_port}"
        with ClosedLoop(url, "t", PATH, BODY, 16) as load:
            time.sleep(1)
            entry = pair[0].control.entry()
            entry.supervisor.kill()
            entry.server.kill()
            time.sleep(2)
            seen = load.finish()
        assert seen.failures == []
        assert set(seen.answers) == {'{"predictions":[2.5]}'}
        wait_for(balancer, one.server, "DOWN")
        assert sum(each.retries for each in balancer.statistics()[one.server]) > 0


def test_a_server_that_is_not_listed_any_more_is_drained_then_forgotten(
    pair: list[wb.Server],
) -> None:
    one, two = map(address, pair)
    with BalancerProcess(free_settings()) as balancer:
        balancer.update([one, two])
        balancer.update([one])
        wait_for(balancer, two.server, "UP")
        balancer.update([one])
        wait_for(balancer, two.server, "DRAIN")
        # It is back, and gets requests again.
        balancer.update([one, two])
        wait_for(balancer, two.server, "UP")
        # Nobody is listed: HAProxy's own checks know better.
        for _ in range(50):
            balancer.update([])
        assert {each.server for each in balancer.servers} == {one.server, two.server}
        for _ in range(50):
            balancer.update([one])
        assert [each.server for each in balancer.servers] == [one.server]
        assert list(balancer.statistics()) == [one.server]


def test_more_servers_than_slots() -> None:
    with BalancerProcess(free_settings(slots=1)) as balancer:
        balancer.update([RemoteAddress("a", HOST, 1, 2)])
        with pytest.raises(ServingError, match="1 slots, and all are taken; server b"):
            balancer.update([RemoteAddress("a", HOST, 1, 2), RemoteAddress("b", HOST, 3, 4)])


def test_a_port_that_is_taken(pair: list[wb.Server]) -> None:
    from dataclasses import replace

    taken = replace(free_settings(), rest_port=address(pair[0]).rest_port)
    balancer = BalancerProcess(taken)
    with pytest.raises(ServingError, match="cannot bind socket"):
        balancer.start()
    assert not balancer.alive


@pytest.mark.parametrize("balance", BALANCE)
def test_every_policy_is_one_of_haproxys(balance: str, tmp_path: Path) -> None:
    file = tmp_path / "haproxy.cfg"
    file.write_text(haproxy_config(free_settings(balance=balance), str(tmp_path / "s")))
    checked = subprocess.run([haproxy_binary(), "-c", "-f", str(file)], capture_output=True)
    assert checked.returncode == 0, checked.stderr


def test_a_policy_that_is_not_known() -> None:
    with pytest.raises(ServingError, match="'fastest' is not known: use leastconn"):
        free_settings(balance="fastest")


_OWNER = """
import sys
from tests.deploy.balancer.test_balancer import free_settings
from workbench.deploy.balancer.balancer_process import BalancerProcess
balancer = BalancerProcess(free_settings())
balancer.start()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("victim", ["owner", "guard", "haproxy"])
def test_haproxy_ends_with_any_of_those_above_it(victim: str) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert owner.stdin is not None
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"ready\n"
    (guard,) = psutil.Process(owner.pid).children()
    (haproxy,) = guard.children()
    family = [guard, haproxy]
    os.kill(
        {"owner": owner.pid, "guard": guard.pid, "haproxy": haproxy.pid}[victim], signal.SIGKILL
    )
    ended = family if victim == "owner" else [haproxy]
    _, alive = psutil.wait_procs(ended, timeout=10)
    assert alive == []
    owner.kill()
    owner.wait(10)
    owner.stdin.close()
    owner.stdout.close()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
