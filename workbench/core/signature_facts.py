"""What a version's graph says of a signature, before it was ever run.

The worker reads it off the graph; the server decides by it whether requests share a batch, and
what is tried before the version serves. Plain data: it travels between the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SignatureFacts:
    """Attributes:
    rows_apart: whether each output row is proven to depend on its own input row alone.
    operation: the type of the operation that joins rows, or that may; empty where none does.
    node: its name in the graph.
    reason: why, to be read after the operation's type ("Softmax: it works along the batch").
    certain: whether the rows are joined for certain, and not only perhaps.
    effect: the type of an operation that changes something outside of the answer (assigns a
        variable, fills a queue); empty where there is none.
    lacking: the type of an operation that can never be run where the model is served, such as one
        that calls a Python function; empty where there is none.
    lacks: why not, to be read after its type.
    compiled: whether it is compiled (XLA) for each shape of its inputs.
    """

    rows_apart: bool
    operation: str = ""
    node: str = ""
    reason: str = ""
    certain: bool = False
    effect: str = ""
    lacking: str = ""
    lacks: str = ""
    compiled: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SignatureFacts:
        return cls(**data)
