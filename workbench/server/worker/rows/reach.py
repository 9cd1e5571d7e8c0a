"""Finds the operations that run when some tensors are computed: the nodes that these depend on, and
all operations of the functions that may be called. All operations of a function count, because
those with an effect run whatever is fetched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

from workbench.server.worker.pruning import called_functions

# Stateful operations that only read, draw numbers, check, print, or call functions; the last ones
# change nothing that is there afterwards.
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
    "SimpleMLInferenceOpWithHandle", "FIFOQueueV2", "PaddingFIFOQueueV2", "RandomShuffleQueueV2",
    "IteratorV2", "OneShotIterator", "CudnnRNN", "CudnnRNNV2", "CudnnRNNV3", "Abort",
})
# Operations that cannot run in a SavedModel unless another one is there (None: never), and why.
_LACKING: dict[str, tuple[str | None, str]] = {
    **dict.fromkeys(
        ("EagerPyFunc", "PyFunc", "PyFuncStateless"),
        (None, "it calls a Python function, which a SavedModel does not contain"),
    ),
    **dict.fromkeys(
        ("QueueDequeueV2", "QueueDequeueManyV2", "QueueDequeueUpToV2", "QueueDequeue",
         "QueueDequeueMany", "QueueDequeueUpTo"),
        ("QueueEnqueue", "it waits for a queue that nothing fills"),
    ),
    "IteratorGetNext": ("MakeIterator", "it reads an iterator that nothing initialises"),
}
# fmt: on
_COMPILED_CALLS = frozenset({"XlaCallModule", "XlaLaunch", "XlaLaunchV2"})


class Reached(NamedTuple):
    """What was found: the first operation with an effect and the first that can never be run, by
    their types, and whether something is compiled."""

    effect: str = ""
    lacking: str = ""
    lacks: str = ""
    compiled: bool = False


class Reach:
    """A graph with its functions.

    Args:
        run: the names of all nodes that are ever run: of the signatures, and of what initialises.
    """

    def __init__(self, graph_def: Any, run: Iterable[str]) -> None:
        self._nodes = {node.name: node for node in graph_def.node}
        self._functions = {f.signature.name: f for f in graph_def.library.function}
        self._run = list(run)

    def of(self, tensors: Iterable[str]) -> Reached:
        """The side effects of computing `tensors` (names of nodes)."""
        found = Reached()
        for node in self._behind(tensors):
            found = self._look(node, found)
        return found

    @cached_property
    def _types(self) -> frozenset[str]:
        """The types of all operations that are ever run."""
        return frozenset(node.op for node in self._behind(self._run))

    def _behind(self, tensors: Iterable[str]) -> Iterator[Any]:
        """The nodes that are run for these, those of functions after those of the graph."""
        seen: set[str] = set()
        called: list[str] = []
        pending = list(tensors)
        while pending:
            name = pending.pop()
            if name in seen or name not in self._nodes:
                continue
            seen.add(name)
            node = self._nodes[name]
            yield node
            called += called_functions(node)
            pending += [each.removeprefix("^").split(":")[0] for each in node.input]
        entered: set[str] = set()
        while called:
            name = called.pop()
            if name in entered or name not in self._functions:
                continue
            entered.add(name)
            for node in self._functions[name].node_def:
                yield node
                called += called_functions(node)

    def _look(self, node: Any, found: Reached) -> Reached:
        from tensorflow.python.framework import op_def_registry

        if node.op in _COMPILED_CALLS or self._is_compiled(node):
            found = found._replace(compiled=True)
        if node.op in _LACKING:
            needed, why = _LACKING[node.op]
            if needed is None or not any(name.startswith(needed) for name in self._types):
                return found._replace(lacking=node.op, lacks=why)
        if node.op not in _WITHOUT_EFFECT and not found.effect:
            definition = op_def_registry.get(node.op)
            if definition is not None and definition.is_stateful:
                return found._replace(effect=node.op)
        return found

    def _is_compiled(self, node: Any) -> bool:
        """Whether a node calls a function that must be compiled."""
        marked = [node.attr]
        marked += [self._functions[n].attr for n in called_functions(node) if n in self._functions]
        return any("_XlaMustCompile" in attr and attr["_XlaMustCompile"].b for attr in marked)
