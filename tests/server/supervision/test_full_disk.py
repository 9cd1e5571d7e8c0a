"""A disk that is really full: the server goes on and says so, and nothing half-written is left."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.server.supervision.test_process_faults import WAIT_SECONDS, ask, events
from tests.server.supervision.test_whole_lifetime import House, a_house, until
from workbench.core.status import Code, ServingError
from workbench.experiments.store.store import Store, history, keep_result
from workbench.processes import registry

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small file system")

FULL = "No space left on device"


class SmallDisk:
    """A file system of half a megabyte."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, leave: int = 0) -> None:
        """Take all its room but `leave` bytes."""
        with self._filler.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                file.truncate(max(0, file.tell() - leave))

    def free(self) -> None:
        self._filler.unlink()

    def names(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*")}


@contextmanager
def small_disk() -> Iterator[SmallDisk]:
    with tempfile.TemporaryDirectory() as outside:
        folder = Path(outside) / "disk"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "none", str(folder)], check=False
        )
        if done.returncode:
            pytest.skip("a file system for a test cannot be mounted here")
        try:
            yield SmallDisk(folder)
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with small_disk() as made:
        yield made


@pytest.fixture
def house(tmp_path: Path, models: Path) -> Iterator[House]:
    with a_house(tmp_path, models) as made:
        yield made


def test_it_serves_and_changes_and_says_so(
    house: House, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its registry, its settings, its events and its log all lie on the disk that is full."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(disk.folder))
    house.serve(base_path=tmp_path / "versions")
    disk.fill()
    # It goes on: a worker dies and is replaced, settings change, requests are answered.
    os.kill(house.pid("worker", "life"), signal.SIGKILL)
    assert ask(house) == [2.5]
    house.server.transition = "unload_first"
    until(lambda: len(events(house, "disk_trouble")) >= 1, "it says so", WAIT_SECONDS)
    # What is published is live, although the server's folder takes no record of what it is.
    house.server.publish(house.models / "half_plus_three")
    assert ask(house) == [3.5]
    disk.free()
    until(lambda: b"unload_first" in desired(disk.folder), "the settings are kept", WAIT_SECONDS)
    messages = [event["data"]["message"] for event in events(house, "disk_trouble")]
    assert any("could not be written" in message for message in messages)
    assert any("have been written" in message for message in messages)
    assert ask(house) == [3.5]
    house.server.stop()
    assert disk.names() == set()


def desired(disk: Path) -> bytes:
    return (disk / "workbench-life" / "desired.json").read_bytes()


@pytest.mark.slow
def test_a_server_process_that_is_killed_comes_back_and_its_entry_follows(
    house: House, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(disk.folder))
    house.serve(base_path=tmp_path / "versions")
    before = house.entry
    disk.fill()
    for _ in range(2):
        # The second death is noticed by a supervisor that could not write down the first.
        os.kill(house.pid("server"), signal.SIGKILL)
        until(house.answers, "it is back", WAIT_SECONDS)
    assert registry.read("life") == before
    left = disk.names()
    disk.free()
    until(lambda: house.entry.server != before.server, "its entry is written", WAIT_SECONDS)
    assert house.entry.server.pid == house.pid("server")
    log = (disk.folder / "workbench-life" / "server.log").read_text()
    assert f"The registry's entry {disk.folder}/workbench-life.json has been written" in log
    assert left == {*disk.names(), "filler"}
    assert ask(house) == [2.5]
    house.server.stop()
    assert disk.names() == set()


def test_no_server_is_begun(house: House, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(disk.folder))
    disk.fill()
    before = disk.names()
    with pytest.raises(ServingError) as raised:
        house.serve()
    assert raised.value == ServingError(
        Code.UNAVAILABLE, f"The server's files could not be written below {disk.folder}: {FULL}"
    )
    assert disk.names() == before
    house.check_nothing_is_left()


@pytest.mark.slow
def test_a_version_is_not_half_published(house: House, disk: SmallDisk) -> None:
    base = disk.folder / "versions"
    house.serve(base_path=base)
    disk.fill(leave=12 * 1024)
    before = disk.names()
    with pytest.raises(ServingError) as raised:
        house.server.publish(house.models / "half_plus_three")
    assert raised.value == ServingError(
        Code.RESOURCE_EXHAUSTED,
        f"Version 2 could not be written to {base}: {FULL}. Nothing of it is left there, and the "
        "served versions go on serving",
    )
    assert disk.names() == before
    assert ask(house) == [2.5]
    disk.free()
    assert house.server.publish(house.models / "half_plus_three") == 2
    assert ask(house) == [3.5]
    house.server.stop()


@pytest.mark.slow
def test_warm_up_requests_are_not_half_recorded(house: House, disk: SmallDisk) -> None:
    house.serve(base_path=disk.folder / "versions")
    disk.fill()
    before = disk.names()
    recording = house.server.record_warmup(2)
    assert [ask(house), ask(house)] == [[2.5], [2.5]]
    with pytest.raises(ServingError, match=FULL):
        recording.finish()
    assert disk.names() == before
    assert ask(house) == [2.5]
    disk.free()
    recording = house.server.record_warmup(1)
    ask(house)
    recording.finish()
    assert disk.names() - before == {
        "versions/1/assets.extra",
        "versions/1/assets.extra/tf_serving_warmup_requests",
    }
    house.server.stop()


@dataclass(frozen=True)
class Result:
    values: list[float]
    number: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {"values": self.values}


def test_what_was_measured_is_returned_and_the_rest_can_be_read(
    disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(disk.folder))
    # Numbers that do not compress, more than the last page of a file has room for.
    result = Result(np.random.default_rng(0).random(2000).tolist())
    assert keep_result("load", "m", Result([1.5]), "small").number == 1
    path = disk.folder / "workbench" / "experiments.sqlite"
    with Store() as store:
        disk.fill()
        with pytest.warns(UserWarning, match="not kept") as warned:
            assert keep_result("load", "m", result, "large") == result
        assert [str(warning.message) for warning in warned] == [
            f"This result is not kept: The experiments in {path} cannot be read or written: "
            "database or disk is full. It is returned all the same; its to_json() is the data to "
            "save."
        ]
        assert [entry["number"] for entry in store.list()] == [1]
        assert list(history().index) == [1]
        disk.free()
    assert keep_result("load", "m", result, "large").number == 2
    with Store() as store:
        assert store.get(1) == ("load", {"values": [1.5]})
        assert store.get(2) == ("load", result.to_json())


def test_where_there_is_no_file_of_experiments_yet(
    disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(disk.folder))
    disk.fill()
    with pytest.warns(UserWarning, match="cannot be read or written: .*full"):
        assert keep_result("load", "m", Result([1.5]), "").number is None
    disk.free()
    assert keep_result("load", "m", Result([1.5]), "").number == 1
