"""An old version ends after the first answers of its successor, and nothing waits for that."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.engine.versions.test_manager import kinds
from tests.servers import WAIT_SECONDS, Server, floats
from workbench.core.memory.memory_limits import MemoryLimits
from workbench.core.versions.states import HarnessState
from workbench.server.engine.versions.life import resting
from workbench.server.engine.versions.life.resting import Resting
from workbench.server.engine.versions.model import Model, Served


@pytest.fixture
def for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever rests does so until it is woken."""
    monkeypatch.setattr(resting, "REST_SECONDS", 600.0)


@pytest.fixture(autouse=True)
def nothing_is_left(server: Server) -> Iterator[None]:
    yield
    server.run(_unlimited(server))


async def _unlimited(server: Server) -> None:
    server.core.reservations.set_limits(MemoryLimits())


async def replaced(server: Server, base: Path, export: str = "half_plus_two") -> Model:
    """A model whose version 2 serves while version 1 rests."""
    model, first = await server.serve(base, export)
    server.put(base, 2, export)
    server.poll("m")
    await server.available("m", 2)
    await server.until(lambda: rests(first), "version 1 rests")
    return model


def rests(served: Served) -> bool:
    return served.harness.state is HarnessState.UNLOADING and served.worker is not None


async def until_ended(server: Server, model: Model, version: int = 1) -> None:
    await server.until(lambda: version not in model.versions, f"version {version} has ended")


def test_it_answers_no_more_and_ends_by_itself(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        model = await replaced(server, tmp_path / "m")
        assert (await server.predict("m", {"x": floats(1)}))["y"].tolist() == [2.5]
        await until_ended(server, model)

    server.run(test())


@pytest.mark.usefixtures("for_ever")
def test_it_ends_when_nothing_serves(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        model = await replaced(server, tmp_path / "m")
        server.core.manager.update("m", transition="unload_first")
        server.put(tmp_path / "m", 3, "half_plus_three")
        server.poll("m")
        await server.available("m", 3)
        await until_ended(server, model)

    server.run(test())


@pytest.mark.usefixtures("for_ever")
def test_it_ends_where_a_load_needs_its_memory(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        model = await replaced(server, tmp_path / "m", "big")
        second = model.versions[2]
        await server.until(
            lambda: second.memory is not None and second.memory.measured is not None,
            "what it takes has been measured",
        )
        # Two of them fit, and not three.
        held = server.core.reservations.budget.reserved("host")
        server.core.reservations.set_limits(MemoryLimits(host_memory_bytes=round(held * 1.45)))
        server.put(tmp_path / "m", 3, "big")
        server.poll("m")
        await server.available("m", 3)
        await until_ended(server, model)
        assert "not_loaded" not in kinds(server.events())

    server.run(test())


@pytest.mark.usefixtures("for_ever")
def test_its_worker_is_not_replaced(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        model = await replaced(server, tmp_path / "m")
        first = model.versions[1]
        worker = first.worker
        assert worker is not None
        os.kill(worker.pid, signal.SIGKILL)
        await asyncio.wait_for(asyncio.shield(worker.ended), WAIT_SECONDS)
        server.core.manager.update("m", transition="unload_first")
        server.put(tmp_path / "m", 3, "half_plus_three")
        server.poll("m")
        await server.available("m", 3)
        await until_ended(server, model)
        assert not {"worker_exited", "worker_replaced"} & set(kinds(server.events()))
        assert first.worker is None

    server.run(test())


def test_a_server_stops_while_versions_rest(models: Path, tmp_path: Path) -> None:
    with Server(models) as server:
        server.run(replaced(server, tmp_path / "m"))
        began = time.monotonic()
    assert time.monotonic() - began < 20.0


@pytest.mark.usefixtures("for_ever")
def test_whoever_asks_waits_until_all_have_ended() -> None:
    ended = []

    async def test() -> None:
        resting = Resting()
        assert not resting
        await resting.end()

        async def unload(number: int) -> None:
            await resting.rest(lambda: True)
            await asyncio.sleep(0.01)
            ended.append(number)

        tasks = [asyncio.ensure_future(unload(number)) for number in range(2)]
        await asyncio.sleep(0)
        assert resting
        await resting.end()
        assert sorted(ended) == [0, 1]
        await asyncio.wait(tasks)
        assert not resting

    asyncio.run(test())
