"""The transition `staged` with real workers: what happens, in which order, and who answers."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.server.engine.versions.test_manager import (
    KILLED,
    LOAD_STEPS,
    UNLOAD_STEPS,
    Client,
    failure,
    kill_worker,
    kinds,
    long_run,
    of,
    on_event,
    running,
    steps,
)
from tests.servers import Server, floats
from workbench.core.events import Event, log_line
from workbench.core.status import Code, ServingError, not_found, unavailable
from workbench.core.versions.states import HarnessState
from workbench.core.versions.version_policy import VersionPolicy
from workbench.processes.lifetime import ProcessId
from workbench.server.engine.versions.model import Model

STAGE_STEPS: list[tuple[str, Any]] = [
    ("reserved", None),
    ("state", "LOADING"),
    ("load_approved", None),
    ("staging", None),
    ("worker_started", None),
    ("reading_saved_model", None),
    ("reading_meta_graph", None),
    ("staged", None),
]
FINISH_STEPS: list[tuple[str, Any]] = [
    ("reserved", None),
    ("loading", None),
    ("loaded_saved_model", None),
    ("warmup_absent", None),
    ("tried", None),
    ("state", "AVAILABLE"),
    ("available", None),
]


def data(events: list[Event], kind: str, version: int) -> list[dict[str, Any]]:
    return [dict(e.data or {}) for e in events if (e.kind, e.version) == (kind, version)]


async def staged_beside(server: Server, base: Path, old: str = "slow") -> tuple[Model, Any]:
    """Version 2 staged, its turn held up by a request that version 1 still answers."""
    model, _ = await server.serve(base, old, transition="staged")
    _, slow = server.submit("m", long_run(2.0))
    await running(server)
    server.put(base, 2, "half_plus_three")
    server.poll("m")
    await server.until(
        lambda: 2 in model.versions and model.versions[2].harness.state is HarnessState.STAGED,
        "version 2 is staged",
    )
    return model, slow


def test_the_new_version_is_prepared_while_the_old_one_serves(
    server: Server, tmp_path: Path
) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        await server.serve(base, "half_plus_two", transition="staged")
        first = server.core.events.last_seq
        old = server.core.manager.find("m").worker
        assert old is not None
        gone: list[tuple[str, bool]] = []
        with (
            on_event(server, "worker_started", lambda e: gone.append((e.kind, old.ended.done()))),
            on_event(server, "loading", lambda e: gone.append((e.kind, old.ended.done()))),
        ):
            async with Client(server) as client:
                await client.hears(2.0)
                server.put(base, 2, "half_plus_three")
                server.poll("m")
                await client.hears(3.0)
        # The new process comes while the old one serves; its weights only after the old's end.
        assert gone == [("worker_started", False), ("loading", True)]
        assert set(client.errors) == {not_found("Servable not found for request: Latest(m)")}
        events = server.events(first)
        assert steps(events) == [
            ("unaspired", 1, None),
            ("aspired", 2, None),
            ("state", 2, "START"),
            ("decision", 2, "stage"),
            *of(2, STAGE_STEPS),
            ("decision", 1, "unload"),
            *of(1, UNLOAD_STEPS),
            ("decision", 2, "load"),
            *of(2, FINISH_STEPS),
        ]
        files = sum(f.stat().st_size for f in (base / "2" / "variables").iterdir())
        (staged,) = data(events, "staged", 2)
        assert staged.pop("seconds") > 0
        assert staged == {"cached_bytes": files, "total_bytes": files, "skipped": None}
        graph, everything = data(events, "reserved", 2)
        # What is staged needs no room for the weights.
        assert graph["bytes"] > (base / "2" / "saved_model.pb").stat().st_size
        assert everything["bytes"] >= graph["bytes"] + files
        servable = "{name: m version: 2}"
        lines = [log_line(e) for e in events if e.kind in ("staging", "staged", "loading")]
        assert lines == [
            f"Staging servable version {servable}",
            f"Done staging servable version {servable}: {files} of {files} bytes of its files "
            "are in the page cache",
            f"Loading servable version {servable}",
        ]

    server.run(test())


@pytest.mark.parametrize("transition", ["unload_first+hold", "staged+hold"])
def test_requests_of_the_gap_go_on_when_the_new_version_serves(
    server: Server, tmp_path: Path, transition: str
) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        manager = server.core.manager
        model, _ = await server.serve(base, "half_plus_two", transition=transition)
        first = server.core.events.last_seq
        found: list[int] = []

        def ask(_: Event) -> None:
            assert manager.hold("m", lambda: found.append(manager.find("m").id.version)) is not None

        # While a version serves, nothing is held; from then on, until the next does.
        assert manager.hold("m", lambda: None) is None
        with on_event(server, "quiescing", ask), on_event(server, "loading", ask):
            server.put(base, 2, "half_plus_three")
            server.poll("m")
            await server.until(lambda: len(found) == 2, "both went on")
        assert found == [2, 2]
        assert len(model.held) == 0
        told = [row for row in steps(server.events(first)) if row[0] in ("available", "loading")]
        assert told == [("loading", 2, None), ("available", 2, None)]
        (released,) = [e for e in server.events(first) if e.kind == "held_released"]
        assert (released.data or {})["requests"] == 2
        assert manager.hold("m", lambda: None) is None

    server.run(test())


def test_a_first_version_is_loaded_at_a_stretch(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        first = server.core.events.last_seq
        await server.serve(tmp_path / "m", "half_plus_two", transition="staged")
        assert steps(server.events(first))[3:] == [("decision", 1, "load"), *of(1, LOAD_STEPS)]

    server.run(test())


def test_the_time_to_load_leaves_out_the_wait(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        first = server.core.events.last_seq
        model, slow = await staged_beside(server, tmp_path / "m")
        staged = model.versions[2]
        assert staged.harness.public_state.name == "LOADING"
        assert (await slow)["y"].tolist() == [1.0]
        await server.available("m", 2)
        (told,) = data(server.events(first), "staged", 2)
        (available,) = data(server.events(first), "available", 2)
        assert available["seconds"] == staged.load_seconds > told["seconds"]
        # What passed between the two events less what was waited: all of it is accounted for.
        times = {e.kind: e.monotonic for e in server.events(first) if e.version == 2}
        working = told["seconds"] + times["available"] - times["loading"]
        assert staged.load_seconds <= working

    server.run(test())


def test_un_aspired_while_it_is_being_staged(server: Server, tmp_path: Path) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        model, one = await server.serve(base, "half_plus_two", transition="staged")
        first = server.core.events.last_seq

        def roll_back(_: Event) -> None:
            server.core.manager.update("m", version_policy=VersionPolicy("specific", versions=(1,)))

        async with Client(server) as client:
            # Rolled back as soon as its process is there: it is given up at the end of staging.
            with on_event(server, "worker_started", roll_back):
                server.put(base, 2, "half_plus_three")
                server.poll("m")
                await server.until(
                    lambda: "load_cancelled" in kinds(server.events(first)), "2 is given up"
                )
            await server.until(lambda: list(model.versions) == [1], "version 2 is gone")
        assert client.errors == []
        assert model.ready is one
        assert steps(server.events(first))[-3:] == [
            ("load_cancelled", 2, None),
            ("state", 2, "UNLOADING"),
            ("state", 2, "END"),
        ]
        ended = model.ended[2]
        assert ended.harness.error == ServingError(Code.CANCELLED, "Loading of servable cancelled")
        assert ended.worker is None

    server.run(test())


@pytest.mark.parametrize("transition", ["staged", "smooth", "unload_first"])
def test_un_aspired_when_it_is_staged(server: Server, tmp_path: Path, transition: str) -> None:
    """Whatever the transition is by then: its process is ended and the old version stays away
    or comes back as the source wants it."""
    base = tmp_path / "m"

    async def test() -> None:
        model, slow = await staged_beside(server, base)
        first = server.core.events.last_seq
        staged = model.versions[2]
        assert staged.worker is not None
        pid = staged.worker.pid
        server.core.manager.update(
            "m", transition=transition, version_policy=VersionPolicy("specific", versions=(3,))
        )
        await server.until(lambda: 2 not in model.versions, "version 2 is given up")
        assert ProcessId.of(pid) is None
        assert [row for row in steps(server.events(first)) if row[1] == 2] == [
            ("unaspired", 2, None),
            ("load_cancelled", 2, None),
            ("state", 2, "UNLOADING"),
            ("state", 2, "END"),
        ]
        assert (await slow)["y"].tolist() == [1.0]

    server.run(test())


def test_a_staged_version_is_loaded_under_another_transition(
    server: Server, tmp_path: Path
) -> None:
    async def test() -> None:
        model, slow = await staged_beside(server, tmp_path / "m")
        first = server.core.events.last_seq
        staged = model.versions[2]
        worker = staged.worker
        server.core.manager.update("m", transition="smooth")
        await server.available("m", 2)
        assert staged.worker is worker
        assert [row for row in steps(server.events(first)) if row[1] == 2] == [
            ("decision", 2, "load"),
            *of(2, FINISH_STEPS),
        ]
        assert (await slow)["y"].tolist() == [1.0]

    server.run(test())


def test_a_worker_that_dies_staged_is_made_up_for_by_a_whole_load(
    server: Server, tmp_path: Path
) -> None:
    async def test() -> None:
        first = server.core.events.last_seq
        model, slow = await staged_beside(server, tmp_path / "m")
        # Version 1 answers its last request and serves nothing new.
        await server.until(lambda: model.ready is None, "version 1 drains")
        staged = model.versions[2]
        assert staged.worker is not None
        os.kill(staged.worker.pid, signal.SIGKILL)
        await server.until(lambda: staged.worker is None, "its death is noticed")
        assert staged.harness.state is HarnessState.STAGED
        assert (await slow)["y"].tolist() == [1.0]
        await server.available("m", 2)
        told = [row for row in steps(server.events(first)) if row[1] == 2]
        assert told[told.index(("worker_exited", 2, None)) :] == [
            ("worker_exited", 2, None),
            ("decision", 2, "load"),
            ("reserved", 2, None),
            ("loading", 2, None),
            *of(2, LOAD_STEPS[4:]),
        ]

    server.run(test())


def test_a_bad_graph_leaves_the_old_version_serving(server: Server, tmp_path: Path) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        model, one = await server.serve(base, "half_plus_two", transition="staged")
        first = server.core.events.last_seq
        async with Client(server) as client:
            server.put(base, 2, "bad_graph")
            server.poll("m")
            error = await failure(server, 2)
            await client.hears(2.0)
        assert error.code is Code.NOT_FOUND
        assert "NoSuchOperation" in error.message
        assert client.errors == []
        assert model.ready is one
        assert steps(server.events(first))[3:] == [
            ("decision", 2, "stage"),
            *of(2, STAGE_STEPS[:7]),
            ("load_failed", 2, None),
            ("state", 2, "END"),
            ("error", 2, None),
            ("not_loaded", 2, None),
        ]

    server.run(test())


def test_bad_weights_are_found_only_when_the_old_version_has_gone(
    server: Server, models: Path, tmp_path: Path
) -> None:
    """Then nothing serves, as under unload_first, until its files are mended or it is rolled
    back, or else falls back by itself."""
    base = tmp_path / "m"

    async def test() -> None:
        model, _ = await server.serve(base, "half_plus_two", transition="staged", fall_back=False)
        first = server.core.events.last_seq
        server.put(base, 2, "corrupt")
        server.poll("m")
        error = await failure(server, 2)
        assert error.code is Code.DATA_LOSS
        assert model.ready is None
        assert steps(server.events(first))[-6:] == [
            ("reserved", 2, None),
            ("loading", 2, None),
            ("load_failed", 2, None),
            ("state", 2, "END"),
            ("error", 2, None),
            ("not_loaded", 2, None),
        ]
        shutil.rmtree(base / "2")
        server.poll("m")
        await server.available("m", 1)

    server.run(test())


def test_a_version_that_keeps_dying_while_it_is_staged_is_given_up(
    server: Server, tmp_path: Path
) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        model, one = await server.serve(base, "half_plus_two", transition="staged")
        model = server.core.manager.update("m", max_load_retries=1)
        with on_event(server, "worker_started", kill_worker):
            server.put(base, 2, "half_plus_three")
            server.poll("m")
            error = await failure(server, 2)
        assert error == unavailable(f"The worker process died while it loaded the model: {KILLED}")
        assert model.ready is one
        assert (await server.predict("m", {"x": floats(0)}))["y"].tolist() == [2.0]

    server.run(test())
