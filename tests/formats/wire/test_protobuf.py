"""The wire format: varints, fields, and what is not a message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.formats.wire.protobuf import (
    MalformedMessage,
    TruncatedMessage,
    field,
    fields,
    read_varint,
    submessage,
    submessages,
    varints,
)


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3))
def test_a_varint_there_and_back(value: int, after: bytes) -> None:
    data = varints([value])
    assert read_varint(data + after, 0) == (value, len(data))
    with pytest.raises(TruncatedMessage):
        read_varint(data[:-1], 0)


def test_a_negative_number_has_ten_bytes() -> None:
    assert varints([-1, 1]) == b"\xff" * 9 + b"\x01" + b"\x01"


@given(st.lists(st.tuples(st.integers(1, 2**29 - 1), st.integers(0, 2**63) | st.binary())))
def test_fields_there_and_back(values: list[tuple[int, int | bytes]]) -> None:
    message = b"".join(field(number, value) for number, value in values)
    assert list(fields(message)) == values


def test_fixed_sizes_are_bytes() -> None:
    assert list(fields(b"\x0d1234\x1112345678")) == [(1, b"1234"), (2, b"12345678")]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"\x0a\x02a", TruncatedMessage),
        (b"\x80", TruncatedMessage),
        (b"\x80" * 11, TruncatedMessage),
        (b"\x0b", MalformedMessage),  # a group
        (b"\x00\x00", MalformedMessage),
    ],
)
def test_what_is_no_message_is_refused(message: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        list(fields(message))


def test_submessages() -> None:
    message = field(1, b"a") + field(2, b"b") + field(1, b"c")
    assert list(submessages(message, 1)) == [b"a", b"c"]
    assert submessage(message, 1) == b"c"
    assert submessage(message, 3) == b""
    with pytest.raises(MalformedMessage, match="field 4 holds a number"):
        submessage(field(4, 1), 4)
