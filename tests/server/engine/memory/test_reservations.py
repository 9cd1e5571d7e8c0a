"""Memory for versions in a real server: estimated, refused with a cure, measured, given back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.models import BIG_WEIGHTS_BYTES
from tests.servers import Server
from workbench.core.memory.memory_limits import MemoryLimits
from workbench.core.status import Code, ServingError
from workbench.core.versions.states import HarnessState
from workbench.server.engine.memory.reservations import is_refused
from workbench.server.engine.versions.model import Served

MEBIBYTE = 2**20
UNLIMITED = MemoryLimits()


@pytest.fixture(autouse=True)
def no_limit_is_left(server: Server) -> Iterator[None]:
    yield
    server.clear()

    async def reset() -> None:
        server.core.reservations.set_limits(UNLIMITED)

    server.run(reset())


def limit(server: Server, megabytes: int | None) -> None:
    size = None if megabytes is None else megabytes * MEBIBYTE
    server.core.reservations.set_limits(MemoryLimits(host_memory_bytes=size))


def held(server: Server) -> int:
    return server.core.reservations.budget.reserved("host")


async def settled(server: Server, served: Served) -> None:
    await server.until(
        lambda: served.memory is not None and served.memory.measured is not None,
        "what it takes has been measured",
    )


async def refused(server: Server, version: int, name: str = "m") -> ServingError:
    versions = server.core.manager.models[name].versions
    await server.until(
        lambda: version in versions and versions[version].harness.state is HarnessState.ERROR,
        f"version {version} is refused",
    )
    error = versions[version].harness.error
    assert error is not None
    assert is_refused(versions[version])
    return error


async def let_in(server: Server, version: int) -> Served:
    """The version, when it serves after it was refused."""
    versions = server.core.manager.models["m"].versions
    await server.until(
        lambda: version in versions and versions[version].harness.state is HarnessState.READY,
        f"version {version} is let in",
    )
    return versions[version]


def test_the_peak_is_predicted_and_what_it_takes_is_kept(server: Server, tmp_path: Path) -> None:
    async def test() -> dict[str, Any]:
        model, served = await server.serve(tmp_path / "m", "big")
        first = served.memory
        assert first is not None
        assert first.need is not None
        (event,) = [e for e in server.events() if e.kind == "reserved"]
        assert event.data is not None
        assert event.data["needs"] == first.need.peak
        assert first.files.weights == BIG_WEIGHTS_BYTES
        await settled(server, served)
        assert first.peak is not None
        assert first.need.peak["host"] == pytest.approx(first.peak, rel=0.2)
        assert first.need.peak["host"] > first.need.steady["host"]
        assert first.measured is not None
        assert held(server) == first.measured.steady
        # The next version is estimated by what this one really took.
        server.put(tmp_path / "m", 2, "big")
        server.poll("m")
        second = (await server.available("m", 2)).memory
        assert second is not None
        assert second.need is not None
        assert second.need.peak == {"host": first.peak}
        told = model.versions[2].to_json()["memory"]
        return dict(told)

    told = server.run(test())
    assert told["device"] == "host"
    assert told["weights"] == BIG_WEIGHTS_BYTES
    assert told["estimated"]["peak"]["host"] >= told["estimated"]["steady"]["host"]
    server.clear()
    assert held(server) == 0


def test_smooth_is_refused_with_the_cure_which_then_cures(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        limit(server, 220)
        model, first = await server.serve(tmp_path / "m", "big")
        await settled(server, first)
        server.put(tmp_path / "m", 2, "big")
        server.poll("m")
        error = await refused(server, 2)
        assert error.code is Code.RESOURCE_EXHAUSTED
        start = "Insufficient resources to load servable {name: m version: 2} under smooth: needs "
        assert error.message.startswith(start)
        assert "; it fits under staged: needs " in error.message
        # What served before serves on, and is asked nothing.
        assert model.ready is first
        assert [e.kind for e in server.events() if e.version == 2][-5:] == [
            "decision", "load_failed", "state", "error", "not_loaded",
        ]  # fmt: skip
        server.core.manager.update("m", transition="unload_first")
        second = await let_in(server, 2)
        assert model.ready is second
        assert 1 not in model.versions
        await settled(server, second)

    server.run(test())
    server.clear()
    assert held(server) == 0


def test_a_higher_budget_lets_it_in_by_itself(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        limit(server, 220)
        _, first = await server.serve(tmp_path / "m", "big")
        await settled(server, first)
        server.put(tmp_path / "m", 2, "big")
        server.poll("m")
        await refused(server, 2)
        limit(server, 2000)
        await let_in(server, 2)

    server.run(test())


def test_what_serves_is_not_unloaded_meanwhile(server: Server, tmp_path: Path) -> None:
    """Something else of the model ends between the news of free memory and the look at its
    folder."""

    async def test() -> None:
        limit(server, 220)
        model, first = await server.serve(tmp_path / "m", "big")
        await settled(server, first)
        server.put(tmp_path / "m", 2, "big")
        server.poll("m")
        await refused(server, 2)
        limit(server, 10_000)
        server.core.manager.decisions.retry_refused()
        server.core.manager.decisions.decide(model)
        assert model.ready is first
        await let_in(server, 2)

    server.run(test())


def test_so_does_memory_that_another_model_gives_back(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        limit(server, 220)
        _, other = await server.serve(tmp_path / "n", "big", name="n")
        await settled(server, other)
        server.put(tmp_path / "m", 1, "big")
        server.set_model("m", tmp_path / "m")
        error = await refused(server, 1)
        assert "; it fits without version 1 of n, which takes " in error.message
        server.core.manager.remove_model("n")
        await let_in(server, 1)

    server.run(test())


@pytest.mark.parametrize("transition", ["unload_first", "staged"])
def test_what_cannot_come_drives_nobody_out(
    server: Server, tmp_path: Path, transition: str
) -> None:
    """A version that would not fit even alone is refused before the old one is unloaded."""

    async def test() -> None:
        limit(server, 100)
        model, first = await server.serve(tmp_path / "m", "half_plus_two", transition=transition)
        await settled(server, first)
        server.put(tmp_path / "m", 2, "big")
        server.poll("m")
        error = await refused(server, 2)
        assert "; it fits with a limit of " in error.message
        assert model.ready is first
        assert first.harness.state is HarnessState.READY
        assert not first.harness.aspired
        # Removed again, it leaves the first one as it was.
        server.unput(tmp_path / "m", 2)
        server.poll("m")
        await server.until(lambda: first.harness.aspired, "version 1 is aspired again")
        assert model.ready is first

    server.run(test())


def test_a_model_has_a_limit_of_its_own(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        small = 50 * MEBIBYTE
        server.put(tmp_path / "m", 1, "big")
        server.set_model("m", tmp_path / "m", memory_limit_bytes=small)
        error = await refused(server, 1)
        assert error.message.startswith(
            "Insufficient resources to load servable {name: m version: 1}: needs "
        )
        assert "and the model's memory_limit_bytes is 50 MB; with " in error.message
        # Raised, it loads by itself; what keeps it in there is told.
        server.core.manager.update("m", memory_limit_bytes=1000 * MEBIBYTE)
        served = await let_in(server, 1)
        assert served.memory is not None
        assert served.memory.limit is not None
        assert served.memory.limit.bytes == 1000 * MEBIBYTE
        assert served.memory.limit.how in ("cgroup", "rlimit")
        assert server.core.processes()[-1].limit == 1000 * MEBIBYTE

    server.run(test())


def test_a_worker_beyond_its_limit_is_ended_for_that_reason(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        _, served = await server.serve(
            tmp_path / "m", "half_plus_two", memory_limit_bytes=500 * MEBIBYTE
        )
        assert served.memory is not None
        assert served.memory.limit is not None
        assert served.worker is not None
        pid = served.worker.pid
        # As if it had grown: what it may take is less than what it takes.
        served.memory.limit = type(served.memory.limit)(MEBIBYTE, "watched")
        await server.until(
            lambda: any(e.kind == "worker_exited" for e in server.events()), "it is ended"
        )
        told = {e.kind: e.data for e in server.events()}
        limited, exited = told["memory_limit"], told["worker_exited"]
        assert limited is not None
        assert exited is not None
        assert (limited["pid"], limited["limit"]) == (pid, MEBIBYTE)
        assert exited["reason"] == f"ended because {limited['message']}"
        assert limited["message"].endswith("of memory, and the model's memory_limit_bytes is 1 MB")
        # It is replaced like any worker that has died, under the limit that is configured.
        await server.until(
            lambda: served.worker is not None and served.worker.pid != pid, "it is replaced"
        )

    server.run(test())


def test_will_it_fit_says_so_without_loading(server: Server, models: Path, tmp_path: Path) -> None:
    async def test() -> dict[str, Any]:
        limit(server, 220)
        model, first = await server.serve(tmp_path / "m", "big")
        await settled(server, first)
        before = server.core.events.last_seq
        told = await server.core.reservations.will_it_fit(model, str(models / "big"))
        assert server.core.events.last_seq == before
        return told

    told = server.run(test())
    assert {name: fit["fits"] for name, fit in told["transitions"].items()} == {
        "smooth": False, "staged": True, "unload_first": True,
    }  # fmt: skip
    assert (told["device"], told["from"]) == ("host", "the last load")
    assert told["weights"] == BIG_WEIGHTS_BYTES
    assert told["peak"]["host"] >= told["steady"]["host"] > BIG_WEIGHTS_BYTES


def test_reserved_and_not_taken_yet_is_in_the_ledger(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        _, served = await server.serve(tmp_path / "m", "big")
        await settled(server, served)
        assert served.memory is not None
        (worker,) = [p for p in server.core.processes() if p.role == "worker"]
        assert worker.weights == BIG_WEIGHTS_BYTES
        assert worker.runtime is not None
        assert 0 < worker.runtime < 20 * MEBIBYTE
        assert dict(worker.reserved) == server.core.reservations.budget.claim(served.id)
        assert server.core.reservations.promised() == []

    server.run(test())
