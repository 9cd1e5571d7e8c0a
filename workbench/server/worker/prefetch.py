"""Reads a version's files into the page cache before they are needed.

Restoring copies variables out of the checkpoint's files. If these are in the page cache, it does
not wait for a disk, so a staged version reads them beforehand. The page cache is not counted as
memory of a process, and the system reclaims it when a process needs memory.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import NamedTuple

from workbench.ipc.low_priority import lower_priority

_CHUNK_BYTES = 1024 * 1024
# The lowest priority. At this niceness the disk, too, serves other processes first.
_NICENESS = 19


class Cached(NamedTuple):
    """How many of a version's bytes were read, of how many; `skipped` says why not all."""

    read_bytes: int
    total_bytes: int
    skipped: str | None = None


class PageCacheReader:
    """Reads the variables and assets of the version in the folder `path`, in a thread."""

    def __init__(self, path: str) -> None:
        self._result = Cached(0, 0)
        self._path = path
        self._thread = threading.Thread(target=self._read, name="page-cache", daemon=True)
        self._thread.start()

    def result(self) -> Cached:
        """Wait until everything has been read."""
        self._thread.join()
        return self._result

    def _read(self) -> None:
        lower_priority(_NICENESS)
        done, total = 0, 0
        try:
            files = list(_files(self._path))
            total = sum(os.path.getsize(file) for file in files)
            available = available_bytes()
            if available is not None and total > available // 2:
                # It would evict pages that others need, or its own.
                reason = f"{total} bytes are more than half of the {available} available"
                self._result = Cached(0, total, reason)
                return
            buffer = memoryview(bytearray(_CHUNK_BYTES))
            for file in files:
                for size in _pieces(file, buffer):
                    done += size
            self._result = Cached(done, total)
        except OSError as error:
            # Loading will report the error.
            self._result = Cached(done, total, f"{error.filename}: {error.strerror}")


def _files(path: str) -> Iterator[str]:
    """The files that hold what is restored: variables and assets."""
    for folder, beginning in (("variables", "variables."), ("assets", "")):
        for root, _, names in os.walk(os.path.join(path, folder)):
            for name in sorted(names):
                if name.startswith(beginning):
                    yield os.path.join(root, name)


def _pieces(file: str, buffer: memoryview) -> Iterator[int]:
    with open(file, "rb", buffering=0) as opened:
        if hasattr(os, "posix_fadvise"):
            # A hint only: the system may read ahead less than this, or nothing.
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
        while size := opened.readinto(buffer):
            yield size


def available_bytes() -> int | None:
    """Memory that the system could give out without swapping; None where it does not say."""
    try:
        with open("/proc/meminfo") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None
