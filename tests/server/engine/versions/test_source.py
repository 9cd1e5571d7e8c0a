"""Folder sources: version numbers, complete and half-copied folders, and what is told."""

from __future__ import annotations

import getpass
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workbench.core.versions.version_policy import VersionPolicy
from workbench.server.engine.versions import source
from workbench.server.engine.versions.source import FolderSource, Poll
from workbench.server.engine.versions.version_folder import Found

ALL = VersionPolicy("all")


@pytest.fixture
def old_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lies in a folder has lain there long enough."""
    monkeypatch.setattr(source, "SETTLE_SECONDS", -1.0)


def numbers(poll: Poll) -> list[int]:
    assert poll.aspired is not None
    return [found.version for found in poll.aspired]


def put(models: Path, base: Path, *names: str, export: str = "text") -> None:
    for name in names:
        shutil.copytree(models / export, base / name)


@pytest.mark.usefixtures("old_files")
def test_found_versions_and_what_is_known_of_them(models: Path, tmp_path: Path) -> None:
    put(models, tmp_path, "00000123", "7", "7.tmp", "notes", export="half_plus_two")
    poll = FolderSource("m", str(tmp_path)).poll(ALL)
    assert poll.aspired is not None
    files = [p for p in (tmp_path / "7").rglob("*") if p.is_file()]
    size = sum(p.stat().st_size for p in files)
    assert [(f.version, f.path, f.size_bytes) for f in poll.aspired] == [
        (7, str(tmp_path / "7"), size),
        (123, str(tmp_path / "00000123"), size),
    ]
    assert (poll.waiting, poll.warnings) == ({}, [])


@pytest.mark.usefixtures("old_files")
def test_the_policy_chooses_among_complete_versions(models: Path, tmp_path: Path) -> None:
    put(models, tmp_path, "1", "2", "3")
    (tmp_path / "4").mkdir()
    folder = FolderSource("m", str(tmp_path))
    waiting = {4: "the folder is empty"}
    assert numbers(folder.poll(VersionPolicy())) == [3]
    assert numbers(folder.poll(VersionPolicy("latest", 2))) == [2, 3]
    poll = folder.poll(VersionPolicy("specific", versions=(1, 9)))
    assert (numbers(poll), poll.waiting) == ([1], {})
    poll = folder.poll(ALL)
    assert (numbers(poll), poll.waiting) == ([1, 2, 3], waiting)


def test_a_base_path_that_cannot_be_read_says_nothing_of_versions(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    assert FolderSource("m", str(missing)).poll(ALL) == Poll(
        None,
        {},
        [
            f"Could not find base path {missing} for servable m with error NOT_FOUND: {missing} "
            "not found. Create it, or correct the model's base path."
        ],
    )


def test_a_base_path_without_versions_is_empty_and_warned_of(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").touch()
    assert FolderSource("m", str(tmp_path)).poll(ALL) == Poll(
        [],
        {},
        [
            f"No versions of servable m found under base path {tmp_path}. Did you forget to name "
            "your leaf directory as a number (eg. '/1/')?"
        ],
        empty=True,
    )


@pytest.mark.usefixtures("old_files")
def test_specific_versions_that_are_not_there_are_warned_of(models: Path, tmp_path: Path) -> None:
    put(models, tmp_path, "1")
    folder = FolderSource("m", str(tmp_path))
    absent = (
        "Version {} of servable m, which was requested to be served as a 'specific' version in "
        "the servable's version policy, was not found in the file system"
    )
    none = (
        f"No versions of servable m found under base path {tmp_path}. Did you forget to name your "
        "leaf directory as a number (eg. '/1/')?"
    )
    for versions, warnings in (
        ((1,), []),
        ((1, 9), [absent.format(9)]),
        ((8, 9), [absent.format(8), absent.format(9), none]),
        ((), ["No specific versions requested for servable m.", none]),
    ):
        poll = folder.poll(VersionPolicy("specific", versions=versions))
        assert (numbers(poll), poll.warnings) == ([v for v in versions if v == 1], warnings)
        assert not poll.empty


@pytest.mark.usefixtures("old_files")
def test_of_two_folders_with_one_number_the_last_by_name_counts(
    models: Path, tmp_path: Path
) -> None:
    put(models, tmp_path, "1", "01")
    poll = FolderSource("m", str(tmp_path)).poll(ALL)
    assert poll.aspired is not None
    assert [found.path for found in poll.aspired] == [str(tmp_path / "1")]
    assert poll.warnings == [
        "Duplicate version directories detected. Version 1 will be loaded from 1, 01 will be "
        "ignored."
    ]


@pytest.mark.usefixtures("old_files")
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.touch(), "it cannot be read: it is not a folder"),
        (lambda path: path.mkdir(), "the folder is empty"),
        (lambda path: (path / "variables").mkdir(parents=True), "saved_model.pb is missing"),
    ],
)
def test_what_is_no_model_yet_is_waited_for(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    make(tmp_path / "1")
    poll = FolderSource("m", str(tmp_path)).poll(ALL)
    assert (poll.aspired, poll.waiting) == ([], {1: reason})


@pytest.mark.usefixtures("old_files")
@pytest.mark.parametrize("name", ["saved_model.pbtxt", "export.meta", "saved_model.pb"])
def test_what_only_the_loader_can_judge_is_left_to_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / name).write_text("\x05 something else altogether")
    assert numbers(FolderSource("m", str(tmp_path)).poll(ALL)) == [1]


def stages_of_a_copy(whole: Path, to: Path, order: list[Path]) -> Iterator[str]:
    """Copy a tree file by file, each first empty, then in part; all but the last stage lack
    something."""
    to.mkdir()
    yield "an empty folder"
    for path in order:
        target = to / path.relative_to(whole)
        target.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes()
        # A checksum or text file may be cut off anywhere: nothing in it tells its length.
        opaque = path.name in ("fingerprint.pb", "vocabulary.txt")
        for part in () if opaque else (0, 1, 2, len(data) // 2, len(data) - 1):
            target.write_bytes(data[:part])
            yield f"{part} of {len(data)} bytes of {path.name}"
        target.write_bytes(data)
        if path is not order[-1]:
            yield f"no more than {path.name}"


@pytest.mark.usefixtures("old_files")
@pytest.mark.parametrize("export", ["text", "half_plus_two", "digits", "lookup"])
@pytest.mark.parametrize("backwards", [False, True])
def test_no_stage_of_a_copy_is_taken_for_a_whole(
    models: Path, tmp_path: Path, export: str, backwards: bool
) -> None:
    whole = models / export
    files = [p for p in whole.rglob("*") if p.is_file() and p.name != "fingerprint.pb"]
    files.sort(key=lambda p: p.name, reverse=backwards)
    folder = FolderSource("m", str(tmp_path))
    for stage in stages_of_a_copy(whole, tmp_path / "1", files):
        poll = folder.poll(ALL)
        assert (poll.aspired, list(poll.waiting)) == ([], [1]), stage
    assert numbers(folder.poll(ALL)) == [1]


@pytest.mark.usefixtures("old_files")
def test_a_missing_asset_is_named(models: Path, tmp_path: Path) -> None:
    put(models, tmp_path, "1", export="lookup")
    (tmp_path / "1/assets/vocabulary.txt").unlink()
    poll = FolderSource("m", str(tmp_path)).poll(ALL)
    assert poll.waiting == {1: "assets/vocabulary.txt is missing"}


class Clock:
    """Stands in for the module's `time`: the clock that files are compared with, too."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.wall = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.wall


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(source, "time", clock)
    return clock


CHANGING = {1: "its files are still changing"}


def test_a_new_folder_must_rest_before_it_counts(
    models: Path, tmp_path: Path, clock: Clock
) -> None:
    put(models, tmp_path, "1")
    file = tmp_path / "1" / "saved_model.pb"
    clock.wall = file.stat().st_ctime + 0.1
    folder = FolderSource("m", str(tmp_path))
    assert folder.poll(ALL).waiting == CHANGING
    # Two looks in quick succession are no rest.
    clock.now += 0.5
    assert folder.poll(ALL).waiting == CHANGING
    with file.open("ab") as out:
        out.write(b"\x08\x01")
    clock.now += 0.6
    assert folder.poll(ALL).waiting == CHANGING
    clock.now += 1.0
    poll = folder.poll(ALL)
    assert (numbers(poll), poll.waiting) == ([1], {})


def test_a_clock_that_is_set_ahead_does_not_pass_for_rest(
    models: Path, tmp_path: Path, clock: Clock
) -> None:
    put(models, tmp_path, "1")
    clock.wall = (tmp_path / "1" / "saved_model.pb").stat().st_ctime + 0.1
    folder = FolderSource("m", str(tmp_path))
    assert folder.poll(ALL).waiting == CHANGING
    for jump in (3600.0, -7200.0):
        clock.wall += jump
        clock.now += 0.3
        assert folder.poll(ALL).waiting == CHANGING
    clock.now += 0.4
    assert numbers(folder.poll(ALL)) == [1]


def test_a_folder_that_has_long_been_there_counts_at_once(
    models: Path, tmp_path: Path, clock: Clock
) -> None:
    put(models, tmp_path, "1")
    clock.wall = (tmp_path / "1" / "saved_model.pb").stat().st_ctime + 1.1
    assert numbers(FolderSource("m", str(tmp_path)).poll(ALL)) == [1]


def test_copied_modification_times_do_not_pass_for_age(
    models: Path, tmp_path: Path, clock: Clock
) -> None:
    put(models, tmp_path, "1")
    file = tmp_path / "1" / "saved_model.pb"
    os.utime(file, (1.0, 1.0))
    clock.wall = file.stat().st_ctime
    assert FolderSource("m", str(tmp_path)).poll(ALL).waiting == CHANGING


def test_a_version_put_there_by_a_rename_is_trusted_while_it_is_there(
    models: Path, tmp_path: Path, clock: Clock
) -> None:
    put(models, tmp_path, "1")
    clock.wall = (tmp_path / "1" / "saved_model.pb").stat().st_ctime
    folder = FolderSource("m", str(tmp_path))
    folder.trust(1)
    assert numbers(folder.poll(ALL)) == [1]
    shutil.rmtree(tmp_path / "1")
    assert numbers(folder.poll(ALL)) == []
    put(models, tmp_path, "1")
    clock.wall = (tmp_path / "1" / "saved_model.pb").stat().st_ctime
    assert folder.poll(ALL).waiting == CHANGING


@pytest.mark.usefixtures("old_files")
def test_the_fingerprint_changes_with_the_files(models: Path, tmp_path: Path) -> None:
    put(models, tmp_path, "1")
    folder = FolderSource("m", str(tmp_path))

    def found() -> Found:
        poll = folder.poll(ALL)
        assert poll.aspired is not None
        return poll.aspired[0]

    before = found()
    assert found() == before
    (tmp_path / "1" / "more").write_text("x")
    after = found()
    assert after.fingerprint != before.fingerprint
    assert after.size_bytes == before.size_bytes + 1


@pytest.mark.usefixtures("old_files")
def test_a_dangling_link_does_not_count(models: Path, tmp_path: Path) -> None:
    put(models, tmp_path, "1")
    (tmp_path / "1" / "gone").symlink_to(tmp_path / "nowhere")
    assert numbers(FolderSource("m", str(tmp_path)).poll(ALL)) == [1]


def test_a_complete_version_whose_files_change_stays_what_it_was(
    models: Path, tmp_path: Path
) -> None:
    put(models, tmp_path, "1")
    folder = FolderSource("m", str(tmp_path))
    folder.trust(1)
    first = folder.poll(ALL)
    (tmp_path / "1" / "saved_model.pb").unlink()
    again = folder.poll(ALL)
    assert again.aspired == first.aspired
    assert again.warnings == ["Version 1 of servable m stays as it is: saved_model.pb is missing"]
    shutil.rmtree(tmp_path / "1")
    assert numbers(folder.poll(ALL)) == []


@pytest.mark.usefixtures("old_files")
def test_a_folder_inside_that_cannot_be_listed_is_not_taken_for_an_empty_one(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the system's superuser nothing is unreadable, so the refusal is played."""
    put(models, tmp_path, "1", "2", export="half_plus_two")
    folder = FolderSource("m", str(tmp_path))
    served = folder.poll(VersionPolicy())
    assert numbers(served) == [2]
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("/variables"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    # What served goes on as it was: an unreadable folder is not a changed one.
    again = folder.poll(VersionPolicy())
    assert again.aspired == served.aspired
    fresh = FolderSource("m", str(tmp_path)).poll(VersionPolicy())
    hidden = tmp_path / "2" / "variables"
    reason = (
        f"{hidden} cannot be read: Permission denied. Let user {getpass.getuser()}, who runs the "
        "server, read it and enter the folders above it."
    )
    assert (fresh.aspired, fresh.waiting) == ([], {2: reason})
