"""Request and answer bodies: small ones are `bytes`, large ones live outside the heap.

A large body is written into a shared region as it arrives. Another process gets its descriptor, so
no step between the socket and the decoder joins or copies the body as one Python object.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator

from workbench.ipc.regions import Region

_PIECE_BYTES = 256 * 1024
_GZIP = 16 + zlib.MAX_WBITS  # zlib's way of asking for a gzip header and trailer


class Spool:
    """One body of `size` bytes in a shared region, which it owns. `close()` may be called several
    times, and a spool that is forgotten closes itself. A `view()` stays valid after `close()`.
    """

    __slots__ = ("_region", "size")

    def __init__(self, region: Region, size: int) -> None:
        """Adopt a region that holds `size` bytes from offset 0."""
        self._region = region
        self.size = size

    @classmethod
    def create(cls, data: bytes = b"") -> Spool:
        """A new one that holds `data`."""
        spool = cls(Region.create("workbench-body"), 0)
        spool.append(data)
        return spool

    @property
    def fd(self) -> int:
        """The descriptor; raises ValueError once the spool is closed."""
        if self.closed:
            raise ValueError("This body was closed.")
        return self._region.fd

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._region.fd < 0

    def append(self, data: bytes | memoryview) -> None:
        """Add `data` (contiguous bytes) at the end.

        Raises:
            OSError: memory has run out. (A write to mapped memory would end the process instead.)
        """
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self.fd, rest, self.size)
            self.size += written
            rest = rest[written:]

    def view(self) -> memoryview:
        """The whole body, read-only and without a copy; raises ValueError once it is closed."""
        assert self.fd >= 0
        return self._region.view(0, self.size).toreadonly()

    def close(self) -> None:
        """Give the memory back; views stay valid."""
        self._region.close()


class BodyTooLarge(Exception):
    """More bytes arrived than are allowed."""


class BodyWriter:
    """Collects one body piece by piece: on the heap at first, in a `Spool` once it is large."""

    __slots__ = ("_limit", "_pieces", "_size", "_threshold", "spool")

    def __init__(self, limit: int, threshold: int, expected: int = 0) -> None:
        """Take up to `limit` bytes; above `threshold`, or at once if so many are `expected`,
        they go to a spool."""
        self._limit = limit
        self._threshold = threshold
        self._pieces: list[bytes] = []
        self._size = 0
        self.spool = Spool.create() if expected > threshold else None

    def add(self, piece: bytes) -> None:
        """Raises BodyTooLarge beyond the limit, OSError when there is no memory for it."""
        self._size += len(piece)
        if self._size > self._limit:
            raise BodyTooLarge
        if self.spool is not None:
            self.spool.append(piece)
            return
        self._pieces.append(piece)
        if self._size > self._threshold:
            self.spool = Spool.create()
            for earlier in self._pieces:
                self.spool.append(earlier)
            self._pieces.clear()

    def finish(self) -> bytes | Spool:
        """The whole body; the caller owns the spool from here on."""
        if self.spool is None:
            return b"".join(self._pieces)
        spool, self.spool = self.spool, None
        return spool

    def discard(self) -> None:
        """Drop what has been collected."""
        self._pieces.clear()
        if self.spool is not None:
            self.spool.close()


def inflate(body: bytes | Spool, limit: int, threshold: int) -> bytes | Spool:
    """The content of a gzip body, in bounded pieces; `body` is closed.

    What is not exactly one complete gzip member of at most `limit` bytes inflates to an empty
    body, as in TensorFlow Serving (`evhttp_request.cc`), whose parser then says that the
    document is empty. It may take a second for a large body: not for an event loop.

    Raises:
        OSError: there is no memory for the result.
    """
    writer = BodyWriter(limit, threshold)
    inflater = zlib.decompressobj(_GZIP)
    try:
        for piece in _pieces_of(body):
            if inflater.eof:
                return b""  # something follows the end: do not collect it in `unused_data`
            while piece:
                writer.add(inflater.decompress(piece, _PIECE_BYTES))
                piece = inflater.unconsumed_tail
        writer.add(inflater.flush())
        if inflater.eof and not inflater.unused_data:
            return writer.finish()
        return b""
    except (zlib.error, BodyTooLarge):
        return b""
    finally:
        writer.discard()
        if isinstance(body, Spool):
            body.close()


def _pieces_of(body: bytes | Spool) -> Iterator[bytes]:
    if isinstance(body, bytes):
        yield body
        return
    for offset in range(0, body.size, _PIECE_BYTES):
        yield os.pread(body.fd, min(_PIECE_BYTES, body.size - offset), offset)
