"""Decides whether requests of a signature are merged automatically, and keeps the reason.

Merging must change nothing but speed, so each output row has to depend on its own input row alone.
Two checks must agree. The graph: every operation on the way keeps rows apart. A run: the same rows
together, alone and in another order give the same answers. If inputs cannot be made up, the first
live requests are used for the second check, and run alone until it is done. While a version serves,
an audit runs one of many merged requests again alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.signature import Signature
from workbench.core.signature_facts import SignatureFacts

COMPILED_BATCH_SIZES = (1, 4, 16, 64)
"""Rows that batches of a compiled signature are padded to. Each size is compiled once, before the
version is available, so no request waits for a compilation."""


@dataclass(frozen=True, slots=True)
class Merging:
    """What was decided about a signature.

    Attributes:
        merged: whether its requests share batches; None while that waits for live requests.
        by: who decided: ``graph``, ``run``, ``requests``, ``audit``, ``state`` (it changes a state
            that later requests see), ``shape`` (its inputs and outputs have no batch dimension),
            or ``settings``.
        operation: the type of the operation that decided it; empty where it was none.
        reason: in words, to be read after the operation.
        batch_sizes: rows that its batches are padded to; empty: they are not padded.
    """

    merged: bool | None
    by: str
    operation: str = ""
    reason: str = ""
    batch_sizes: tuple[int, ...] = ()

    def __str__(self) -> str:
        said = "merged" if self.merged else "runs alone"
        if self.merged is None:
            said += " until live requests have shown that rows do not mix"
        return f"{said} ({': '.join(filter(None, (self.by, self.operation, self.reason)))})"

    def to_json(self) -> dict[str, Any]:
        """All fields as plain data, for `from_json`."""
        return {**asdict(self), "batch_sizes": list(self.batch_sizes)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Merging:
        """Read what `to_json` made."""
        return cls(**{**data, "batch_sizes": tuple(data["batch_sizes"])})


def automatic_parameters(batch_sizes: tuple[int, ...] = ()) -> BatchingParameters:
    """The parameters of automatic batching. With `batch_sizes` batches are padded to these, and as
    many rows may wait as without."""
    plain = BatchingParameters()
    if not batch_sizes:
        return plain
    largest = batch_sizes[-1]
    batches = plain.max_enqueued_batches * plain.max_batch_size // largest
    return BatchingParameters(
        largest, max_enqueued_batches=batches, allowed_batch_sizes=batch_sizes
    )


def has_batch_dimension(signature: Signature) -> bool:
    """Whether all inputs and outputs have a first dimension that may be of any size."""
    tensors = [*signature.inputs.values(), *signature.outputs.values()]
    return bool(signature.inputs) and all(t.shape and t.shape[0] == -1 for t in tensors)


def by_graph(signature: Signature, facts: SignatureFacts, automatic: bool) -> Merging:
    """The decision that follows from the graph alone: not merged, or (merged is None) open.

    Args:
        automatic: whether automatic batching is on.
    """
    if not automatic:
        return Merging(False, "settings", reason="automatic batching is switched off")
    if facts.effect:
        return Merging(False, "state", facts.effect, facts.reason)
    if not has_batch_dimension(signature):
        return Merging(False, "shape", reason="not all of its tensors have a batch dimension")
    if not facts.rows_apart:
        return Merging(False, "graph", facts.operation, facts.reason)
    sizes = COMPILED_BATCH_SIZES if facts.compiled else ()
    return Merging(None, "requests", batch_sizes=sizes)


def mixing_warning(name: str, facts: SignatureFacts) -> str | None:
    """A warning if batching parameters merge requests although that changes answers."""
    if facts.rows_apart or not (facts.certain or facts.effect):
        return None
    return (
        f"Requests of signature {name!r} are merged as its batching parameters say, and "
        f"{facts.operation} joins the rows of a batch ({facts.reason}), so callers change each "
        "other's answers: set batching to None to run each request alone"
    )


def notes(merging: Mapping[str, Merging]) -> list[str]:
    """A sentence for each unusual reason why requests of a version's signatures run alone."""
    alone: dict[str, list[str]] = {}
    for name, decided in sorted(merging.items()):
        if decided.merged is False and decided.by not in ("settings", "shape"):
            cause = f" of the operation {decided.operation}:" if decided.operation else ""
            alone.setdefault(f"because{cause} {decided.reason}", []).append(repr(name))
    return [f"Requests of {_listed(names)} run one by one, {why}" for why, names in alone.items()]


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"signatures {', '.join(others)} and {last}" if others else f"signature {last}"
