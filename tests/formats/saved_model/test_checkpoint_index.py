"""Checkpoint indexes: those that TensorFlow wrote, and tables made by hand."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models import BIG_WEIGHTS_BYTES
from workbench.formats.saved_model.checkpoint_index import (
    CheckpointIndex,
    CompressedIndex,
    DamagedIndex,
    missing_data,
    read_index,
)

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)


def number(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def block(entries: dict[bytes, bytes]) -> bytes:
    """A table block in which each key repeats the prefix that it shares with the one before."""
    out, before = b"", b""
    for key, value in sorted(entries.items()):
        shared = 0
        while shared < min(len(key), len(before)) and key[shared] == before[shared]:
            shared += 1
        out += number(shared) + number(len(key) - shared) + number(len(value))
        out += key[shared:] + value
        before = key
    return out + struct.pack("<II", 0, 1)


def table(entries: dict[bytes, bytes], compression: int = 0) -> bytes:
    data = block(entries)
    body = data + bytes([compression]) + b"crc4"
    index = block({b"zzz": number(0) + number(len(data))})
    body_and_index = body + index + b"\0crc4"
    handles = number(0) * 2 + number(len(body)) + number(len(index))
    return body_and_index + handles.ljust(40, b"\0") + MAGIC


def entry(shard: int, offset: int, size: int) -> bytes:
    """A `BundleEntryProto`, with the fields around those that are read."""
    shape = b"\x12\x04\x12\x02\x08\x02"
    return (
        b"\x08\x01"
        + shape
        + (b"\x18" + number(shard) if shard else b"")
        + (b"\x20" + number(offset) if offset else b"")
        + b"\x28"
        + number(size)
        + b"\x35crc4"
        + b"\x39eight888"
    )


SHARDED = {
    b"": b"\x08\x02",
    b"layer/bias": entry(0, 0, 40),
    b"layer/kernel": entry(0, 40, 4000),
    b"output/kernel": entry(1, 128, 300),
}


def test_reads_what_tensorflow_wrote(models: Path) -> None:
    path = models / "big/variables/variables.index"
    assert read_index(str(path)) == CheckpointIndex({0: BIG_WEIGHTS_BYTES}, 1, BIG_WEIGHTS_BYTES)
    digits = read_index(str(models / "digits/variables/variables.index"))
    data = models / "digits/variables/variables.data-00000-of-00001"
    assert digits.shard_bytes == {0: data.stat().st_size}


def test_several_shards(tmp_path: Path) -> None:
    path = tmp_path / "variables.index"
    path.write_bytes(table(SHARDED))
    assert read_index(str(path)) == CheckpointIndex({0: 4040, 1: 428}, 2, 4340)


def test_every_shorter_index_is_damaged(models: Path, tmp_path: Path) -> None:
    whole = (models / "digits/variables/variables.index").read_bytes()
    path = tmp_path / "variables.index"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(DamagedIndex):
            read_index(str(path))


def test_an_index_may_point_beyond_its_end(tmp_path: Path) -> None:
    path = tmp_path / "variables.index"
    handles = number(0) * 2 + number(5) + number(500)
    path.write_bytes(handles.ljust(40, b"\0") + MAGIC)
    with pytest.raises(DamagedIndex, match="a block lies beyond its end"):
        read_index(str(path))


def test_a_compressed_index_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "variables.index"
    path.write_bytes(table(SHARDED, compression=1))
    with pytest.raises(CompressedIndex):
        read_index(str(path))
    assert missing_data(str(tmp_path)) is None


@given(st.binary(max_size=200))
def test_garbage_is_damaged_or_compressed(garbage: bytes) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(garbage.ljust(48, b"\1") + MAGIC)
        file.flush()
        try:
            read_index(file.name)
        except (DamagedIndex, CompressedIndex):
            pass


def test_missing_data_in_words(tmp_path: Path) -> None:
    assert missing_data(str(tmp_path)) == "variables/variables.index is missing"
    (tmp_path / "variables.index").write_bytes(table(SHARDED)[:-1])
    assert missing_data(str(tmp_path)) == "variables/variables.index is incomplete"
    (tmp_path / "variables.index").write_bytes(table(SHARDED))
    first, second = (tmp_path / f"variables.data-0000{n}-of-00002" for n in (0, 1))
    assert missing_data(str(tmp_path)) == f"variables/{first.name} is missing"
    first.write_bytes(b"x" * 4039)
    assert missing_data(str(tmp_path)) == f"variables/{first.name} has 4039 of 4040 bytes"
    first.write_bytes(b"x" * 4040)
    assert missing_data(str(tmp_path)) == f"variables/{second.name} is missing"
    second.write_bytes(b"x" * 428)
    assert missing_data(str(tmp_path)) is None
