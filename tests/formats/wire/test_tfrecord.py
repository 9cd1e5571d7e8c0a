"""TFRecord files and their checksums."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from workbench.formats.wire import tfrecord
from workbench.formats.wire.tfrecord import crc32c, write_records


def test_crc32c() -> None:
    """The values of RFC 3720, appendix B.4."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(bytes([0xFF] * 32)) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"") == 0


@pytest.mark.parametrize("size", [4, 255, 256, 257, 300, 511, 512, 1000, 4096, 21_001])
def test_long_and_short_texts_are_summed_alike(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(size).bytes(size)
    found = []
    for short in (0, 100_000):
        monkeypatch.setattr(tfrecord, "_SHORT_BYTES", short)
        found.append(crc32c(data))
    assert found[0] == found[1]


def test_a_file_of_records(tmp_path: Path) -> None:
    path = tmp_path / "assets.extra" / "records"
    write_records(str(path), [b"123456789", b""])
    length, length_sum, data, data_sum = struct.unpack_from("<QI9sI", path.read_bytes())
    assert (length, data) == (9, b"123456789")
    crc = 0xE3069283  # the check value of CRC-32C
    assert data_sum == ((crc >> 15 | crc << 17 & 0xFFFF_FFFF) + 0xA282EAD8) & 0xFFFF_FFFF
    assert length_sum != data_sum
    assert path.stat().st_size == 2 * 16 + 9
    assert [file.name for file in path.parent.iterdir()] == ["records"]


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError):
        write_records(str(tmp_path / "taken"), [b"x"])
    assert list(tmp_path.iterdir()) == [tmp_path / "taken"]
