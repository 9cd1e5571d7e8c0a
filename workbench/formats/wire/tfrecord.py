"""TFRecord files: records one after the other, each with checksums of its length and its bytes.

    record { uint64 length; uint32 masked_crc(length); bytes data[length]; uint32 masked_crc(data) }

All numbers are little-endian. The checksum is CRC-32C (RFC 3720), masked as TensorFlow does it
(`tsl/lib/hash/crc32c.h`).
"""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
from collections.abc import Iterable

import numpy as np

_POLYNOMIAL = 0x82F63B78
_MASK_DELTA = 0xA282EAD8
_LANE_BYTES = 256
_SHORT_BYTES = 20_000
"""Up to this length a plain loop over the bytes is faster than vector operations."""


def write_records(path: str, records: Iterable[bytes]) -> None:
    """Write a TFRecord file. It is written beside and then renamed, so no reader sees half of it.

    Blocks for as long as computing the checksums takes: about 5 ms a megabyte.

    Raises:
        OSError: it could not be written; nothing is left of it.
    """
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    try:
        _write_records(folder, path, records)
    except BaseException:
        # The folder may have been made only for this file.
        with contextlib.suppress(OSError):
            os.rmdir(folder)
        raise


def _write_records(folder: str, path: str, records: Iterable[bytes]) -> None:
    handle, beside = tempfile.mkstemp(dir=folder, prefix=".tfrecord-")
    try:
        with os.fdopen(handle, "wb") as file:
            for record in records:
                length = struct.pack("<Q", len(record))
                file.writelines((length, _checksum(length), record, _checksum(record)))
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


def _checksum(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFF_FFFF)


def crc32c(data: bytes) -> int:
    """The Castagnoli CRC of `data` (RFC 3720, appendix B.4)."""
    if len(data) > _SHORT_BYTES:
        return _long_crc32c(data)
    crc = 0xFFFF_FFFF
    for byte in data:
        crc = _BYTE_STEPS[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFF_FFFF


def _long_crc32c(data: bytes) -> int:
    """The same by vector operations.

    A CRC is linear: that of a text is the xor of those of its parts, each followed by zeros in
    place of the rest. So the bytes are cut into lanes of `_LANE_BYTES`, whose CRCs are computed
    side by side, two bytes at a time. Neighbours are then joined in pairs until one is left. Zeros
    in front change nothing, and fill up the first lane.
    """
    lanes = -(-len(data) // _LANE_BYTES)
    padded = np.zeros(lanes * _LANE_BYTES, np.uint8)
    start = len(padded) - len(data)
    padded[start:] = np.frombuffer(data, np.uint8)
    padded[start : start + 4] ^= 0xFF  # the initial state of the CRC
    crcs = np.zeros(lanes, np.uint32)
    for pair in np.ascontiguousarray(padded.view("<u2").reshape(lanes, -1).T):
        crcs = _PAIR_TABLE[crcs.astype(np.uint16) ^ pair] ^ (crcs >> 16)
    zeros = _LANE_OF_ZEROS
    while len(crcs) > 1:
        if len(crcs) % 2:
            crcs = np.concatenate([np.zeros(1, np.uint32), crcs])
        crcs = _apply(zeros, crcs[::2]) ^ crcs[1::2]
        zeros = _apply(zeros, zeros)
    return int(crcs[0]) ^ 0xFFFF_FFFF


def _apply(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Multiply 32-bit vectors by a matrix over GF(2), given as what each single bit becomes."""
    product = np.zeros(len(values), np.uint32)
    for bit in range(32):
        product ^= (values >> np.uint32(bit) & np.uint32(1)) * matrix[bit]
    return product


def _byte_steps() -> list[int]:
    """What each value of the CRC's lowest byte adds to the CRC as the byte is shifted out."""
    steps = []
    for entry in range(256):
        for _ in range(8):
            entry = entry >> 1 ^ (_POLYNOMIAL if entry & 1 else 0)
        steps.append(entry)
    return steps


def _with_zeros(crcs: np.ndarray, count: int) -> np.ndarray:
    """CRCs after as many bytes of zeros."""
    for _ in range(count):
        crcs = np.array(_BYTE_STEPS, np.uint32)[crcs & 0xFF] ^ (crcs >> 8)
    return crcs


_BYTE_STEPS = _byte_steps()
_PAIR_TABLE = _with_zeros(np.arange(2**16, dtype=np.uint32), 2)
_LANE_OF_ZEROS = _with_zeros(np.uint32(1) << np.arange(32, dtype=np.uint32), _LANE_BYTES)
"""The matrix by which a CRC changes as a lane of zeros follows."""
