"""Results as plain data for JSON: arrays of numbers compressed, infinity as null."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from workbench.load.packed_numbers import pack_numbers, unpack_numbers


def pack(array: np.ndarray) -> dict[str, Any]:
    """The array as data for JSON; bytes stay bytes."""
    about = {"dtype": array.dtype.str, "shape": list(array.shape)}
    if array.dtype.hasobject:
        items = [
            {"bytes": base64.b64encode(item).decode("ascii")} if isinstance(item, bytes) else item
            for item in array.reshape(-1).tolist()
        ]
        return {**about, "items": items}
    return {**about, "data": pack_numbers(array)}


def unpack(data: Mapping[str, Any]) -> np.ndarray:
    """The array that `pack` was given."""
    shape = tuple(data["shape"])
    if "items" not in data:
        return unpack_numbers(data["data"], data["dtype"]).reshape(shape).copy()
    array = np.empty(len(data["items"]), object)
    for place, item in enumerate(data["items"]):
        array[place] = base64.b64decode(item["bytes"]) if isinstance(item, dict) else item
    return array.reshape(shape)


def without_infinity(data: Any) -> Any:
    """`data` as JSON has it: keys are text, and NaN and infinity are null."""
    return json.loads(json.dumps(data), parse_constant=lambda _: None)
