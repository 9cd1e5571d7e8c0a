"""Reading the machine's memory: the machine's own, or the control group's where that is less."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from workbench.core.memory.ledger import Machine
from workbench.server.engine.memory.memory_reading import read_machine, read_peak

MEBIBYTE = 1024 * 1024
GONE = 2**22 - 3
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def house(folder: Path, groups: str, files: dict[str, str]) -> tuple[Path, Path]:
    """A /sys/fs/cgroup and a /proc with 1000 MiB, of which 600 are free."""
    proc, cgroups = folder / "proc", folder / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(f"MemTotal: {1000 << 10} kB\nMemAvailable: {600 << 10} kB\n")
    (proc / "self" / "cgroup").write_text(groups)
    for name, text in files.items():
        path = cgroups / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return cgroups, proc


def test_the_machine_where_no_group_has_a_limit(tmp_path: Path) -> None:
    files = {"a/memory.max": "max\n", "a/memory.current": "5\n"}
    place = house(tmp_path, "0::/a\n", files)
    assert read_machine(*place) == Machine("host", 1000 * MEBIBYTE, 600 * MEBIBYTE, "machine")


def test_the_tightest_group_of_version_two(tmp_path: Path) -> None:
    files = {
        "a/memory.max": f"{200 * MEBIBYTE}\n",
        "a/memory.current": f"{150 * MEBIBYTE}\n",
        "a/memory.stat": f"anon 7\ninactive_file {30 * MEBIBYTE}\n",
        "a/b/memory.max": f"{300 * MEBIBYTE}\n",
        "a/b/memory.current": f"{10 * MEBIBYTE}\n",
    }
    place = house(tmp_path, "0::/a/b\n", files)
    # What files are cached in can be had back.
    assert read_machine(*place) == Machine("host", 200 * MEBIBYTE, 80 * MEBIBYTE, "cgroup /a")


def test_the_group_of_version_one(tmp_path: Path) -> None:
    files = {
        "memory/a/memory.limit_in_bytes": f"{100 * MEBIBYTE}\n",
        "memory/a/memory.usage_in_bytes": f"{120 * MEBIBYTE}\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/memory.usage_in_bytes": "1\n",
    }
    place = house(tmp_path, "4:cpu,memory:/a\n3:cpuset:/\n", files)
    assert read_machine(*place) == Machine("host", 100 * MEBIBYTE, 0, "cgroup /a")


def test_without_any_group(tmp_path: Path) -> None:
    cgroups, proc = house(tmp_path, "", {})
    (proc / "self" / "cgroup").unlink()
    assert read_machine(cgroups, proc).scope == "machine"


def test_this_machine() -> None:
    machine = read_machine()
    assert 0 < machine.free <= machine.total <= psutil.virtual_memory().total


def test_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    machine = read_machine()
    assert machine.total == psutil.virtual_memory().total
    assert 0 < machine.free <= machine.total


def test_the_peak_of_a_process() -> None:
    code = "b = b'x' * (64 << 20); del b; print(flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        peak = read_peak(process.pid)
        assert peak is not None
        assert peak.highest - peak.anonymous - peak.files > 60 * MEBIBYTE
        assert peak.data > 0
    finally:
        process.kill()
        process.communicate(timeout=10)
    assert read_peak(GONE) is None
    assert read_peak(os.getpid()) is not None
