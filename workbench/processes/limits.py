"""The processors that a process may use, and a limit of its memory.

Memory is limited by a control group if we may make one, else by an rlimit. Neither is available
everywhere. An rlimit counts mappings, not memory: it leaves room for stacks and fragments, and
stops only a process that grows without bound. So the caller must also watch the memory of the
process; `Limit.how` says which limit the system enforces.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

CGROUP = "cgroup"
RLIMIT = "rlimit"
WATCHED = "watched"

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
# The allocator's arenas and the threads' stacks are mapped, but mostly never used.
_MAPPED_AHEAD_BYTES = 256 * 2**20 + 16 * 2**20 * (os.cpu_count() or 1)


def schedulable_cpus() -> int:
    """CPUs that this process may use (TensorFlow's `MaxParallelism`)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Limit:
    """A limit in force; `how` is ``cgroup``, ``rlimit``, or ``watched`` (not by the system)."""

    bytes: int
    how: str
    group: Path | None = None

    def close(self) -> None:
        """Remove the control group after its process has ended."""
        if self.group is not None:
            with contextlib.suppress(OSError):
                self.group.rmdir()


def limit_memory(
    pid: int, limit: int, data: int | None, root: Path = _ROOT, own: Path = _OWN
) -> Limit:
    """Limit the memory that a process may take from now on.

    Args:
        limit: its private memory, in bytes.
        data: its private writable mappings now (`VmData`), in bytes; None: unknown.
    """
    group = _make_group(pid, limit, root, own)
    if group is not None:
        return Limit(limit, CGROUP, group)
    if data is not None and _set_rlimit(pid, data + limit + _MAPPED_AHEAD_BYTES):
        return Limit(limit, RLIMIT)
    return Limit(limit, WATCHED)


def _make_group(pid: int, limit: int, root: Path, own: Path) -> Path | None:
    """A control group (version 2) below our own with the process in it, or None if the memory
    controller is not delegated to us."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    paths = [line.split(":", 2)[2] for line in lines if line.startswith("0::")]
    if not paths:
        return None
    parent = root / paths[0].lstrip("/")
    group = parent / f"workbench-{pid}"
    try:
        # Without this controller, a child group has no `memory.max`.
        if "memory" not in (parent / "cgroup.subtree_control").read_text().split():
            return None
        group.mkdir()
    except OSError:
        return None
    try:
        (group / "memory.max").write_text(str(limit))
        (group / "cgroup.procs").write_text(str(pid))
    except OSError:
        Limit(limit, CGROUP, group).close()
        return None
    return group


def _set_rlimit(pid: int, size: int) -> bool:
    if sys.platform != "linux":
        return False
    import resource

    try:
        resource.prlimit(pid, resource.RLIMIT_DATA, (size, size))
    except (OSError, ValueError):
        return False
    return True
