"""What a server keeps on disk: bounded, private, and never in the way where the disk is full."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from workbench.core.events import Event
from workbench.server.supervision import keeping
from workbench.server.supervision.keeping import DesiredState, EventsFile, bound_log, say


def event(seq: int, **data: object) -> Event:
    return Event(seq, "state", float(seq), 1e9 + seq, "m", 1, data or None)


def lines(path: Path) -> list[int]:
    return [json.loads(line)["seq"] for line in path.read_text().splitlines() if line]


def test_events_are_lines_that_only_their_user_can_read(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    told: list[str] = []
    file = EventsFile(path, told.append)
    file.add(event(1, state="LOADING"))
    file.add(event(2))
    file.close()
    file.add(event(3))  # the server is at its end: nobody waits for it
    assert lines(path) == [1, 2]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    EventsFile(path, told.append).close()
    assert (lines(path), told) == ([1, 2], [])


def test_old_events_make_room_for_new_ones(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    size = len(json.dumps(event(1).to_json(), separators=(",", ":"))) + 1
    told: list[str] = []
    file = EventsFile(path, told.append, limit_bytes=3 * size)
    for seq in range(1, 9):
        file.add(event(seq))
    file.close()
    assert lines(path) == [7, 8]
    assert lines(tmp_path / "events.jsonl.1") == [4, 5, 6]
    assert {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()} == {0o600}
    assert told == []


def test_a_full_disk_is_told_once_and_what_it_cost_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    told: list[str] = []
    file = EventsFile(path, told.append)
    good = os.dup(file._fd)
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        os.dup2(full, file._fd)
        for seq in range(1, 4):
            file.add(event(seq))
        assert (told, file.dropped) == (
            [
                f"Events cannot be written to {path}: No space left on device. The server "
                "continues, and keeps new events in memory only."
            ],
            3,
        )
        os.dup2(good, file._fd)
        file.add(event(4))
        file.add(event(5))
    finally:
        os.close(full)
        os.close(good)
        file.close()
    assert told[1:] == [f"Events are written to {path} again; 3 are missing there"]
    assert (lines(path), file.dropped) == ([4, 5], 0)


def test_half_a_line_does_not_spoil_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    told: list[str] = []
    file = EventsFile(path, told.append)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:10]))
        file.add(event(1))
    file.add(event(2))
    file.close()
    torn, whole = path.read_text().splitlines()
    assert (len(torn), json.loads(whole)["seq"]) == (10, 2)
    assert [message.split(":")[0] for message in told] == [
        f"Events cannot be written to {path}",
        f"Events are written to {path} again; 1 are missing there",
    ]


def test_a_log_is_cut_under_those_who_write_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "_LOG_TAIL_BYTES", 10)
    path = tmp_path / "server.log"
    fd = keeping.open_private(path)
    os.write(fd, b"0123456789" * 3)
    bound_log(path, 30)
    assert path.stat().st_size == 30
    os.write(fd, b"the last one")
    bound_log(path, 30)
    os.write(fd, b"a new line")
    os.close(fd)
    assert path.read_bytes() == b"a new line"
    assert (tmp_path / "server.log.1").read_bytes() == b"e last one"
    bound_log(tmp_path / "nowhere", 30)


def test_a_log_is_cut_also_where_there_is_no_room_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keeping.paths, "write_private", full)
    path = tmp_path / "server.log"
    path.write_bytes(b"x" * 31)
    bound_log(path, 30)
    assert path.read_bytes() == b""


def test_a_line_for_a_full_disk_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stderr", full)
        say("nobody will read this")
        monkeypatch.undo()
        with pytest.raises(OSError, match="No space left on device"):
            full.close()


def test_settings_that_cannot_be_kept_are_written_as_soon_as_they_can(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    path = folder / "desired.json"
    told: list[str] = []
    desired = DesiredState(path, told.append)
    assert desired.read() == {}
    desired.write({"models": [1]})
    desired.write({"models": [2]})
    desired.retry()
    assert told == [
        f"The server's settings could not be written to {path}: No such file or directory. They "
        "are in force, and are written as soon as possible; a server process that starts before "
        "then has the older ones."
    ]
    folder.mkdir()
    desired.retry()
    desired.retry()
    assert desired.read() == {"models": [2]}
    assert told[1:] == [f"The server's settings have been written to {path}"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
