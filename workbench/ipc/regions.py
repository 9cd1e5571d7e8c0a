"""Anonymous shared memory between two processes: a region has no name, so nothing can leak.

One side creates a region and passes its descriptor over a socket; both map it. The side that writes
grows it, and the other side maps it again when it reads past what it had mapped. A region never
shrinks (it is sealed where the system supports that), so a misbehaving peer cannot turn the other
side's reads into bus errors. `release` gives its *pages* back.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import tempfile

from workbench.ipc import background_free

if sys.platform == "linux":
    import fcntl

_PAGE = mmap.PAGESIZE


def anonymous_file(label: str) -> int:
    """A descriptor of an unnamed, growable file in memory (a deleted file elsewhere)."""
    if sys.platform == "linux":
        fd = os.memfd_create(label, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        return fd
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Region:
    """A mapping of an anonymous file that follows its growth. It owns the descriptor, and closes it
    when it is forgotten.

    A `view` stays valid when the region grows or is closed: a mapping lives as long as its views.
    """

    __slots__ = ("_map", "_view", "fd", "size")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.size = 0
        self._map: mmap.mmap | None = None
        self._view = memoryview(b"")

    @classmethod
    def create(cls, label: str) -> Region:
        """An empty region in a new anonymous file; `label` shows up in `/proc`."""
        return cls(anonymous_file(label))

    def grow(self, nbytes: int) -> None:
        """Make room for at least `nbytes`, for writing."""
        if nbytes <= self.size:
            return
        # Doubling keeps the number of mappings logarithmic in the largest batch seen.
        size = max(nbytes, 2 * self.size, 16 * _PAGE)
        size = -(-size // _PAGE) * _PAGE
        if os.fstat(self.fd).st_size < size:
            os.ftruncate(self.fd, size)
        self._remap(size)

    def view(self, offset: int, nbytes: int) -> memoryview:
        """`nbytes` from `offset`, writable, without copying.

        Raises:
            ValueError: the region, as large as the other side has made it, ends before that.
        """
        end = offset + nbytes
        if offset < 0 or nbytes < 0:
            raise ValueError(f"shared region: no bytes at {offset}, {nbytes} long")
        if end > self.size:
            size = os.fstat(self.fd).st_size
            if end > size:
                raise ValueError(f"shared region of {size} bytes has no bytes at {offset}..{end}")
            self._remap(size)
        return self._view[offset:end]

    def release(self) -> None:
        """Give the pages back to the system; the contents read as zeros afterwards."""
        if self._map is not None and sys.platform == "linux":
            self._map.madvise(mmap.MADV_REMOVE)

    def close(self) -> None:
        """Give the descriptor and the mapping back; may be called again. Views hold until the last
        of them goes."""
        self._view = memoryview(b"")
        self._map = None
        fd, self.fd = self.fd, -1
        if fd >= 0:
            background_free.close(fd)

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            self.close()

    def _remap(self, size: int) -> None:
        # The old mapping is not closed here: views of it may be in use, and it is unmapped
        # when the last of them goes.
        self._map = mmap.mmap(self.fd, size)
        self._view = memoryview(self._map)
        self.size = size
