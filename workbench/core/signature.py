"""The signatures of a model, as plain data.

A SavedModel names each way it can be called (a *signature*), and for each the tensors that go in
and come out. The worker reads them from the SavedModel. Everything else needs only this
description, so nothing outside the worker depends on TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DEFAULT_SIGNATURE = "serving_default"
INIT_SIGNATURE = "__saved_model_init_op"
"""TensorFlow 2 stores a model's initialisation among its signatures; clients do not call it."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One input or output of a signature.

    `dtype` is TensorFlow's short name (`DataTypeString`): ``float``, ``double``, ``int32``,
    ``string``, ``bool``, ``half`` ... `shape` has ``-1`` for an unknown dimension and is
    ``None`` where the rank itself is unknown. `name` is the tensor's own in the graph
    (``x:0``), which TensorFlow Serving's messages mention; it may not be known.
    """

    dtype: str
    shape: tuple[int, ...] | None
    name: str = ""

    @property
    def rank(self) -> int | None:
        """The number of dimensions; None where it is unknown."""
        return None if self.shape is None else len(self.shape)

    def to_json(self) -> dict[str, Any]:
        """All fields as plain data, for `from_json`."""
        data: dict[str, Any] = {
            "dtype": self.dtype,
            "shape": None if self.shape is None else list(self.shape),
        }
        return {**data, "name": self.name} if self.name else data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TensorInfo:
        """Read what `to_json` made."""
        shape = data["shape"]
        return cls(data["dtype"], None if shape is None else tuple(shape), data.get("name", ""))

    def __str__(self) -> str:
        dims = (
            "..." if self.shape is None else ", ".join("?" if d < 0 else str(d) for d in self.shape)
        )
        return f"{self.dtype}[{dims}]"


@dataclass(frozen=True, slots=True)
class Signature:
    """A named way of calling a model.

    `defaults` names the inputs that may be left out. `originals` maps an input's name to the name
    that it had before it was saved, if the two differ (``sepal length (cm)``).
    """

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    method_name: str = ""
    defaults: frozenset[str] = field(default_factory=frozenset)
    originals: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """All fields as plain data, for `from_json`."""
        data: dict[str, Any] = {
            "inputs": {name: info.to_json() for name, info in self.inputs.items()},
            "outputs": {name: info.to_json() for name, info in self.outputs.items()},
            "method_name": self.method_name,
            "defaults": sorted(self.defaults),
        }
        return {**data, "originals": dict(self.originals)} if self.originals else data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Signature:
        """Read what `to_json` made."""
        return cls(
            inputs={n: TensorInfo.from_json(i) for n, i in data["inputs"].items()},
            outputs={n: TensorInfo.from_json(o) for n, o in data["outputs"].items()},
            method_name=data["method_name"],
            defaults=frozenset(data["defaults"]),
            originals=dict(data.get("originals", {})),
        )

    @classmethod
    def all_from_json(cls, data: Mapping[str, Any]) -> dict[str, Signature]:
        """Read signatures by name; none where `data` has no ``signatures``."""
        return {name: cls.from_json(each) for name, each in data.get("signatures", {}).items()}

    def digest(self) -> str:
        """A short text, equal only for equal signatures, for comparing them between processes."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()

    def __str__(self) -> str:
        def side(tensors: Mapping[str, TensorInfo]) -> str:
            return ", ".join(f"{n}: {t}" for n, t in sorted(tensors.items()))

        return f"({side(self.inputs)}) -> ({side(self.outputs)})"
