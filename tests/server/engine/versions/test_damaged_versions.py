"""Versions that are not complete or damaged: what is said of them, where, and what serves
meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers import Server, floats
from workbench.client.display.views import versions_of
from workbench.core.model_settings import ModelConfig
from workbench.core.status import Code, not_found
from workbench.core.versions.version_policy import VersionPolicy
from workbench.server.engine.versions import source
from workbench.server.engine.versions.source import STALLED_SECONDS, FolderSource
from workbench.server.front.json.responses import VersionStatus, encode_model_status
from workbench.server.front.metrics.prometheus import Metrics
from workbench.server.front.model_status import model_status

ALL = VersionPolicy("all")
_AGAIN = "; copy this version here again, or export it again"
_DATA = "variables/variables.data-00000-of-00001"


class Clock:
    """Stands in for the source's `time`."""

    def __init__(self) -> None:
        self.start = self.now = time.monotonic()

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return time.time() + self.now - self.start


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(source, "time", clock)
    return clock


def halved(name: str) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, (folder / name).stat().st_size // 2)


@pytest.mark.parametrize(
    ("damage", "lacks", "kind"),
    [
        (halved("saved_model.pb"), "saved_model.pb is incomplete: it ends within a field",
         "incomplete file"),
        (lambda f: (f / "saved_model.pb").write_bytes(b""),
         "saved_model.pb is incomplete: it has no meta graph", "incomplete file"),
        (lambda f: shutil.rmtree(f / "variables"), "variables/variables.index is missing",
         "missing file"),
        (halved("variables/variables.index"), "variables/variables.index is incomplete",
         "incomplete file"),
        (lambda f: (f / _DATA).unlink(), f"{_DATA} is missing", "missing file"),
        (halved(_DATA), f"{_DATA} has 4 of 8 bytes", "incomplete file"),
    ],
)  # fmt: skip
def test_what_does_not_become_complete_is_damaged(
    models: Path,
    tmp_path: Path,
    clock: Clock,
    damage: Callable[[Path], None],
    lacks: str,
    kind: str,
) -> None:
    version = shutil.copytree(models / "half_plus_two", tmp_path / "1")
    damage(version)
    folder = FolderSource("m", str(tmp_path))
    poll = folder.poll(ALL)
    assert (poll.aspired, poll.waiting, poll.damaged) == ([], {1: lacks}, {})
    assert poll.waiting[1].kind == kind
    clock.now += STALLED_SECONDS - 1
    assert folder.poll(ALL).waiting == {1: lacks}
    clock.now += 2
    poll = folder.poll(ALL)
    assert (poll.waiting, list(poll.damaged)) == ({}, [1])
    # There is nothing better: it is what the policy wants.
    assert poll.aspired == [poll.damaged[1]]
    error = poll.damaged[1].damage
    assert error is not None
    assert (error.code, error.message) == (
        Code.DATA_LOSS,
        f"{version} is not complete, and nothing in it has changed for 60 s: {lacks}{_AGAIN}",
    )
    # The copy goes on after all.
    (version / "more").touch()
    assert folder.poll(ALL).waiting == {1: lacks}
    shutil.copytree(models / "half_plus_two", version, dirs_exist_ok=True)
    folder.poll(ALL)
    clock.now += 2
    poll = folder.poll(ALL)
    assert (poll.waiting, poll.damaged) == ({}, {})
    assert poll.aspired is not None
    assert poll.aspired[0].damage is None


@pytest.mark.parametrize("missing", ["everything", "saved_model.pb"])
def test_where_there_is_no_model_none_is_damaged(
    models: Path, tmp_path: Path, clock: Clock, missing: str
) -> None:
    version = shutil.copytree(models / "half_plus_two", tmp_path / "1")
    (version / "saved_model.pb").unlink()
    if missing == "everything":
        shutil.rmtree(version)
        version.mkdir()
    clock.now += 10 * STALLED_SECONDS
    poll = FolderSource("m", str(tmp_path)).poll(ALL)
    assert (list(poll.waiting), poll.damaged, poll.aspired) == ([1], {}, [])


def test_what_is_no_saved_model_is_damaged_at_once(
    models: Path, tmp_path: Path, clock: Clock
) -> None:
    version = shutil.copytree(models / "half_plus_two", tmp_path / "1")
    graph = version / "saved_model.pb"
    graph.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 12\n")
    folder = FolderSource("m", str(tmp_path))
    assert folder.poll(ALL).waiting == {1: "its files are still changing"}
    clock.now += 2
    error = folder.poll(ALL).damaged[1].damage
    assert error is not None
    assert error.message == (
        f"{graph} is not a SavedModel: field 14 has the wire type 6 (it is a pointer of Git LFS: "
        f"`git lfs pull` fetches the file itself){_AGAIN}"
    )


def statuses(server: Server) -> list[VersionStatus]:
    return model_status(server.core.manager, "m")


async def poll_until(server: Server, holds: Callable[[], bool], what: str) -> None:
    """Look at the folder, nothing in it counting as complete, until something holds."""

    def looked() -> bool:
        server.core.manager.poll_soon("m")
        return holds()

    await server.until(looked, what, 20.0)


def test_an_incomplete_version_is_seen_everywhere(server: Server, tmp_path: Path) -> None:
    base = tmp_path / "m"
    why = f"{_DATA} is missing"

    async def copy() -> None:
        model, _ = await server.serve(base, "half_plus_two")
        server.put(tmp_path, 2, "half_plus_three")
        (tmp_path / "2" / _DATA).rename(tmp_path / "data")
        (tmp_path / "2").rename(base / "2")
        server.core.manager.poll_soon("m")
        await server.until(lambda: bool(model.waiting), "it is seen")
        assert statuses(server) == [
            VersionStatus(2, "START", Code.OK, f"waiting: {why}"),
            VersionStatus(1, "AVAILABLE", Code.OK, ""),
        ]
        told = json.loads(encode_model_status(statuses(server)))["model_version_status"][0]
        assert told == {
            "version": "2",
            "state": "START",
            "status": {"error_code": "OK", "error_message": f"waiting: {why}"},
        }
        assert model_status(server.core.manager, "m", 2) == statuses(server)[:1]
        with pytest.raises(type(not_found(""))) as raised:
            model_status(server.core.manager, "m", 3)
        assert raised.value == not_found("Could not find version 3 of model m")
        page = Metrics(server.core.manager, server.core.scheduler).page().decode()
        assert 'workbench_version_waiting{model="m",version="2",reason="missing file"} 1' in page
        versions = versions_of(json.loads(json.dumps(model.to_json())), [])
        assert repr(versions).splitlines()[-1] == f"version 2: waiting, {why}"
        assert why in versions._repr_html_()
        (event,) = [e for e in server.events() if e.kind == "source_waiting"]
        assert event.data == {"message": f"Version 2 of m is not complete yet, waiting: {why}"}
        (tmp_path / "data").rename(base / "2" / _DATA)
        server.poll("m")
        await server.available("m", 2)
        assert (
            "workbench_version_waiting{"
            not in Metrics(server.core.manager, server.core.scheduler).page().decode()
        )

    server.run(copy())


@pytest.mark.parametrize("transition", ["smooth", "unload_first", "staged"])
def test_a_damaged_version_is_told_and_takes_nothing_away(
    server: Server, tmp_path: Path, transition: str
) -> None:
    """Also where loading it would begin with ending what serves."""
    base = tmp_path / "m"

    async def publish() -> None:
        model, first = await server.serve(base, "half_plus_two", transition=transition)
        server.put(base, 2, "half_plus_three")
        graph = base / "2" / "saved_model.pb"
        whole = graph.read_bytes()
        graph.write_text("<html>")
        manager = server.core.manager
        await poll_until(server, lambda: 2 in model.ended, "it is told")
        error = model.ended[2].harness.error
        assert error is not None
        assert statuses(server) == [
            VersionStatus(2, "END", Code.DATA_LOSS, error.message),
            VersionStatus(1, "AVAILABLE", Code.OK, ""),
        ]
        assert error.message == (
            f"{graph} is not a SavedModel: field 7 has the wire type 4 (it is an HTML page: a "
            f"download saved an error page instead of the file){_AGAIN}"
        )
        assert (await server.predict("m", {"x": floats(2.0)}))["y"].tolist() == [3.0]
        assert manager.find("m") is first
        assert first.harness.aspired
        # It is told once.
        for _ in range(3):
            manager.poll_soon("m")
            await asyncio.sleep(0.1)
        assert len([e for e in server.events() if e.kind == "not_loaded"]) == 1
        graph.write_bytes(whole)
        await poll_until(server, lambda: 2 in model.versions, "it is mended")
        await server.available("m", 2)
        assert model.failing == {}

    server.run(publish())


def test_where_nothing_else_is_there_the_damage_is_the_answer(
    server: Server, tmp_path: Path
) -> None:
    base = tmp_path / "m"

    async def serve() -> None:
        server.put(base, 1, "half_plus_two")
        (base / "1" / "saved_model.pb").write_text("<html>")
        model = server.core.manager.set_model(ModelConfig("m", str(base)))
        await server.until(lambda: 1 in model.versions, "it is looked at")
        error = model.versions[1].harness.error
        assert error is not None
        assert error.code is Code.DATA_LOSS
        assert not [e for e in server.events() if e.kind == "worker_started"]

    server.run(serve())
