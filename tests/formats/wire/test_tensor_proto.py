"""Tensors in protocol buffers' wire format: each dtype there and back, and how they are read."""

from __future__ import annotations

import struct

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.formats.wire.protobuf import field
from workbench.formats.wire.tensor_proto import (
    decode_tensor,
    decode_varints,
    encode_portable,
    encode_tensor,
    encode_tensors,
    encode_varints,
)

FLOAT, INT32, STRING, BOOL, HALF = 1, 3, 7, 10, 19


def shape(*dims: int) -> bytes:
    return field(2, b"".join(field(2, field(1, dim)) for dim in dims))


def floats(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


def texts(*values: bytes) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


@pytest.mark.parametrize(
    "array",
    [
        np.array([1.5, -2], np.float32),
        np.array([[1e300], [-0.0]], np.float64),
        np.array([1.5, np.inf], np.float16),
        np.array([1.5, -3], ml_dtypes.bfloat16),
        np.array([0.5, -2, np.inf], ml_dtypes.float8_e5m2),
        np.array([0.5, -448], ml_dtypes.float8_e4m3fn),
        np.array([0.5, -2], ml_dtypes.float8_e4m3b11fnuz),
        np.array([-8, 7], ml_dtypes.int4),
        np.array([0, 15], ml_dtypes.uint4),
        np.array([-2, 1], ml_dtypes.int2),
        np.array([0, 3], ml_dtypes.uint2),
        np.array([-128, 127], np.int8),
        np.array([-32768, 32767], np.int16),
        np.array([-(2**31), 0, 2**31 - 1], np.int32),
        np.array([-(2**63), 300, 2**63 - 1], np.int64),
        np.array([0, 255], np.uint8),
        np.array([0, 65535], np.uint16),
        np.array([0, 2**32 - 1], np.uint32),
        np.array([0, 2**64 - 1], np.uint64),
        np.array([[True], [False]]),
        np.array([1 + 2j], np.complex64),
        np.array([1 - 2j], np.complex128),
        texts(b"", b"\xff\x00", b"text"),
        np.float32(7).reshape(()),
        np.empty((0, 3), np.int64),
        np.arange(24, dtype=np.int32).reshape(2, 3, 4).transpose(2, 0, 1),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
def test_there_and_back(array: np.ndarray) -> None:
    for as_content in (False, True):
        back = decode_tensor(encode_tensor(array, as_content))
        assert (back.dtype, back.shape) == (array.dtype, array.shape)
        assert back.tolist() == array.tolist()


def test_the_bytes_of_a_tensor() -> None:
    assert encode_tensor(np.array([1, 2], np.float32)) == (
        field(1, FLOAT) + shape(2) + field(5, floats(1, 2))
    )
    # Eight-bit floats have a field of bytes, one for each.
    assert encode_tensor(np.array([1, -2], ml_dtypes.float8_e4m3fn)) == (
        field(1, 25) + shape(2) + field(18, b"\x38\xc0")
    )
    assert encode_tensor(np.array([-1], ml_dtypes.int4)) == (
        field(1, 29) + shape(1) + field(7, b"\xff" * 9 + b"\x01")
    )
    assert encode_tensor(np.array([[-1]], np.int32)) == (
        field(1, INT32) + shape(1, 1) + field(7, b"\xff" * 9 + b"\x01")
    )
    assert encode_tensor(texts(b"a", b"")) == (
        field(1, STRING) + shape(2) + field(8, b"a") + field(8, b"")
    )
    assert encode_tensor(np.array(["\u00e9"])) == field(1, STRING) + shape(1) + field(
        8, b"\xc3\xa9"
    )
    assert encode_tensor(np.array([1, 2], np.float32), as_content=True) == (
        field(1, FLOAT) + shape(2) + field(4, floats(1, 2))
    )
    assert encode_tensor(texts(b"a", b"bc"), as_content=True) == (
        field(1, STRING) + shape(2) + field(4, b"\x01\x02abc")
    )
    tensor = np.zeros((0,), np.float32)
    assert encode_tensors(1, {"y": tensor}) == field(
        1, field(1, b"y") + field(2, field(1, FLOAT) + field(2, field(2, b"")))
    )


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (shape(3) + field(5, floats(7)), [7, 7, 7]),
        (shape(3) + field(5, floats(1, 2)), [1, 2, 2]),
        (shape(2) + field(5, floats(1, 2, 3)), [1, 2]),
        (shape(2), [0, 0]),
        (shape(2) + field(4, floats(3, 4)), [3, 4]),
        # The content goes before the typed field; fields may come in pieces.
        (shape(2) + field(5, floats(9, 9)) + field(4, floats(3, 4)), [3, 4]),
        (shape(2) + field(5, floats(1)) + field(5, floats(2)), [1, 2]),
        (field(2, field(2, field(1, 1))) + field(2, field(2, field(1, 2)))
         + field(5, floats(1, 2)), [[1, 2]]),
        (shape(2) + b"\x2d" + floats(1) + b"\x2d" + floats(2), [1, 2]),
    ],
)  # fmt: skip
def test_how_floats_are_read(message: bytes, expected: list[float]) -> None:
    array = decode_tensor(field(1, FLOAT) + message)
    assert array.dtype == np.float32
    assert array.tolist() == expected


def test_how_other_values_are_read() -> None:
    numbers = field(1, INT32) + shape(3)
    assert decode_tensor(numbers + field(7, 5) + field(7, b"\x06\x07")).tolist() == [5, 6, 7]
    assert decode_tensor(field(1, 4) + shape(1) + field(7, 300)).tolist() == [44]
    assert decode_tensor(field(1, BOOL) + shape(2) + field(11, b"\x02\x00")).tolist() == [
        True,
        False,
    ]
    assert decode_tensor(field(1, HALF) + shape(1) + field(13, 0x3C00)).tolist() == [1.0]
    strings = field(1, STRING) + shape(3)
    assert decode_tensor(strings + field(8, b"a") + field(8, b"b")).tolist() == [b"a", b"b", b"b"]
    assert decode_tensor(strings).tolist() == [b"", b"", b""]
    assert decode_tensor(strings + field(4, b"\x01\x00\x02abc")).tolist() == [b"a", b"", b"bc"]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "dtype 0 cannot be served"),
        (field(1, 21) + shape(1), "dtype 21 cannot be served"),
        (field(1, FLOAT) + shape(2) + field(4, b"abc"), "3 bytes of content for 2 elements"),
        (field(1, FLOAT) + field(2, field(3, 1)), "the shape has an unknown rank"),
        (field(1, FLOAT) + shape(2**64 - 1),
         "a dimension of the shape is unknown or too large"),
        (field(1, FLOAT) + shape(*[1] * 65),
         "a tensor has at most 64 dimensions here, this one 65"),
        (field(1, FLOAT) + shape(2**30) + field(5, floats(1)),
         "1073741824 elements are too many for a message"),
        (field(1, STRING) + shape(2) + field(4, b"\x01"),
         "the content has no lengths for 2 strings"),
        (field(1, STRING) + shape(1) + field(4, b"\x05ab"),
         "3 bytes of content do not hold the strings they announce"),
        (field(1, INT32) + shape(1) + field(7, b"\x80"), "a number is cut off"),
        (field(1, INT32) + shape(1) + field(7, b"\x80" * 10 + b"\x01"),
         "a number has more than ten bytes"),
        (b"\x0a\x05", "field 1 is cut off"),
    ],
)  # fmt: skip
def test_what_is_no_tensor(message: bytes, reason: str) -> None:
    with pytest.raises(ValueError) as refused:
        decode_tensor(message)
    assert str(refused.value) == reason


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_varints(values: list[int]) -> None:
    array = np.array(values, np.uint64)
    packed = encode_varints(array)
    assert decode_varints(packed).tolist() == values
    assert packed == b"".join(field(1, value)[1:] for value in values)


@given(st.binary(max_size=80))
def test_no_bytes_do_harm(data: bytes) -> None:
    for message in (data, field(1, FLOAT) + shape(2) + data, field(1, STRING) + shape(2) + data):
        try:
            array = decode_tensor(message)
        except ValueError:
            continue
        assert array.size <= 2**29


def test_what_every_reader_takes() -> None:
    strings = np.array([[b"a", b"bc"]], object)
    assert encode_portable(np.array([1.5], np.float32)) == (
        b"\x08\x01" + b"\x12\x04\x12\x02\x08\x01" + b"\x22\x04" + struct.pack("<f", 1.5)
    )
    assert encode_portable(strings) == (
        b"\x08\x07" + b"\x12\x08\x12\x02\x08\x01\x12\x02\x08\x02" + b"\x42\x01a\x42\x02bc"
    )
    assert encode_portable(np.array(7)) == b"\x08\x09\x12\x00\x22\x08" + struct.pack("<q", 7)
