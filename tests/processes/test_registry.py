from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from workbench.core.status import Code, ServingError
from workbench.processes import paths, registry
from workbench.processes.lifetime import ProcessId

GONE = ProcessId(2**22 + 1, 1.0)
"""No process: beyond the largest pid."""


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runtime"
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder))
    return folder


def entry(name: str = "digits", **settings: Any) -> registry.Entry:
    """An entry of a server that this very process looks after."""
    folder = paths.server_folder(name)
    paths.make_private(folder)
    (folder / "desired.json").write_text("{}")
    (folder / "control.sock").write_text("")
    values: dict[str, Any] = {
        "supervisor": ProcessId.me(),
        "server": ProcessId.me(),
        "host": "127.0.0.1",
        "port": 8501,
        "token": "secret",
        "socket": str(folder / "control.sock"),
        "folder": str(folder),
        "created": 1.5,
    }
    return registry.Entry(name, **{**values, **settings})


@contextmanager
def process() -> Iterator[ProcessId]:
    """Some living process, which ends with the block."""
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        identity = ProcessId.of(child.pid)
        assert identity is not None
        yield identity


def left(runtime: Path) -> list[str]:
    return sorted(path.name for path in runtime.iterdir())


def test_an_entry_reads_as_it_was_written(runtime: Path) -> None:
    written = entry(owner=ProcessId(7, 8.0), kernel_id="k")
    registry.write(written)
    path = runtime / "workbench-digits.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert registry.read("digits") == written
    assert registry.find("digits") == written
    assert registry.entries() == [written]
    assert registry.Entry.from_bytes(path.read_bytes()) == written


def test_its_address_and_what_it_shows() -> None:
    one = entry()
    assert one.url == "http://127.0.0.1:8501"
    assert replace(one, host="::1").url == "http://[::1]:8501"
    assert one.address == one.url
    assert replace(one, port=0, grpc_port=8500).address == "127.0.0.1:8500"
    assert replace(one, port=0).address == "no port"
    assert repr(one) == f"Entry(digits at http://127.0.0.1:8501, server pid {one.server.pid})"


def test_removing_leaves_nothing(runtime: Path, tmp_path: Path) -> None:
    registry.write(entry())
    registry.remove(entry())
    assert left(runtime) == []
    # A socket that did not fit into the folder has one of its own.
    elsewhere = tmp_path / "wb-1234"
    elsewhere.mkdir()
    (elsewhere / "control.sock").write_text("")
    apart = entry(socket=str(elsewhere / "control.sock"))
    registry.write(apart)
    registry.remove(apart)
    assert left(runtime) == []
    assert not elsewhere.exists()
    # Nothing is there any more: nothing happens.
    registry.remove(apart)


def test_a_server_without_processes_is_stale_and_removed(runtime: Path) -> None:
    dead = entry(supervisor=GONE, server=GONE)
    registry.write(dead)
    wanted = '{"models": [{"name": "digits", "base_path": "/models/digits"}]}'
    (Path(dead.folder) / "desired.json").write_text(wanted)
    assert registry.read("digits") is None
    # That it was killed, and what it served, is known until there is another of its name.
    assert left(runtime) == ["workbench-killed"]
    models = ({"name": "digits", "base_path": "/models/digits"},)
    assert registry.killed() == [registry.Killed(dead, models)]
    note = paths.killed_path("digits")
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    registry.write(entry())
    assert registry.killed() == []


def test_a_note_of_a_killed_server_is_kept_for_a_day(runtime: Path) -> None:
    registry.note_killed(entry())
    assert registry.read_killed("digits") == registry.Killed(entry(), ())
    registry.forget_killed("digits")
    assert registry.read_killed("digits") is None
    registry.note_killed(entry())
    os.utime(paths.killed_path("digits"), (0, 0))
    assert registry.killed() == []
    paths.killed_path("digits").write_text("{")
    assert registry.killed() == []
    assert list(paths.killed_folder().iterdir()) == []


def test_a_server_that_is_just_ending_keeps_its_files(runtime: Path) -> None:
    """Its supervisor is dead, but the server process cleans up by itself."""
    registry.write(entry(supervisor=GONE))
    assert registry.read("digits") is None
    assert left(runtime) == ["workbench-digits", "workbench-digits.json"]


def test_a_server_whose_process_is_being_replaced_is_there() -> None:
    registry.write(entry(server=GONE))
    assert registry.read("digits") == entry(server=GONE)


def test_a_pid_that_was_used_again_is_another_process(runtime: Path) -> None:
    me = ProcessId.me()
    earlier = ProcessId(me.pid, me.started - 1)
    registry.write(entry(supervisor=earlier, server=earlier))
    assert registry.entries() == []
    assert left(runtime) == ["workbench-killed"]


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"5", b"null", b"{}", b'{"name": "digits"}',
             b'{"supervisor": 5, "server": 5, "owner": 5}']
)  # fmt: skip
def test_what_is_no_entry_is_removed(runtime: Path, text: bytes) -> None:
    path = paths.runtime_folder() / "workbench-digits.json"
    path.write_bytes(text)
    assert registry.read("digits") is None
    assert left(runtime) == []


def test_an_entry_of_a_later_release_is_no_reason_to_fail(runtime: Path) -> None:
    data = orjson.loads(entry().to_bytes())
    (runtime / "workbench-digits.json").write_bytes(orjson.dumps({**data, "colour": "red"}))
    assert registry.entries() == []


def test_entries_are_in_the_order_of_their_start() -> None:
    for name, created in (("a", 3.0), ("b", 1.0), ("c.d", 2.0)):
        registry.write(entry(name, created=created))
    registry.write(entry("stale", supervisor=GONE, server=GONE))
    assert [e.name for e in registry.entries()] == ["b", "c.d", "a"]


def test_a_name_that_is_not_running_is_told_beside_those_that_are() -> None:
    with pytest.raises(ServingError) as refused:
        registry.find("digits")
    assert refused.value == ServingError(
        Code.NOT_FOUND, "No server named 'digits' is running (running: none)"
    )
    registry.write(entry("a", created=2.0))
    registry.write(entry("b", created=1.0))
    with pytest.raises(ServingError) as refused:
        registry.find("digits")
    assert refused.value == ServingError(
        Code.NOT_FOUND, "No server named 'digits' is running (running: b, a)"
    )


def test_a_name_that_cannot_be_is_refused() -> None:
    with pytest.raises(ServingError, match=r"Server name .\.\./x. cannot be used"):
        registry.find("../x")
