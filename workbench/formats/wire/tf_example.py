"""`tf.Example` messages, written without TensorFlow and without generated classes.

    message Example   { Features features = 1; }
    message Features  { map<string, Feature> feature = 1; }
    message Feature   { oneof kind { BytesList bytes_list = 1; FloatList float_list = 2;
                                     Int64List int64_list = 3; } }
    message BytesList { repeated bytes value = 1; }
    message FloatList { repeated float value = 1 [packed = true]; }
    message Int64List { repeated int64 value = 1 [packed = true]; }

Concatenating two serialised Examples merges them: of a feature that both have, the later counts.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from workbench.formats.wire.protobuf import field, varints


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
        field(1, field(1, name) + field(2, _encode_feature(feature)))
        for name, feature in features.items()
    ]
    return field(1, b"".join(entries))


def _encode_feature(feature: Feature) -> bytes:
    values: Any = feature.values
    if feature.kind is None:
        return b""
    if feature.kind == "bytes":
        return field(1, b"".join([field(1, value) for value in values]))
    if feature.kind == "float":
        return field(2, field(1, _float32s(values)))
    return field(3, field(1, varints(values)))


def _float32s(values: Sequence[float]) -> bytes:
    try:
        return struct.pack(f"<{len(values)}f", *values)
    except OverflowError:
        with np.errstate(over="ignore"):
            return np.array(values, np.float64).astype("<f4").tobytes()
