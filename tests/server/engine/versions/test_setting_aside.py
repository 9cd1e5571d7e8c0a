"""Versions that keep failing are set aside, the last good one serves, and they get new chances."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.server.engine.versions.test_manager import KILLED, failure, kinds, steps
from tests.servers import Server, floats
from workbench.core.events import Event, log_line
from workbench.core.status import Code, ServingError, unavailable
from workbench.core.versions import quarantine
from workbench.core.versions.version_policy import VersionPolicy
from workbench.server.engine.versions import source
from workbench.server.engine.versions.life import revival
from workbench.server.engine.versions.model import Model, Served


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders at rest at once; pauses that a test can wait out."""
    monkeypatch.setattr(source, "SETTLE_SECONDS", -1.0)
    monkeypatch.setattr(quarantine, "FIRST_PAUSE_SECONDS", 1.0)
    monkeypatch.setattr(quarantine, "ALONE_FIRST_PAUSE_SECONDS", 1.0)
    monkeypatch.setattr(revival, "_REPLACEMENT_PAUSES", (0.0,))


async def kill(server: Server, served: Served) -> None:
    """Kill the version's worker once it is in use, and wait until that is noticed."""
    await server.until(
        lambda: (
            served.worker is not None
            and served.queues is not None
            and served.queues.worker is served.worker
        ),
        "the worker is in use",
    )
    dying = served.worker
    assert dying is not None
    os.kill(dying.pid, signal.SIGKILL)
    await server.until(lambda: served.worker is not dying, "its death was noticed")


def ready(model: Model) -> int | None:
    return None if model.ready is None else model.ready.id.version


def told(events: list[Event], *wanted: str) -> list[tuple[str, int | None]]:
    return [(event.kind, event.version) for event in events if event.kind in wanted]


STORY = ("quarantined", "set_aside", "quarantine_retry", "quarantine_over", "available", "unloaded")


def test_a_version_that_keeps_dying_makes_room_for_the_one_before(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "PROBATION_SECONDS", 1.0)

    async def test() -> None:
        model, served = await server.serve(tmp_path / "m", "half_plus_two", "half_plus_three")
        first = server.core.events.last_seq
        for _ in range(3):
            await kill(server, served)
        await server.until(lambda: ready(model) == 1, "the version before serves")
        assert (await server.predict("m", {"x": floats(1)}))["y"].tolist() == [2.5]
        json = {v["version"]: v["quarantine"] for v in model.to_json()["versions"]}
        assert json[1] is None
        assert json[2]["reason"] == (f"Its worker process died 3 times within 60 s, last: {KILLED}")
        assert json[2]["failures"] == 1
        # It is tried again beside the good one, which stays until it has proved itself.
        await server.until(lambda: ready(model) == 2, "it is tried again")
        assert sorted(model.versions) == [1, 2]
        assert (await server.predict("m", {"x": floats(1)}))["y"].tolist() == [3.5]
        await server.until(lambda: sorted(model.versions) == [2], "it serves alone")
        assert model.failing == {}
        events = server.events(first)
        assert told(events, *STORY) == [
            ("quarantined", 2),
            ("set_aside", 2),
            ("available", 1),
            ("quarantine_retry", 2),
            ("available", 2),
            ("quarantine_over", 2),
            ("unloaded", 1),
        ]
        lines = [log_line(event) for event in events if event.kind in ("set_aside", "quarantined")]
        assert lines == [
            "Servable version {name: m version: 2} is set aside for 1 s: Its worker process died "
            f"3 times within 60 s, last: {KILLED}",
            "Version 2 of m is set aside for version 1: Its worker process died 3 times within "
            f"60 s, last: {KILLED}",
        ]

    server.run(test())


def test_one_death_on_probation_is_enough_and_the_good_version_never_left(
    server: Server, tmp_path: Path
) -> None:
    async def test() -> None:
        model, served = await server.serve(tmp_path / "m", "half_plus_two", "half_plus_three")
        for _ in range(3):
            await kill(server, served)
        await server.until(lambda: ready(model) == 1, "the version before serves")
        good = model.versions[1]
        await server.until(lambda: ready(model) == 2, "it is tried again")
        first = server.core.events.last_seq
        await kill(server, model.versions[2])
        await server.until(lambda: ready(model) == 1, "the good one serves again")
        assert model.versions[1] is good
        record = model.failing[2]
        assert (record.failures, record.reason) == (
            2,
            f"Its worker process died soon after its new start: {KILLED}",
        )
        (event,) = [e for e in server.events(first) if e.kind == "quarantined"]
        assert event.data is not None
        # It was idle when it was killed: that lengthens nothing.
        assert event.data["seconds"] == pytest.approx(1.0)

    server.run(test())


def test_alone_it_is_tried_again_after_the_pause(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        model, served = await server.serve(tmp_path / "m", "half_plus_two")
        first = server.core.events.last_seq
        for _ in range(3):
            await kill(server, served)
        await server.until(lambda: ready(model) is None, "it is given up")
        await server.until(lambda: ready(model) == 1, "it is back")
        assert model.versions[1] is not served
        assert told(server.events(first), *STORY) == [
            ("quarantined", 1),
            ("quarantine_retry", 1),
            ("available", 1),
        ]

    server.run(test())


def test_where_there_is_memory_for_one_the_good_version_is_not_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "FIRST_PAUSE_SECONDS", 0.1)

    async def test() -> None:
        model, served = await server.serve(
            tmp_path / "m", "half_plus_two", "half_plus_three", transition="unload_first"
        )
        for _ in range(3):
            await kill(server, served)
        await server.until(lambda: ready(model) == 1, "the version before serves")
        record = model.failing[2]
        await server.until(lambda: record.is_due(server._loop.time()), "the pause is over")
        first = server.core.events.last_seq
        for _ in range(3):
            polled = model.polled = False
            server.poll("m")
            await server.until(lambda: model.polled, "the folder was looked at")
        assert (polled, ready(model), sorted(model.versions)) == (False, 1, [1])
        assert kinds(server.events(first)) == []

    server.run(test())


def test_a_version_that_cannot_be_loaded_leaves_the_place_to_the_one_before(
    server: Server, tmp_path: Path
) -> None:
    """As after a restart of the server: nothing serves that could be kept."""
    base = tmp_path / "m"

    async def test() -> None:
        server.put(base, 1, "half_plus_two")
        server.put(base, 2, "bad_graph")
        first = server.core.events.last_seq
        model = server.set_model("m", base)
        await server.available("m", 1)
        assert told(server.events(first), *STORY, "error") == [
            ("error", 2),
            ("set_aside", 2),
            ("available", 1),
        ]
        assert model.ended[2].harness.error is not None
        # It stays so until somebody mends it.
        server.poll("m")
        await server.until(lambda: not server.core.manager.watch.due["m"].is_set(), "polled")
        assert (ready(model), sorted(model.versions)) == (1, [1])
        server.unput(base, 2)
        server.put(base, 2, "half_plus_three")
        server.poll("m")
        await server.until(lambda: ready(model) == 2, "the mended version serves")
        assert model.failing == {}

    server.run(test())


def test_a_bad_version_beside_one_that_serves_changes_nothing(
    server: Server, tmp_path: Path
) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        model, served = await server.serve(base, "half_plus_two")
        server.put(base, 2, "bad_graph")
        server.poll("m")
        await failure(server, 2)
        server.poll("m")
        await server.until(lambda: not server.core.manager.watch.due["m"].is_set(), "polled")
        assert (model.ready, model.versions[2].harness.aspired) == (served, True)

    server.run(test())


@pytest.mark.parametrize("times", [1, 2])
def test_a_replacement_that_dies_while_it_loads_is_no_end(
    server: Server, tmp_path: Path, times: int
) -> None:
    async def test() -> None:
        model, served = await server.serve(tmp_path / "m", "half_plus_two")
        first = server.core.events.last_seq
        left = times

        def strike(event: Event) -> None:
            nonlocal left
            if event.kind == "worker_started" and left:
                left -= 1
                assert event.data is not None
                os.kill(event.data["pid"], signal.SIGKILL)

        stop = server.core.events.listen(strike)
        try:
            await kill(server, served)
            if times == 1:
                answer = await server.predict("m", {"x": floats(1)})
                assert answer["y"].tolist() == [2.5]
                assert ready(model) == 1
            else:
                # Three deaths in a minute are three deaths, whoever died.
                await failure(server, 1)
        finally:
            stop()
        events = kinds(server.events(first))
        assert events.count("load_failed") == times
        assert ("worker_replaced" in events, "quarantined" in events) == (times == 1, times == 2)
        record = model.failing[1]
        assert record.served == (times == 2)

    server.run(test())


def test_a_zygote_that_dies_while_it_replaces_is_no_end(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        model, served = await server.serve(tmp_path / "m", "half_plus_two")
        assert server.core.zygote.pid is not None
        assert served.worker is not None
        os.kill(server.core.zygote.pid, signal.SIGSTOP)
        os.kill(served.worker.pid, signal.SIGKILL)
        answer = server.submit("m", {"x": floats(1)})[1]
        await server.until(lambda: served.worker is None, "its death was noticed")
        os.kill(server.core.zygote.pid, signal.SIGKILL)
        assert (await answer)["y"].tolist() == [2.5]
        assert ready(model) == 1

    server.run(test())


SCARCE = "Not enough memory or file descriptors to load this version"


@pytest.mark.parametrize(
    ("failing", "wanted"),
    [
        (
            OSError(24, "Too many open files"),
            unavailable(f"{SCARCE}: [Errno 24] Too many open files"),
        ),
        (
            MemoryError("no memory"),
            unavailable(f"{SCARCE}: no memory"),
        ),
        (KeyError("x"), ServingError(Code.INTERNAL, "Loading failed: KeyError('x')")),
    ],
)
def test_what_nobody_foresaw_ends_a_load_and_not_its_job(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: Exception,
    wanted: ServingError,
) -> None:
    async def spawn(zygote: Any) -> Any:
        raise failing

    monkeypatch.setattr("workbench.server.engine.versions.life.loading.Worker.spawn", spawn)

    async def test() -> None:
        server.put(tmp_path / "m", 1, "half_plus_two")
        first = server.core.events.last_seq
        server.set_model("m", tmp_path / "m", max_load_retries=1)
        assert await failure(server, 1) == wanted
        assert told(server.events(first), "load_failed", "load_retry", "error") == [
            ("load_failed", 1),
            ("load_retry", 1),
            ("load_failed", 1),
            ("error", 1),
        ]

    server.run(test())


def test_a_folder_whose_reading_fails_is_read_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        model, _ = await server.serve(tmp_path / "m", "half_plus_two")
        first = server.core.events.last_seq
        look: Callable[..., Any] = model.source.poll

        def fail(*_: Any) -> Any:
            raise ZeroDivisionError("nobody knows why")

        monkeypatch.setattr(model.source, "poll", fail)
        for _ in range(2):
            server.core.manager.poll_soon("m")
            await server.until(lambda: not server.core.manager.watch.due["m"].is_set(), "polled")
        await server.until(lambda: bool(model.warnings), "it is told")
        messages = [e.data for e in server.events(first) if e.kind == "source_error"]
        reason = "The folder of m could not be read: ZeroDivisionError('nobody knows why')"
        assert messages == [{"message": reason}]
        monkeypatch.setattr(model.source, "poll", look)
        server.put(tmp_path / "m", 2, "half_plus_three")
        server.poll("m")
        await server.available("m", 2)
        assert model.warnings == []

    server.run(test())


def test_a_folder_that_goes_with_the_worker_is_told_and_waited_for(
    server: Server, tmp_path: Path
) -> None:
    base = tmp_path / "m"

    async def test() -> None:
        model, served = await server.serve(base, "half_plus_two")
        shutil.move(base / "1", tmp_path / "away")
        await kill(server, served)
        await failure(server, 1)
        shutil.move(tmp_path / "away", base / "1")
        await server.until(lambda: ready(model) == 1, "it is back with its files")
        assert steps(server.events())[-1][0] == "available"

    server.run(test())


def test_all_versions_serve_but_the_one_that_is_set_aside(server: Server, tmp_path: Path) -> None:
    async def test() -> None:
        everything = VersionPolicy("all")
        model, served = await server.serve(
            tmp_path / "m", "half_plus_two", "half_plus_three", version_policy=everything
        )
        for _ in range(3):
            await kill(server, served)
        await server.until(lambda: ready(model) == 1, "the other serves")
        await server.until(lambda: ready(model) == 2, "both serve again")
        assert sorted(model.versions) == [1, 2]

    server.run(test())
