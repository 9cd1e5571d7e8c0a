"""Workers that live and do nothing are noticed, ended and replaced."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Server, floats
from tests.serving.test_manager import long_run, running
from workbench.core.events import EventLog
from workbench.core.status import Code, ServingError
from workbench.serving import heartbeat
from workbench.serving.heartbeat import Heartbeat


def test_a_stopped_worker_is_replaced_and_its_requests_are_answered(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "SILENT_SECONDS", 1.5)

    async def test() -> None:
        _, served = await server.serve(tmp_path / "m", "half_plus_two")
        first = server.core.events.last_seq
        stopped = served.worker
        assert stopped is not None
        os.kill(stopped.pid, signal.SIGSTOP)
        answer = await server.predict("m", {"x": floats(1)})
        assert answer["y"].tolist() == [2.5]
        assert served.worker is not stopped
        events = [event for event in server.events(first) if event.model == "m"]
        assert events[0].kind == "worker_hung"
        assert events[0].data == {"pid": stopped.pid, "reason": "no sign of life for 2 s"}
        assert [e.kind for e in events if e.kind.startswith("worker")] == [
            "worker_hung",
            "worker_exited",
            "worker_started",
            "worker_replaced",
        ]

    server.run(test())


def test_a_worker_in_the_midst_of_a_long_run_is_alive(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "SILENT_SECONDS", 1.0)

    async def test() -> None:
        _, served = await server.serve(tmp_path / "m", "slow")
        busy = served.worker
        _, answer = server.submit("m", long_run(3.0))
        await running(server)
        assert (await answer)["y"].tolist() == [1.0]
        assert served.worker is busy

    server.run(test())


def test_a_run_for_which_nobody_waits_any_more_is_ended(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        _, served = await server.serve(tmp_path / "m", "slow", hang_seconds=1.0)
        first = server.core.events.last_seq
        stuck = served.worker
        assert stuck is not None
        _, late = server.submit("m", long_run(1000.0), seconds=0.3)
        await running(server)
        with pytest.raises(ServingError) as raised:
            await late
        assert raised.value.code is Code.DEADLINE_EXCEEDED
        await server.until(lambda: served.worker is not stuck, "the worker was ended")
        (hung,) = [event for event in server.events(first) if event.kind == "worker_hung"]
        assert hung.data is not None
        assert hung.data["reason"].endswith("already, and nobody waits for it")
        assert (await server.predict("m", long_run(0.01)))["y"].tolist() == [1.0]

    server.run(test())


class Silent:
    """A worker that never answers."""

    pid = 7

    def __init__(self) -> None:
        self.silent = 100.0
        self.told: list[str] = []

    def ping(self) -> None:
        self.told.append("ping")

    def silent_seconds(self) -> float:
        return self.silent

    def excuse(self) -> None:
        self.silent = 0.0

    def kill(self) -> None:
        self.told.append("kill")


class Version:
    id = ("m", 1)

    def __init__(self, worker: Silent | None) -> None:
        self.worker = worker


def test_who_was_late_himself_forgives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "PING_SECONDS", 0.05)
    worker = Silent()
    versions: list[Any] = [Version(None), Version(worker)]
    events = EventLog(lambda: (0.0, 0.0))

    async def test() -> None:
        beats = Heartbeat(lambda: versions, events)
        beats._due -= 10.0  # as if the machine had been asleep
        while not worker.told:
            await asyncio.sleep(0.01)
        assert worker.told[0] == "ping"
        worker.silent = 100.0
        while "kill" not in worker.told:
            await asyncio.sleep(0.01)
        beats.close()

    asyncio.run(asyncio.wait_for(test(), 10))
    (event,) = events.since(0)
    assert (event.kind, event.data) == (
        "worker_hung",
        {"pid": 7, "reason": "no sign of life for 100 s"},
    )
