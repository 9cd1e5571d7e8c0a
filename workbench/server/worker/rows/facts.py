"""Derives facts about each signature from a SavedModel's graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from workbench.core.signature_facts import SignatureFacts

# Here, so that the zygote has them and no worker has to import them.
from workbench.server.worker.rows import rules
from workbench.server.worker.rows.dimensions import is_rows
from workbench.server.worker.rows.reach import Reach
from workbench.server.worker.rows.values import Kind, Value, request_rows
from workbench.server.worker.rows.walk import Walk


def signature_facts(meta_graph: Any, definitions: Mapping[str, Any]) -> dict[str, SignatureFacts]:
    """The facts of each signature, by its name.

    Args:
        meta_graph: a `MetaGraphDef`.
        definitions: its `SignatureDef` messages, whose inputs and outputs are plain tensors.

    If a rule fails on a graph, nothing is proven about it: an error here must not keep a version
    from serving.
    """
    walk = Walk(meta_graph.graph_def, rules.apply)
    reach = Reach(meta_graph.graph_def, _run(meta_graph))
    return {name: _facts(reach, walk, definition) for name, definition in definitions.items()}


def _run(meta_graph: Any) -> Iterator[str]:
    """The names of all nodes that are ever run."""
    for collection in meta_graph.collection_def.values():
        yield from (name.split(":")[0] for name in collection.node_list.value)
    for definition in meta_graph.signature_def.values():
        yield from (info.name.split(":")[0] for info in definition.outputs.values())


def _facts(reach: Reach, walk: Walk, definition: Any) -> SignatureFacts:
    outputs = [info.name for info in definition.outputs.values() if info.name]
    touched = reach.of(name.split(":")[0] for name in outputs)
    facts = SignatureFacts(False, **touched._asdict())
    if touched.effect:
        reason = "it changes state that later requests see"
        return replace(facts, operation=touched.effect, reason=reason)
    inputs = {info.name: _input(info) for info in definition.inputs.values() if info.name}
    try:
        values = walk.signature(inputs, outputs)
    except Exception as error:
        return replace(facts, reason=f"its graph could not be followed ({error!r})")
    for value in values:
        if value.kind is Kind.MIXED and value.reason is not None:
            return replace(facts, **vars(value.reason))
        first = value.shape[0] if value.shape else None
        if value.kind is not Kind.ROWS or value.axis != 0 or first is None or not is_rows(first):
            return replace(facts, reason="an output does not have one row for each input row")
    return replace(facts, rows_apart=bool(values))


def _input(info: Any) -> Value:
    if info.tensor_shape.unknown_rank:
        return request_rows(None)
    return request_rows([dim.size for dim in info.tensor_shape.dim])
