"""Measures, fills and drops the page cache of a folder's files.

A version that was just written or loaded is read from the page cache; after a reboot, or when
memory is short, it is read from the disk. Only these files' pages are dropped.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_PIECE_BYTES = 2**20


def evict(folder: str | os.PathLike[str]) -> None:
    """Write the folder's files to the disk, and drop their pages from the page cache.

    The kernel takes this as advice: pages that a process has mapped stay (see `cached_share`).

    Raises:
        OSError: a file cannot be read.
    """
    for path in _files(folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            # Pages that are not on the disk yet cannot be dropped.
            os.fsync(descriptor)
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def bring_in(folder: str | os.PathLike[str]) -> None:
    """Read the folder's files into the page cache, as far as there is room.

    Raises:
        OSError: a file cannot be read.
    """
    for path in _files(folder):
        with open(path, "rb", buffering=0) as file:
            while file.read(_PIECE_BYTES):
                pass


def cached_share(folder: str | os.PathLike[str]) -> float | None:
    """The share of the folder's file bytes in the page cache, from 0 to 1; None if unknown. No page
    is touched.

    Raises:
        OSError: a file cannot be read.
    """
    resident = pages = 0
    for path in _files(folder):
        found = _resident_pages(path)
        if found is None:
            return None
        resident += found[0]
        pages += found[1]
    return resident / pages if pages else None


def _files(folder: str | os.PathLike[str]) -> Iterator[Path]:
    # A version's folder may be a link.
    return (path for path in sorted(Path(folder).resolve().rglob("*")) if path.is_file())


def _resident_pages(path: Path) -> tuple[int, int] | None:
    """A file's pages in memory, and all of its pages (`mincore`)."""
    if not sys.platform.startswith("linux"):
        return None
    size = path.stat().st_size
    if not size:
        return 0, 0
    pages = -(-size // mmap.PAGESIZE)
    states = (ctypes.c_ubyte * pages)()
    # ctypes gives the address only of a writable mapping; this private one is never written to.
    with open(path, "rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY) as view:
        start = ctypes.c_char.from_buffer(view)
        failed = ctypes.CDLL(None).mincore(
            ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size), states
        )
        del start
    return None if failed else (sum(state & 1 for state in bytes(states)), pages)
