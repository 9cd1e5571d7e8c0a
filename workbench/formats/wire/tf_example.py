"""`tf.Example` messages in protobuf's wire format, written without TensorFlow or protobuf.

    message Example   { Features features = 1; }
    message Features  { map<string, Feature> feature = 1; }
    message Feature   { oneof kind { BytesList bytes_list = 1; FloatList float_list = 2;
                                     Int64List int64_list = 3; } }
    message BytesList { repeated bytes value = 1; }
    message FloatList { repeated float value = 1 [packed = true]; }
    message Int64List { repeated int64 value = 1 [packed = true]; }

Every field here is length-delimited (wire type 2), so one helper writes all of them.
Concatenating two serialised Examples merges them: of a feature that both have, the later counts.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np


@dataclass(slots=True)
class Feature:
    """The values of one feature, all of one kind; `kind` is None while there is no value."""

    kind: Literal["bytes", "float", "int64"] | None
    values: list[bytes | float | int]


def encode_example(features: Mapping[bytes, Feature]) -> bytes:
    """The serialised `tf.Example` with these features, named in UTF-8.

    Floats become float32 (infinity where they are out of its range); integers must fit int64.
    """
    entries = [
        _field(_FIRST, _field(_FIRST, name) + _field(_SECOND, _encode_feature(feature)))
        for name, feature in features.items()
    ]
    return _field(_FIRST, b"".join(entries))


def _encode_feature(feature: Feature) -> bytes:
    values: Any = feature.values
    if feature.kind is None:
        return b""
    if feature.kind == "bytes":
        return _field(_FIRST, b"".join([_field(_FIRST, value) for value in values]))
    if feature.kind == "float":
        return _field(_SECOND, _field(_FIRST, _float32s(values)))
    return _field(_THIRD, _field(_FIRST, _varints(values)))


_FIRST, _SECOND, _THIRD = (bytes((number << 3 | 2,)) for number in (1, 2, 3))
_BYTES = [bytes((value,)) for value in range(128)]


def _field(tag: bytes, payload: bytes) -> bytes:
    size = len(payload)
    return tag + (_BYTES[size] if size < 128 else _varints((size,))) + payload


def _float32s(values: Sequence[float]) -> bytes:
    try:
        return struct.pack(f"<{len(values)}f", *values)
    except OverflowError:
        with np.errstate(over="ignore"):
            return np.array(values, np.float64).astype("<f4").tobytes()


def _varints(values: Sequence[int]) -> bytes:
    """Base 128, least significant first; a negative number is its 64-bit two's complement."""
    if min(values) >= 0 and max(values) < 128:
        return bytes(values)
    out = bytearray()
    for value in values:
        value &= 0xFFFF_FFFF_FFFF_FFFF
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
    return bytes(out)
