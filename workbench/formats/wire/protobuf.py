"""The wire format of protocol buffers, read and written without generated classes.

A message is a run of fields, each a tag (number and wire type) and a value. The readers check that
a message is well formed. The caller knows what the numbers mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_UINT64 = 0xFFFF_FFFF_FFFF_FFFF


class MalformedMessage(ValueError):
    """These bytes are not a message."""


class TruncatedMessage(MalformedMessage):
    """The bytes end within a field."""


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field: an int for a varint, bytes for everything else.

    Raises:
        MalformedMessage: the bytes are not a message.
    """
    at = 0
    while at < len(message):
        tag, at = read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise MalformedMessage("a field has the number 0")
        if kind == _VARINT:
            value, at = read_varint(message, at)
            yield number, value
            continue
        if kind == _BYTES:
            length, at = read_varint(message, at)
        elif kind in _FIXED_BYTES:
            length = _FIXED_BYTES[kind]
        else:
            raise MalformedMessage(f"field {number} has the wire type {kind}")
        if at + length > len(message):
            raise TruncatedMessage(f"field {number} is cut off")
        yield number, message[at : at + length]
        at += length


def submessages(message: bytes, number: int) -> Iterator[bytes]:
    """The values of a field that holds messages, strings or bytes.

    Raises:
        MalformedMessage: the bytes are not a message, or the field holds a number.
    """
    for found, value in fields(message):
        if found == number:
            if isinstance(value, int):
                raise MalformedMessage(f"field {number} holds a number")
            yield value


def submessage(message: bytes, number: int) -> bytes:
    """The last value of such a field: empty, as protocol buffers have it, where it is absent."""
    return [b"", *submessages(message, number)][-1]


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The variable-length integer (64 bits, unsigned) at `at`, and the offset of its end.

    Raises:
        TruncatedMessage: it is cut off, or longer than ten bytes.
    """
    value = 0
    for shift in range(0, 70, 7):
        if at == len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _UINT64, at
    raise TruncatedMessage("a number is cut off")


def field(number: int, value: int | bytes) -> bytes:
    """One field: a varint for an int, otherwise length-delimited."""
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value)
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def varints(values: Iterable[int]) -> bytes:
    """Packed varints, seven bits a byte from the least significant on; a negative number is its
    64-bit two's complement. `tensor_proto.encode_varints` does the same for arrays."""
    out = bytearray()
    for value in values:
        value &= _UINT64
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
    return bytes(out)


_SHORT = [bytes((value,)) for value in range(128)]


def _varint(value: int) -> bytes:
    return _SHORT[value] if 0 <= value < 128 else varints((value,))
