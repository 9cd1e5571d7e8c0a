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

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

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
    entries = (
        _field(1, _field(1, name) + _field(2, _encode_feature(feature)))
        for name, feature in features.items()
    )
    return _field(1, b"".join(entries))


def _encode_feature(feature: Feature) -> bytes:
    if feature.kind is None:
        return b""
    if feature.kind == "bytes":
        return _field(1, b"".join(_field(1, value) for value in feature.values))  # type: ignore[arg-type]
    if feature.kind == "float":
        with np.errstate(over="ignore"):
            packed = np.array(feature.values, np.float64).astype("<f4").tobytes()
        return _field(2, _field(1, packed))
    return _field(3, _field(1, _varints(feature.values)))  # type: ignore[arg-type]


def _field(number: int, payload: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + _varints((len(payload),)) + payload


def _varints(values: Iterable[int]) -> bytes:
    """Base 128, least significant first; a negative number is its 64-bit two's complement."""
    out = bytearray()
    for value in values:
        value &= 0xFFFF_FFFF_FFFF_FFFF
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
    return bytes(out)
