"""`TensorProto` in its wire format <-> numpy, by TensorFlow's own rules and at memory's speed.

    TensorProto { dtype = 1; tensor_shape = 2; tensor_content = 4; half_val = 13; float_val = 5;
                  double_val = 6; int_val = 7; string_val = 8; scomplex_val = 9; int64_val = 10;
                  bool_val = 11; dcomplex_val = 12; uint32_val = 16; uint64_val = 17;
                  float8_val = 18 }
    TensorShapeProto { repeated Dim { size = 1; name = 2 } dim = 2; unknown_rank = 3 }

No message object is made: packed floats are numpy's own bytes already, and packed varints are
taken apart and put together by a few vector operations. How a tensor is read is TensorFlow's
`Tensor::FromProto`: fewer values than elements repeat the last one, no value at all means
zeros, surplus values are ignored, and `tensor_content` must have exactly the right length.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping

import numpy as np

from workbench.formats.dtypes import (
    BY_NAME,
    BY_NUMBER,
    STRING,
    dtype_name,
    number_kind,
    numpy_dtype,
)
from workbench.formats.wire.protobuf import field, fields, varints

_MAX_SPLAT_BYTES = 2**31
"""A short message must not ask for more memory than the longest one could have filled."""
_DTYPE, _SHAPE, _CONTENT = 1, 2, 4
assert sys.byteorder == "little", "tensors travel in little-endian byte order"


_PACKED_AS_THEY_ARE = frozenset({5, 6, 9, 12, 18})
"""Fields whose packed values are numpy's own bytes; those of all others but strings are varints."""


def decode_tensor(message: bytes) -> np.ndarray:
    """The array of a serialised `TensorProto`; a view of `message` where that is possible.

    Raises:
        ValueError: it is no tensor, or one of a dtype that cannot be served.
    """
    number, shape_proto, content = 0, b"", b""
    typed: dict[int, list[int | bytes]] = {}
    for at, value in fields(message):
        if at == _DTYPE and isinstance(value, int):
            number = value
        elif at == _SHAPE and isinstance(value, bytes):
            shape_proto += value
        elif at == _CONTENT and isinstance(value, bytes):
            content = value
        else:
            typed.setdefault(at, []).append(value)
    known = BY_NUMBER.get(number)
    if known is None:
        raise ValueError(f"dtype {number} cannot be served")
    name = known.name
    shape = _decode_shape(shape_proto)
    count = math.prod(shape)
    dtype = numpy_dtype(name)
    if count == 0:
        return np.empty(shape, dtype)
    if content:
        if name == STRING:
            return _strings(_split_content(content, count), shape, count)
        if len(content) != count * dtype.itemsize:
            raise ValueError(f"{len(content)} bytes of content for {count} elements")
        return np.frombuffer(content, dtype).reshape(shape)
    if count * dtype.itemsize > _MAX_SPLAT_BYTES:
        raise ValueError(f"{count} elements are too many for a message")
    values = typed.get(known.field, [])
    if name == STRING:
        return _strings([v for v in values if isinstance(v, bytes)], shape, count)
    array = _decode_values(values, known.field, dtype)[:count]
    if len(array) < count:
        last = array[-1] if len(array) else 0
        array = np.concatenate([array, np.full(count - len(array), last, dtype)])
    return array.reshape(shape)


def encode_tensor(array: np.ndarray, as_content: bool = False) -> bytes:
    """A serialised `TensorProto` with every element in its typed field (`AsProtoField`), or all
    of them together in `tensor_content` (`AsProtoTensorContent`)."""
    name = dtype_name(array.dtype)
    known = BY_NAME[name]
    head = field(_DTYPE, known.number) + field(_SHAPE, _encode_shape(array.shape))
    if name == STRING:
        texts = [v if isinstance(v, bytes) else str(v).encode() for v in array.ravel()]
        if as_content and texts:
            lengths = encode_varints(np.array([len(text) for text in texts], np.int64))
            return head + field(_CONTENT, lengths + b"".join(texts))
        return head + b"".join(field(known.field, text) for text in texts)
    if array.size == 0:
        return head
    if as_content:
        return head + field(_CONTENT, array.tobytes())
    if known.field in _PACKED_AS_THEY_ARE:
        return head + field(known.field, array.tobytes())
    if known.kind == "f":  # of 16 bits: `half_val` holds the bits
        array = np.ascontiguousarray(array).view(np.uint16)
    return head + field(known.field, encode_varints(array))


def encode_portable(array: np.ndarray) -> bytes:
    """A serialised `TensorProto` that every reader takes: numbers in `tensor_content`, strings in
    `string_val` (TensorFlow's Python reads no strings from `tensor_content`)."""
    return encode_tensor(array, as_content=dtype_name(array.dtype) != STRING)


def encode_tensors(
    number: int, tensors: Mapping[str, np.ndarray], as_content: bool = False
) -> bytes:
    """A `map<string, TensorProto>` field with that number."""
    return b"".join(
        field(number, field(1, name.encode()) + field(2, encode_tensor(array, as_content)))
        for name, array in tensors.items()
    )


def decode_varints(packed: bytes) -> np.ndarray:
    """The numbers, uint64, of packed varints.

    Raises:
        ValueError: the last one is cut off, or one has more than ten bytes.
    """
    raw = np.frombuffer(packed, np.uint8)
    if not len(raw):
        return np.empty(0, np.uint64)
    if raw[-1] & 0x80:
        raise ValueError("a number is cut off")
    ends = np.flatnonzero(raw < 0x80)
    if len(ends) == len(raw):
        return raw.astype(np.uint64)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    longest = int(lengths.max())
    if longest > 10:
        raise ValueError("a number has more than ten bytes")
    values = np.zeros(len(ends), np.uint64)
    for k in range(longest):
        has = lengths > k
        values[has] |= (raw[starts[has] + k] & 0x7F).astype(np.uint64) << np.uint64(7 * k)
    return values


def encode_varints(array: np.ndarray) -> bytes:
    """Packed varints of the integers or booleans in `array`, in C order; negative numbers as
    their 64-bit two's complement."""
    signed = number_kind(array.dtype) == "i"
    values = array.reshape(-1).astype(np.int64 if signed else np.uint64).view(np.uint64)
    if not len(values):
        return b""
    if values.max() < 0x80:
        return values.astype(np.uint8).tobytes()
    lengths = np.ones(len(values), np.intp)
    for k in range(1, 10):
        lengths += values >= np.uint64(1 << 7 * k)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    out = np.empty(ends[-1], np.uint8)
    for k in range(int(lengths.max())):
        has = lengths > k
        part = (values[has] >> np.uint64(7 * k)).astype(np.uint8) & 0x7F
        out[starts[has] + k] = part | np.where(lengths[has] > k + 1, 0x80, 0).astype(np.uint8)
    return out.tobytes()


def _decode_values(values: list[int | bytes], number: int, dtype: np.dtype) -> np.ndarray:
    """The values of a typed field, packed or one by one, as protocol buffers allow both."""
    if number in _PACKED_AS_THEY_ARE:
        data = b"".join(v for v in values if isinstance(v, bytes))
        return np.frombuffer(data, dtype, len(data) // dtype.itemsize)
    packed = b"".join(v if isinstance(v, bytes) else varints((v,)) for v in values)
    numbers = decode_varints(packed)
    if dtype.kind == "b":
        return numbers.astype(bool)
    if number_kind(dtype) in "iu":
        # Wider numbers wrap around, as in TensorFlow.
        return numbers.view(np.int64).astype(dtype)
    bits: np.ndarray = numbers.astype(np.uint16).view(dtype)
    return bits


def _strings(values: list[bytes], shape: tuple[int, ...], count: int) -> np.ndarray:
    array = np.empty(count, object)
    array[: len(values)] = values[:count]
    array[len(values) :] = values[-1] if values else b""
    return array.reshape(shape)


def _split_content(content: bytes, count: int) -> list[bytes]:
    """Strings in `tensor_content`: all lengths as varints, then the bytes one after another."""
    ends = np.flatnonzero(np.frombuffer(content, np.uint8) < 0x80)[:count]
    if len(ends) < count:
        raise ValueError(f"the content has no lengths for {count} strings")
    at = int(ends[-1]) + 1
    lengths = decode_varints(content[:at]).tolist()
    if at + sum(lengths) != len(content):
        raise ValueError(f"{len(content)} bytes of content do not hold the strings they announce")
    strings = []
    for length in lengths:
        strings.append(content[at : at + length])
        at += length
    return strings


def _decode_shape(message: bytes) -> tuple[int, ...]:
    shape = []
    for number, value in fields(message):
        if number == 3 and value:
            raise ValueError("the shape has an unknown rank")
        if number == 2 and isinstance(value, bytes):
            sizes = [size for part, size in fields(value) if part == 1 and isinstance(size, int)]
            size = sizes[-1] if sizes else 0
            if size >= 1 << 62:
                raise ValueError("a dimension of the shape is unknown or too large")
            shape.append(size)
    if len(shape) > 64:
        raise ValueError(f"a tensor has at most 64 dimensions here, this one {len(shape)}")
    return tuple(shape)


def _encode_shape(shape: tuple[int, ...]) -> bytes:
    return b"".join(field(2, field(1, size) if size else b"") for size in shape)
