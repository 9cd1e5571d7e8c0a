"""Workers that live and do nothing are noticed, ended and replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.server.engine.versions.test_manager import failure, long_run, on_event, running
from tests.servers import Server, floats, freeze
from workbench.core.events import Event, EventLog
from workbench.core.status import Code, ServingError
from workbench.formats.wire.tfrecord import write_records
from workbench.server.engine.telemetry.warmup_recorder import prediction_log
from workbench.server.engine.versions.life import loading
from workbench.server.engine.workers import heartbeat
from workbench.server.engine.workers.heartbeat import Heartbeat


def test_a_stopped_worker_is_replaced_and_its_requests_are_answered(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "SILENT_SECONDS", 1.5)

    async def test() -> None:
        _, served = await server.serve(tmp_path / "m", "half_plus_two")
        first = server.core.events.last_seq
        stopped = served.worker
        assert stopped is not None
        freeze(stopped.pid)
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
        _, served = await server.serve(tmp_path / "m", "slow", hang_seconds=3.0)
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
        assert hung.data["reason"].endswith(", and no request waits for it")
        assert (await server.predict("m", long_run(0.01)))["y"].tolist() == [1.0]

    server.run(test())


@contextmanager
def stopped_at(server: Server, kind: str, version: int) -> Iterator[list[int]]:
    """Stop the worker of a version in the moment of an event of its load; gives its pid."""
    pids: list[int] = []

    def stop(event: Event) -> None:
        served = server.core.manager.models["m"].versions[version]
        if event.version == version and served.worker is not None:
            pids.append(served.worker.pid)
            freeze(served.worker.pid)

    with on_event(server, kind, stop):
        yield pids


@pytest.mark.parametrize(
    ("kind", "transition", "message"),
    [
        ("worker_started", "smooth", "The model did not load within 1 s"),
        ("reading_meta_graph", "smooth", "The model did not load within 1 s"),
        ("worker_started", "staged", "The model was not staged within 1 s"),
        ("loaded_saved_model", "smooth", "The model did not load within 1 s"),
    ],
    ids=["load", "graph", "staging", "warm-up"],
)
@pytest.mark.slow
def test_a_worker_that_is_stopped_while_it_loads_is_ended(
    server: Server, tmp_path: Path, kind: str, transition: str, message: str
) -> None:
    """The version before it goes on, and the next attempt is not in its way."""
    base = tmp_path / "m"

    async def test() -> None:
        model, one = await server.serve(base, "half_plus_two", transition=transition)
        server.put(tmp_path, 2, "slow")
        # Some seconds of warm-up, so that it is in the midst of it.
        write_records(
            str(tmp_path / "2" / "assets.extra" / "tf_serving_warmup_requests"),
            [prediction_log("m", "serving_default", long_run(30.0), [])],
        )
        before, loading.LOAD_SECONDS = loading.LOAD_SECONDS, 1.0
        try:
            with stopped_at(server, kind, 2) as pids:
                (tmp_path / "2").rename(base / "2")
                server.poll("m")
                error = await failure(server, 2)
        finally:
            loading.LOAD_SECONDS = before
        assert error == ServingError(Code.DEADLINE_EXCEEDED, message)
        assert len(pids) == 1
        assert pids[0] not in psutil.pids()
        assert (await server.predict("m", {"x": floats(1)}))["y"].tolist() == [2.5]
        assert model.ready is one
        server.put(base, 3, "half_plus_three")
        server.poll("m")
        await server.available("m", 3)

    server.run(test())


@pytest.mark.parametrize(
    ("transition", "kind"),
    [("smooth", "worker_started"), ("staged", "worker_started"), ("staged", "staged")],
)
def test_a_worker_that_hangs_before_it_begins_is_made_up_for(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transition: str, kind: str
) -> None:
    """A staged one begins again when the old version has gone: nothing serves in that time."""
    monkeypatch.setattr(heartbeat, "SILENT_SECONDS", 0.5)
    base = tmp_path / "m"

    async def test() -> None:
        model, _ = await server.serve(base, "half_plus_two", transition=transition)
        model.config = replace(model.config, load_retry_seconds=0.0)
        first = server.core.events.last_seq
        stopped: list[int] = []

        def stop(event: Event) -> None:
            worker = model.versions[2].worker if event.version == 2 else None
            if worker is not None and not stopped:
                stopped.append(worker.pid)
                freeze(worker.pid)

        with on_event(server, kind, stop):
            server.put(base, 2, "half_plus_three")
            server.poll("m")
            await server.available("m", 2)
        assert (await server.predict("m", {"x": floats(1)}))["y"].tolist() == [3.5]
        told = [e for e in server.events(first) if e.version == 2]
        (hung,) = [e for e in told if e.kind == "worker_hung"]
        assert hung.data is not None
        assert [hung.data["pid"]] == stopped
        assert [e.kind for e in told].count("worker_started") == 2
        assert stopped[0] not in psutil.pids()

    server.run(test())


@pytest.mark.parametrize("asked", [True, False], ids=["with a request", "idle"])
def test_a_worker_that_is_stopped_while_it_drains(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    """What it was asked is answered by another in its place; without, it is ended."""
    monkeypatch.setattr(heartbeat, "SILENT_SECONDS", 0.5)
    base = tmp_path / "m"

    async def test() -> None:
        model, one = await server.serve(base, "slow")
        first = server.core.events.last_seq
        stopped = one.worker
        assert stopped is not None
        answers: list[asyncio.Future[Any]] = []

        def ask(event: Event) -> None:
            """The last request that it is given, as the next version takes over."""
            if event.version == 2 and asked:
                answers.append(server.submit("m", long_run(1.0), version=1)[1])

        def stop(_: Event) -> None:
            freeze(stopped.pid)

        with on_event(server, "available", ask), on_event(server, "quiescing", stop):
            server.put(base, 2, "half_plus_three")
            server.poll("m")
            await server.until(lambda: list(model.versions) == [2], "version 1 is gone")
        assert [(await answer)["y"].tolist() for answer in answers] == [[1.0]] * asked
        assert stopped.ended.done()
        told = [e.kind for e in server.events(first) if e.version == 1]
        assert [kind for kind in told if kind.startswith("worker_")] == (
            ["worker_hung", "worker_exited", "worker_started", "worker_replaced"] if asked else []
        )
        assert (await server.predict("m", {"x": floats(1)}))["y"].tolist() == [3.5]

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
