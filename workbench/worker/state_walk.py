"""Which signatures may keep a tensor that they are fed.

TensorFlow feeds numpy arrays without copying them. An operation that stores its input (an
assignment to a variable, an insertion into a queue) would then hold shared memory that the next
batch overwrites. Such signatures are fed copies instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# Stateful operations that read state, draw numbers or call functions, but never keep a tensor
# that they were fed. Any other stateful operation might, and then inputs are copied.
# fmt: off
_KEEP_NOTHING = frozenset({
    "VarHandleOp", "ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableV2", "Variable",
    "HashTable", "HashTableV2", "LookupTableFind", "LookupTableFindV2", "LookupTableSize",
    "LookupTableSizeV2", "StatefulPartitionedCall", "If", "While", "Case", "RandomUniform",
    "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal", "Multinomial", "RandomShuffle",
    "Placeholder", "PlaceholderWithDefault", "AssignAddVariableOp", "AssignSubVariableOp", "Assert",
})
# fmt: on


def keepers(graph_def: Any, operations: Iterable[str]) -> frozenset[str]:
    """Those of `operations` (names of nodes) that may, when they are computed, keep a fed tensor.

    All are looked at together first: nearly always the answer is none, after one walk.
    """
    walk = _Walk(graph_def)
    names = set(operations)
    if not walk.keeps(names):
        return frozenset()
    return frozenset(name for name in names if walk.keeps([name]))


class _Walk:
    """The graph, to be walked backwards from what is computed."""

    def __init__(self, graph_def: Any) -> None:
        self._nodes = {node.name: node for node in graph_def.node}
        self._functions = {f.signature.name: f for f in graph_def.library.function}

    def keeps(self, outputs: Iterable[str]) -> bool:
        seen: set[str] = set()
        functions: set[str] = set()
        queue = list(outputs)
        while queue:
            name = queue.pop()
            if name in seen or name not in self._nodes:
                continue
            seen.add(name)
            node = self._nodes[name]
            if self._keeps(node, functions):
                return True
            queue += [i.removeprefix("^").split(":")[0] for i in node.input]
        while functions:
            function = self._functions.get(functions.pop())
            if function is None or function.signature.name in seen:
                continue
            seen.add(function.signature.name)
            if any(self._keeps(node, functions) for node in function.node_def):
                return True
        return False

    @staticmethod
    def _keeps(node: Any, functions: set[str]) -> bool:
        from tensorflow.python.framework import op_def_registry

        for attr in node.attr.values():
            if attr.HasField("func"):
                functions.add(attr.func.name)
            functions.update(f.name for f in attr.list.func)
        definition = op_def_registry.get(node.op)
        return definition is None or (definition.is_stateful and node.op not in _KEEP_NOTHING)
