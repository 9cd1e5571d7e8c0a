"""Reads a checkpoint's index: which tensors its data files must hold, and how many bytes.

`variables.index` is a sorted string table (LevelDB's table format) from a tensor's name to its
`BundleEntryProto`. It tells how large each data file is once it is complete, and how much memory
the weights will take, without TensorFlow and without touching the data.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from workbench.formats.saved_model.lack import Lack, incomplete, missing
from workbench.formats.wire.protobuf import MalformedMessage, fields, read_varint

_FOOTER_BYTES = 48
_MAGIC = 0xDB4775248B80FB57
_UNCOMPRESSED = 0


class DamagedIndex(ValueError):
    """The file is not a checkpoint index, or is incomplete."""


class CompressedIndex(ValueError):
    """The index is compressed (Snappy, by some writers) and is not read here."""


@dataclass(frozen=True, slots=True)
class CheckpointIndex:
    """What an index promises.

    Attributes:
        shard_bytes: for each data file, by its number, the bytes that it must at least hold.
        shards: how many data files there are.
        weight_bytes: the sum of all tensors' bytes.
    """

    shard_bytes: dict[int, int]
    shards: int
    weight_bytes: int


def read_index(path: str) -> CheckpointIndex:
    """Read `variables.index`.

    Raises:
        DamagedIndex: it is incomplete or not such a file.
        CompressedIndex: it is compressed, and seems complete.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read()
    try:
        return _parse(data)
    except (MalformedMessage, IndexError, struct.error) as error:
        raise DamagedIndex(f"{path}: {error}") from error


def _parse(data: bytes) -> CheckpointIndex:
    if len(data) < _FOOTER_BYTES or struct.unpack("<Q", data[-8:])[0] != _MAGIC:
        raise DamagedIndex("it does not end like a table")
    footer = data[-_FOOTER_BYTES:]
    _, _, at = _handle(footer, 0)
    offset, size, _ = _handle(footer, at)
    shard_bytes: dict[int, int] = {}
    shards = 1
    weights = 0
    for _key, handle in _entries(_block(data, offset, size)):
        block_offset, block_size, _ = _handle(handle, 0)
        for key, value in _entries(_block(data, block_offset, block_size)):
            entry = {n: v for n, v in fields(value) if isinstance(v, int)}
            if key == b"":
                shards = entry.get(1, 1)
                continue
            shard, start, length = entry.get(3, 0), entry.get(4, 0), entry.get(5, 0)
            weights += length
            shard_bytes[shard] = max(shard_bytes.get(shard, 0), start + length)
    return CheckpointIndex(shard_bytes, shards, weights)


def _block(data: bytes, offset: int, size: int) -> bytes:
    if offset + size >= len(data):
        raise DamagedIndex("a block lies beyond its end")
    if data[offset + size] != _UNCOMPRESSED:
        raise CompressedIndex("its blocks are compressed")
    return data[offset : offset + size]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a block; each key repeats a prefix of the one before."""
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 - 4 * restarts
    key = b""
    at = 0
    while at < end:
        shared, at = read_varint(block, at)
        fresh, at = read_varint(block, at)
        length, at = read_varint(block, at)
        key = key[:shared] + block[at : at + fresh]
        at += fresh
        yield key, block[at : at + length]
        at += length


def _handle(data: bytes, at: int) -> tuple[int, int, int]:
    offset, at = read_varint(data, at)
    size, at = read_varint(data, at)
    return offset, size, at


def missing_data(variables: str) -> Lack | None:
    """What the folder `variables` still lacks according to its index, in words; or None.

    Raises:
        OSError: the folder, or a file that is needed, cannot be read.
    """
    path = os.path.join(variables, "variables.index")
    if not os.path.exists(path):
        return missing("variables/variables.index")
    try:
        index = read_index(path)
    except DamagedIndex:
        return incomplete("variables/variables.index is incomplete")
    except CompressedIndex:
        return None
    for shard in range(index.shards):
        name = f"variables.data-{shard:05d}-of-{index.shards:05d}"
        file = os.path.join(variables, name)
        try:
            have = os.path.getsize(file)
        except FileNotFoundError:
            return missing(f"variables/{name}")
        require_readable(file)
        need = index.shard_bytes.get(shard, 0)
        if have < need:
            return incomplete(f"variables/{name} has {have} of {need} bytes")
    return None


def require_readable(path: str) -> None:
    """Raise PermissionError where a file that is there may not be read."""
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
