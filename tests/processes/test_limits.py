"""Limiting a process's memory: by a control group, by rlimit, or by looking at it alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.processes import limits
from workbench.processes.limits import Limit, limit_memory, schedulable_cpus

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
MEBIBYTE = 2**20
NO_GROUPS = Path("/nonexistent")
GONE = 2**22 - 3

GROW = """
import sys
sys.stdin.readline()
try:
    kept = bytearray(int(sys.argv[1]) << 20)
except MemoryError:
    print("no memory", flush=True)
else:
    print("grown", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def grow() -> Iterator[subprocess.Popen[str]]:
    """A process that takes 1500 MiB when it is told to."""
    process = subprocess.Popen(
        [sys.executable, "-c", GROW, "1500"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate(timeout=10)


def asked_to_grow(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_an_rlimit_stops_what_runs_away(
    grow: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_MAPPED_AHEAD_BYTES", 256 * MEBIBYTE)
    found = limit_memory(grow.pid, 100 * MEBIBYTE, 50 * MEBIBYTE, own=NO_GROUPS)
    assert found == Limit(100 * MEBIBYTE, "rlimit")
    assert asked_to_grow(grow) == "no memory"
    found.close()


def test_below_it_nothing_is_stopped(grow: subprocess.Popen[str]) -> None:
    found = limit_memory(grow.pid, 2000 * MEBIBYTE, 50 * MEBIBYTE, own=NO_GROUPS)
    assert found.how == "rlimit"
    assert asked_to_grow(grow) == "grown"


def test_where_neither_can_be_had_it_is_watched(grow: subprocess.Popen[str]) -> None:
    assert limit_memory(grow.pid, MEBIBYTE, None, own=NO_GROUPS) == Limit(MEBIBYTE, "watched")
    assert limit_memory(GONE, MEBIBYTE, 1, own=NO_GROUPS) == Limit(MEBIBYTE, "watched")


def delegated(folder: Path, controllers: str) -> tuple[Path, Path]:
    """A hierarchy in which we are in `a/b`, with these controllers for groups below."""
    own = folder / "cgroup"
    own.write_text("1:name=systemd:/x\n0::/a/b\n")
    parent = folder / "fs" / "a" / "b"
    parent.mkdir(parents=True)
    (parent / "cgroup.subtree_control").write_text(controllers)
    return folder / "fs", own


def test_a_control_group_where_memory_is_delegated(tmp_path: Path) -> None:
    root, own = delegated(tmp_path, "cpu memory\n")
    found = limit_memory(4711, MEBIBYTE, 1, root, own)
    group = root / "a" / "b" / "workbench-4711"
    assert found == Limit(MEBIBYTE, "cgroup", group)
    assert (group / "memory.max").read_text() == str(MEBIBYTE)
    assert (group / "cgroup.procs").read_text() == "4711"
    # The system's own files in it go with it; these are a test's.
    for file in group.iterdir():
        file.unlink()
    found.close()
    assert not group.exists()
    found.close()


def test_no_control_group_where_memory_is_not_delegated(tmp_path: Path) -> None:
    root, own = delegated(tmp_path, "cpu\n")
    assert limit_memory(GONE, MEBIBYTE, None, root, own) == Limit(MEBIBYTE, "watched")
    assert [path.name for path in (root / "a" / "b").iterdir()] == ["cgroup.subtree_control"]


def test_a_group_that_does_not_take_the_process_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, own = delegated(tmp_path, "memory\n")

    def refuse(path: Path, text: str) -> int:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "write_text", refuse)
    assert limit_memory(GONE, MEBIBYTE, None, root, own).how == "watched"
    assert not (root / "a" / "b" / f"workbench-{GONE}").exists()


def test_without_affinity_all_cpus_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert schedulable_cpus() == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert schedulable_cpus() == 1
