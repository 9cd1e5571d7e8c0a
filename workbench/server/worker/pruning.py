"""Removes from a SavedModel's graph everything that serving does not reach.

A SavedModel has many operations that serving never runs: they save it again, or read and assign
variables one by one. TensorFlow keeps several copies of the graph. A version that is staged beside
a serving one takes that memory early, before its weights are loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from workbench.server.worker.composites import flattened

# A load runs these. Other collections (of TensorFlow 1) may be read by name in unknown ways.
_MAIN_OPS = frozenset({"saved_model_main_op", "legacy_init_op"})


def for_serving(meta_graph: Any) -> Any:
    """A `MetaGraphDef` that serves as `meta_graph` does, without what serving does not reach.

    It keeps the signatures' inputs and outputs, restoring, initialisation and assets, and all nodes
    and functions that these need. If something cannot be followed, `meta_graph` itself is returned;
    otherwise `meta_graph` loses its graph, because two large graphs would take too much memory.
    """
    roots = _roots(meta_graph)
    if roots is None:
        return meta_graph
    graph = meta_graph.graph_def
    nodes = {node.name: node for node in graph.node}
    if not roots <= nodes.keys():
        return meta_graph
    kept = _reached(roots, nodes, lambda node: map(_node, node.input))
    functions = {function.signature.name: function for function in graph.library.function}
    # TensorFlow finds implementations for other devices by this attribute.
    named = (name for name, f in functions.items() if "api_implements" in f.attr)
    called = (name for node in kept for name in called_functions(nodes[node]))
    needed = _reached(
        [*named, *called],
        functions,
        lambda function: (name for node in function.node_def for name in called_functions(node)),
    )

    small = type(graph)(versions=graph.versions)
    # In the order in which they were saved.
    small.node.extend(node for node in graph.node if node.name in kept)
    small.library.function.extend(f for name, f in functions.items() if name in needed)
    small.library.gradient.extend(g for g in graph.library.gradient if g.function_name in needed)
    meta_graph.ClearField("graph_def")
    meta_graph.ClearField("object_graph_def")
    result = type(meta_graph).FromString(meta_graph.SerializeToString())
    result.graph_def.MergeFrom(small)
    return result


def _roots(meta_graph: Any) -> set[str] | None:
    """The nodes that are fed, fetched or run by name; None if not all are known."""
    if not set(meta_graph.collection_def) <= _MAIN_OPS or not meta_graph.HasField("saver_def"):
        return None
    saver = meta_graph.saver_def
    names = {saver.restore_op_name, saver.filename_tensor_name}
    names.update(asset.tensor_info.name for asset in meta_graph.asset_file_def)
    for collection in meta_graph.collection_def.values():
        names.update(collection.node_list.value)
    for definition in map(flattened, meta_graph.signature_def.values()):
        for info in (*definition.inputs.values(), *definition.outputs.values()):
            if info.WhichOneof("encoding") != "name":
                return None
            names.add(info.name)
    return {_node(name) for name in names}


def _reached(
    roots: Iterable[str], things: dict[str, Any], following: Callable[[Any], Iterable[str]]
) -> set[str]:
    """The names of `things` that can be reached from `roots`, one after the other."""
    reached: set[str] = set()
    queue = list(roots)
    while queue:
        name = queue.pop()
        if name not in reached and name in things:
            reached.add(name)
            queue += following(things[name])
    return reached


def called_functions(node: Any) -> Iterator[str]:
    """The functions that a node may call: by its operation's name, or by an attribute."""
    yield node.op
    for attribute in node.attr.values():
        if attribute.HasField("func"):
            yield attribute.func.name
        for function in attribute.list.func:
            yield function.name


def _node(name: str) -> str:
    """The node of a tensor, or of an input as it is written in a graph."""
    return name.removeprefix("^").split(":")[0]
