"""Reading memory from the system: of a process, exactly or cheaply, and of the machine.

`smaps_rollup` gives a process's proportional (PSS) and private (USS) memory; reading it walks
its page tables. `statm` is cheap, and does not know what is shared.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from workbench.core.memory.ledger import Machine

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_CGROUPS = Path("/sys/fs/cgroup")


class Reading(NamedTuple):
    """One exact look at a process, in bytes: its share of all memory that it maps (`pss`), what
    it alone maps (`uss`), and how much of its share is shared memory (`shmem`)."""

    pss: int
    uss: int
    shmem: int = 0


def read_exact(pid: int) -> Reading | None:
    """The memory of a process; None if it is gone or may not be read."""
    if sys.platform != "linux":
        import psutil

        try:
            info = psutil.Process(pid).memory_full_info()
        except psutil.Error:
            return None
        return Reading(info.uss, info.uss)
    fields = _kilobytes(f"/proc/{pid}/smaps_rollup")
    if "Pss" not in fields:
        return None
    return Reading(
        pss=fields["Pss"],
        uss=fields["Private_Clean"] + fields["Private_Dirty"],
        shmem=fields.get("Pss_Shmem", 0),
    )


class Cheap(NamedTuple):
    """What `statm` says, in bytes: resident memory, and how much of it is files or shared."""

    resident: int
    shared: int

    @property
    def private(self) -> int:
        """Without regard to memory that forks share."""
        return self.resident - self.shared


def read_cheap(pid: int) -> Cheap | None:
    """The resident memory of a process; None if it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            fields = file.read().split()
    except OSError:
        return None
    return Cheap(int(fields[1]) * _PAGE, int(fields[2]) * _PAGE)


class Peak(NamedTuple):
    """In bytes: the peak of a process's resident memory, its resident memory of its own and of
    mapped files now, and the size of its private writable mappings (which RLIMIT_DATA limits)."""

    highest: int
    anonymous: int
    files: int
    data: int


def read_peak(pid: int) -> Peak | None:
    """The high-water mark of a process; None if it is gone, or if the system keeps no mark."""
    fields = _kilobytes(f"/proc/{pid}/status")
    wanted = "VmHWM", "RssAnon", "RssFile", "VmData"
    return Peak(*(fields[name] for name in wanted)) if fields.keys() >= set(wanted) else None


def read_machine(cgroups: Path = _CGROUPS, proc: Path = Path("/proc")) -> Machine:
    """How much memory this process may use, and how much of it is free.

    The limit is the machine's, or that of the process's control group if that is lower. The page
    cache counts as free, because the system takes it back when memory is needed.
    """
    if sys.platform != "linux":
        import psutil

        memory = psutil.virtual_memory()
        return Machine("host", memory.total, memory.available, "machine")
    fields = _kilobytes(str(proc / "meminfo"))
    total = fields.get("MemTotal", 0)
    tightest = Machine("host", total, fields.get("MemAvailable", fields.get("MemFree", 0)))
    for limit, used, name in _groups(cgroups, proc):
        if limit < tightest.total:
            tightest = Machine("host", limit, max(0, limit - used), f"cgroup {name}")
    return tightest


def _groups(cgroups: Path, proc: Path) -> Iterator[tuple[int, int, str]]:
    """Limit, use without the page cache, and name of each memory control group of this process,
    from its own up to the root; groups without a limit are left out."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, names, cached = cgroups, ("memory.max", "memory.current"), "inactive_file"
        elif "memory" in controllers.split(","):
            root = cgroups / "memory"
            names = "memory.limit_in_bytes", "memory.usage_in_bytes"
            cached = "total_inactive_file"
        else:
            continue
        folder = root / path.lstrip("/")
        while True:
            limit, used = (_number(folder / name) for name in names)
            if limit is not None and used is not None:
                inactive = _statistics(folder / "memory.stat").get(cached, 0)
                yield limit, max(0, used - inactive), "/" + str(folder.relative_to(root))
            if folder == root:
                break
            folder = folder.parent


def _number(path: Path) -> int | None:
    """The number in a file; None if it holds none (``max``) or does not exist."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _statistics(path: Path) -> dict[str, int]:
    try:
        rows = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) == 2}


def _kilobytes(path: str) -> dict[str, int]:
    """The `Name: number kB` lines of a file, in bytes; empty if it cannot be read."""
    try:
        with open(path, "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        if line.endswith(b" kB"):
            name, _, number = line[:-3].partition(b":")
            found[name.decode()] = int(number) * 1024
    return found
