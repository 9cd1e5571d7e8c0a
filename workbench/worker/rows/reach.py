"""Which operations computing some tensors runs: those behind them, and those in all functions that
may be called on the way. Functions are looked at whole, as all that has an effect in them runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

# Stateful operations that only read, draw numbers, check, print, or call functions.
# fmt: off
_WITHOUT_EFFECT = frozenset({
    "VarHandleOp", "VarIsInitializedOp", "ReadVariableOp", "ResourceGather", "ResourceGatherNd",
    "VariableV2", "Variable", "HashTable", "HashTableV2", "MutableHashTableV2",
    "LookupTableFind", "LookupTableFindV2", "LookupTableSize", "LookupTableSizeV2",
    "LookupTableExport", "LookupTableExportV2", "StatefulPartitionedCall", "If", "While", "Case",
    "RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal", "Multinomial",
    "RandomShuffle", "ParameterizedTruncatedNormal", "RandomGamma", "RandomPoissonV2",
    "Placeholder", "PlaceholderWithDefault", "Assert", "Print", "PrintV2", "XlaCallModule",
    "DummySeedGenerator", "BoostedTreesEnsembleResourceHandleOp", "DecisionTreeResourceHandleOp",
    "SimpleMLInferenceOpWithHandle",
})
_PYTHON = frozenset({"EagerPyFunc", "PyFunc", "PyFuncStateless"})
# fmt: on
_COMPILED_CALLS = frozenset({"XlaCallModule", "XlaLaunch", "XlaLaunchV2"})


class Reached(NamedTuple):
    """The first operation of each kind that was found, by its type; empty where there is none."""

    effect: str = ""
    python: str = ""
    compiled: bool = False


def reached(graph_def: Any, tensors: Iterable[str]) -> Reached:
    """What computing `tensors` (names of nodes) of a graph does besides."""
    nodes = {node.name: node for node in graph_def.node}
    functions = {f.signature.name: f for f in graph_def.library.function}
    found = Reached()
    seen: set[str] = set()
    called: list[str] = []
    pending = list(tensors)
    while pending:
        name = pending.pop()
        if name in seen or name not in nodes:
            continue
        seen.add(name)
        found = _look(nodes[name], found, called)
        pending += [each.removeprefix("^").split(":")[0] for each in nodes[name].input]
    entered: set[str] = set()
    while called:
        name = called.pop()
        if name in entered or name not in functions:
            continue
        entered.add(name)
        function = functions[name]
        if "_XlaMustCompile" in function.attr and function.attr["_XlaMustCompile"].b:
            found = found._replace(compiled=True)
        for node in function.node_def:
            found = _look(node, found, called)
    return found


def _look(node: Any, found: Reached, called: list[str]) -> Reached:
    from tensorflow.python.framework import op_def_registry

    called.append(node.op)
    for name, attribute in node.attr.items():
        if attribute.HasField("func"):
            called.append(attribute.func.name)
        elif attribute.list.func:
            called.extend(f.name for f in attribute.list.func)
        elif name == "_XlaMustCompile" and attribute.b:
            found = found._replace(compiled=True)
    if node.op in _COMPILED_CALLS:
        found = found._replace(compiled=True)
    if node.op in _PYTHON:
        found = found._replace(python=found.python or node.op)
    elif node.op not in _WITHOUT_EFFECT and not found.effect:
        definition = op_def_registry.get(node.op)
        if definition is not None and definition.is_stateful:
            found = found._replace(effect=node.op)
    return found
