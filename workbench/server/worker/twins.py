"""Signatures of a SavedModel that compute the same thing from the same inputs.

Keras exports each model as ``serve`` and as ``serving_default``: two nodes that call one function.
Proofs, trial runs and optimised graphs of one also hold for the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.core.signature import DEFAULT_SIGNATURE

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_ONLY_NAMES = ("_output_shapes", "_user_specified_name")


def twins(graph: Any, definitions: Mapping[str, Any]) -> dict[str, str]:
    """For each signature that another one can stand in for, that other one.

    Args:
        graph: a `GraphDef`.
        definitions: `SignatureDef` messages whose inputs and outputs are plain tensors.
    """
    nodes = {node.name: node for node in graph.node}
    functions = {each.signature.name: each for each in graph.library.function}
    first: dict[Any, str] = {}
    found = {}
    for name in sorted(definitions, key=lambda name: (name != DEFAULT_SIGNATURE, name)):
        one = first.setdefault(_computation(definitions[name], nodes, functions), name)
        if one != name:
            found[name] = one
    return found


def _computation(definition: Any, nodes: Mapping[str, Any], functions: Mapping[str, Any]) -> Any:
    """A description of the computation that is equal for twins; inputs are named by alias."""
    fed = {info.name: alias for alias, info in definition.inputs.items()}
    if len(fed) < len(definition.inputs):
        # Two inputs are one tensor: such a signature has no twin.
        return object()
    known: dict[str, Any] = {}
    calls: dict[str, int] = {}

    def of(tensor: str) -> Any:
        if tensor in fed:
            return ("fed", fed[tensor])
        if tensor not in known:
            known[tensor] = computed(tensor)
        return known[tensor]

    def computed(tensor: str) -> Any:
        name, _, number = tensor.removeprefix("^").partition(":")
        node = nodes.get(name)
        if node is None or node.op not in _CALLS or node.attr["f"].func.name not in functions:
            # Other nodes must be identical, and fed with the same inputs.
            return ("node", tensor, _feeds(name, nodes, fed))
        # Two calls of one function may answer differently, if they draw random numbers.
        call = calls.setdefault(name, len(calls))
        body = _body(functions[node.attr["f"].func.name])
        inputs = tuple(of(_tensor(each)) for each in node.input)
        ordered = "^" if tensor.startswith("^") else number or "0"
        return ("call", call, node.op, ordered, node.device, _attributes(node), body, inputs)

    outputs = tuple((alias, of(info.name)) for alias, info in sorted(definition.outputs.items()))
    inputs = tuple(
        (alias, info.dtype, info.tensor_shape.SerializeToString())
        for alias, info in sorted(definition.inputs.items())
    )
    defaults = tuple(
        (alias, proto.SerializeToString(deterministic=True))
        for alias, proto in sorted(definition.defaults.items())
    )
    return inputs, defaults, outputs


def _tensor(name: str) -> str:
    """An input of a node as a tensor's name; ``^name`` only orders the two nodes."""
    return name if ":" in name or name.startswith("^") else f"{name}:0"


def _feeds(name: str, nodes: Mapping[str, Any], fed: Mapping[str, str]) -> Any:
    """The inputs that a node depends on, each with the tensor that it is fed to."""
    reached: set[str] = set()
    queue, found = [name], set()
    while queue:
        at = queue.pop()
        if at in reached or at not in nodes:
            continue
        reached.add(at)
        for each in nodes[at].input:
            tensor = _tensor(each.removeprefix("^"))
            if tensor in fed:
                found.add((tensor, fed[tensor]))
            else:
                queue.append(tensor.partition(":")[0])
    return frozenset(found)


def _attributes(node: Any) -> Any:
    """All attributes except the function's name; those of `f` itself are included."""
    found = []
    for key, value in sorted(node.attr.items()):
        if key == "f":
            value = type(value).FromString(value.SerializeToString())
            value.func.name = ""
        if key not in _ONLY_NAMES:
            found.append((key, value.SerializeToString(deterministic=True)))
    return tuple(found)


def _body(function: Any) -> bytes:
    """A function without its own name and the attributes of its arguments."""
    body = type(function).FromString(function.SerializeToString())
    body.signature.name = ""
    body.ClearField("arg_attr")
    serialised: bytes = body.SerializeToString(deterministic=True)
    return serialised
