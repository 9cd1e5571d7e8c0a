"""Protocol buffers' wire format, as far as it is needed without generated classes.

A message is a run of fields, each a tag (number and wire type) and a value. What is read here
is checked to be well formed; what the numbers mean is the caller's knowledge.
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field: an int for a varint, bytes for everything else.

    Raises:
        ValueError: this is no message.
    """
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("a field has the number 0")
        if kind == _VARINT:
            value, at = _read_varint(message, at)
            yield number, value
            continue
        if kind == _BYTES:
            length, at = _read_varint(message, at)
        elif kind in _FIXED_BYTES:
            length = _FIXED_BYTES[kind]
        else:
            raise ValueError(f"field {number} has the wire type {kind}")
        if at + length > len(message):
            raise ValueError(f"field {number} is cut off")
        yield number, message[at : at + length]
        at += length


def submessages(message: bytes, number: int) -> Iterator[bytes]:
    """The values of a field that holds messages, strings or bytes.

    Raises:
        ValueError: this is no message, or that field holds something else.
    """
    for found, value in fields(message):
        if found == number:
            if isinstance(value, int):
                raise ValueError(f"field {number} holds a number")
            yield value


def submessage(message: bytes, number: int) -> bytes:
    """The last value of such a field: empty, as protocol buffers have it, where it is absent."""
    return [b"", *submessages(message, number)][-1]


def field(number: int, value: int | bytes) -> bytes:
    """One field: a varint for an int (not negative), else length-delimited."""
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value)
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at == len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise ValueError("a number is cut off")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
