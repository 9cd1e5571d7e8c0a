"""Facts about a signature that follow from its graph, without running it.

The worker finds them, and sends them to the server as plain data. The server uses them to decide
whether requests share a batch, and which trial requests to run before the version serves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SignatureFacts:
    """What the graph shows about one signature.

    Attributes:
        rows_apart: whether each output row is proven to depend on its own input row alone.
        operation: the type of an operation that mixes rows, or may; empty if none does.
        node: its name in the graph.
        reason: why, to be read after the operation's type ("Softmax: it works along the batch").
        certain: whether rows are certainly mixed, or only perhaps.
        effect: the type of an operation that changes something besides the answer (assigns a
            variable, fills a queue); empty if there is none.
        lacking: the type of an operation that cannot run in a server, such as one that calls a
            Python function; empty if there is none.
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
        """All fields as plain data, for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SignatureFacts:
        """Read what `to_json` made."""
        return cls(**data)
