"""A graph without its names: equal for equal computations, in every trace.

TensorFlow numbers functions, and Keras numbers layers, in the order in which they are made. These
numbers have no part in what the graph computes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

_NAMES_IN_ATTRIBUTES = ("_gradient_op_type", "config_proto", "executor_type", "shared_name")


def graph_form(graph_def: Any) -> Iterator[bytes]:
    """The nodes of a graph and of the functions that it calls, in order, as bytes.

    An input is replaced by the position of the node that it comes from, a function's name by the
    order of first calls.
    """
    functions = {function.signature.name: function for function in graph_def.library.function}
    called: dict[str, int] = {}
    yield from _nodes(graph_def.node, (), functions, called)
    done = 0
    while done < len(called):
        function = functions[list(called)[done]]
        done += 1
        arguments = [argument.name for argument in function.signature.input_arg]
        yield f"function {len(arguments)}".encode()
        places = {name: f"argument{i}" for i, name in enumerate(arguments)}
        yield from _nodes(function.node_def, arguments, functions, called)
        places |= {node.name: str(i) for i, node in enumerate(function.node_def)}
        for output in function.signature.output_arg:
            yield _placed(function.ret[output.name], places).encode()


def _nodes(
    nodes: Iterable[Any], arguments: Iterable[str], functions: Any, called: dict[str, int]
) -> Iterator[bytes]:
    nodes = list(nodes)
    places = {name: f"argument{i}" for i, name in enumerate(arguments)}
    places |= {node.name: str(i) for i, node in enumerate(nodes)}
    for node in nodes:
        plain = type(node)()
        plain.CopyFrom(node)
        plain.name = ""
        plain.ClearField("experimental_debug_info")
        if node.op in functions:
            plain.op = _number(node.op, called)
        del plain.input[:]
        plain.input.extend(_placed(each, places) for each in node.input)
        for name in _NAMES_IN_ATTRIBUTES:
            if name in plain.attr:
                del plain.attr[name]
        for attribute in plain.attr.values():
            for function in (attribute.func, *attribute.list.func):
                if function.name in functions:
                    function.name = _number(function.name, called)
        yield plain.SerializeToString(deterministic=True)


def _number(function: str, called: dict[str, int]) -> str:
    return f"function{called.setdefault(function, len(called))}"


def _placed(tensor: str, places: dict[str, str]) -> str:
    """An input, with the position of its node in place of the name."""
    mark = "^" if tensor.startswith("^") else ""
    node, colon, output = tensor.removeprefix("^").partition(":")
    return mark + places.get(node, node) + colon + output
