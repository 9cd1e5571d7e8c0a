"""Evaluates a graph, and the functions that it calls, on abstract values.

Only what the wanted tensors need is evaluated, so a mixed tensor that is only checked, or
discarded, does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workbench.server.worker.rows.dimensions import Dimension, unknown
from workbench.server.worker.rows.values import Kind, Reason, Shape, Value, free, marks, rows

_DEEPEST_CALL = 40
# A graph with one of these has cycles, and states that the graph alone does not show.
_OLD_LOOPS = frozenset({"Enter", "RefEnter", "Exit", "NextIteration", "LoopCond"})
_OLD_CONTROL_FLOW = _OLD_LOOPS | {"Merge", "Switch", "RefSwitch"}


class Operation:
    """One node with its inputs evaluated, as a rule sees it."""

    def __init__(self, walk: Walk, node: Any, inputs: Sequence[Value], depth: int) -> None:
        self.walk = walk
        self.node = node
        self.name: str = node.op
        self.inputs = inputs
        self.depth = depth

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute as Python has it."""
        if name not in self.node.attr:
            return default
        value = self.node.attr[name]
        field = value.WhichOneof("value")
        if field == "list":
            for kind in ("i", "s", "b", "f", "type", "shape"):
                if getattr(value.list, kind):
                    return list(getattr(value.list, kind))
            return []
        if field == "func":
            return value.func.name
        found = getattr(value, field) if field else default
        return found.decode() if isinstance(found, bytes) else found

    def declared(self, output: int = 0) -> tuple[int, ...] | None:
        """The shape that was saved with the graph, -1 for what was not known."""
        attributes = self.node.attr
        shapes = attributes["_output_shapes"].list.shape if "_output_shapes" in attributes else ()
        if output >= len(shapes) or shapes[output].unknown_rank:
            return None
        return tuple(dim.size for dim in shapes[output].dim)

    def shape(self, output: int = 0) -> Shape | None:
        """The same as dimensions."""
        found = self.declared(output)
        return None if found is None else _dimensions(found)

    def saved(self, axis: int, output: int = 0) -> Dimension | None:
        """One size of that shape; None where it was not known."""
        found = self.declared(output)
        return None if found is None or found[axis] < 0 else Dimension(found[axis])

    def free(self, output: int = 0) -> Value:
        """A result that is made of nothing of the request."""
        return free(self.shape(output))

    def rows(self, axis: int, shape: Shape | None) -> Value:
        """Rows along an axis; other dimensions that are unknown are those saved with the graph."""
        declared = self.declared()
        if shape is not None and declared is not None and len(declared) == len(shape):
            shape = tuple(
                Dimension(saved) if saved >= 0 and ours.known is None and at != axis else ours
                for at, (ours, saved) in enumerate(zip(shape, declared, strict=True))
            )
        return rows(shape, axis)

    def image_of(self, given: Value, output: int = 0) -> Value:
        """Rows along the first axis as in `given`, all other dimensions as they were saved."""
        declared = self.declared(output)
        if given.shape is None or declared is None or not declared:
            return self.unproven("it has an unknown shape")
        return rows((given.shape[0], *_dimensions(declared[1:])), 0)

    def mixes(self, text: str) -> Value:
        """The result depends on several rows, for certain."""
        return self._mixed(text, True)

    def unproven(self, text: str) -> Value:
        """The result may depend on several rows."""
        return self._mixed(text, False)

    def _mixed(self, text: str, certain: bool) -> Value:
        reason = Reason(self.name, self.node.name, text, certain)
        return Value(Kind.MIXED, self.shape(), reason=reason)

    def outputs(self) -> int:
        """How many tensors the node gives."""
        definition = _registered(self.node.op)
        if definition is None:
            return max(1, len(self.node.attr["_output_shapes"].list.shape))
        return sum(_length(self.node, argument) for argument in definition.output_arg)


class Body:
    """A graph, or a function's body, to be evaluated on some inputs."""

    def __init__(self, nodes: Sequence[Any]) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.has_old_loops = any(node.op in _OLD_LOOPS for node in nodes)
        # The conditions of TensorFlow 1: a branch without inputs depends on them too.
        self.choices = [node.input[1] for node in nodes if node.op in ("Switch", "RefSwitch")]


class Function(Body):
    """A function of the graph, with the names of its arguments and results."""

    def __init__(self, definition: Any) -> None:
        super().__init__(definition.node_def)
        self.arguments = [argument.name for argument in definition.signature.input_arg]
        self.results = [
            definition.ret[argument.name] for argument in definition.signature.output_arg
        ]

    def hands_on(self, number: int) -> bool:
        """Whether the result of this number is nothing but the argument of the same number."""
        name = _node_of(self.results[number])
        while name in self.nodes and self.nodes[name].op == "Identity":
            name = _node_of(self.nodes[name].input[0])
        return bool(name == self.arguments[number])


class Walk:
    """A graph with its functions.

    Args:
        apply: what the results of an operation are made of (`rules.apply`).
    """

    def __init__(self, graph_def: Any, apply: Callable[[Operation], list[Value]]) -> None:
        self._apply = apply
        self._graph = Body(graph_def.node)
        self._definitions = {f.signature.name: f for f in graph_def.library.function}
        self._functions: dict[str, Function] = {}
        # Signatures often call the same function, and loops theirs again and again.
        self._results: dict[tuple[str, tuple[Value, ...]], list[Value]] = {}

    def signature(self, inputs: Mapping[str, Value], outputs: Sequence[str]) -> list[Value]:
        """What the tensors `outputs` are made of where those named in `inputs` are fed."""
        known = {name.split(":")[0]: [value] for name, value in inputs.items()}
        return self._evaluate(self._graph, outputs, known, 0)

    def is_function(self, name: str) -> bool:
        """Whether the graph defines a function of that name."""
        return name in self._definitions

    def call(self, name: str, arguments: Sequence[Value], operation: Operation) -> list[Value]:
        """What a function gives for these arguments."""
        if operation.depth >= _DEEPEST_CALL or name not in self._definitions:
            why = f"its function {name} cannot be followed"
            return [operation.unproven(why)] * operation.outputs()
        function = self._functions.get(name)
        if function is None:
            function = self._functions[name] = Function(self._definitions[name])
        key = (name, tuple(arguments))
        results = self._results.get(key)
        if results is None:
            known = {a: [v] for a, v in zip(function.arguments, arguments, strict=False)}
            results = self._evaluate(function, function.results, known, operation.depth + 1)
            # Unknown sizes of one call need not equal those of another: such results are not kept.
            if set().union(*map(marks, results)) <= set().union(*map(marks, arguments)):
                self._results[key] = results
        return results

    def hands_on(self, name: str, number: int) -> bool:
        """Whether a function gives back the argument of this number as its result of it."""
        function = self._functions.get(name)
        return function is not None and function.hands_on(number)

    def _evaluate(
        self, body: Body, wanted: Sequence[str], known: dict[str, list[Value]], depth: int
    ) -> list[Value]:
        pending = [_node_of(name) for name in wanted]
        while pending:
            name = pending[-1]
            if name in known:
                pending.pop()
                continue
            node = body.nodes[name]
            given = [each for each in node.input if not each.startswith("^")]
            if node.op == "Merge":
                given += body.choices
            if body.has_old_loops and node.op in _OLD_CONTROL_FLOW:
                operation = Operation(self, node, (), depth)
                why = "TensorFlow 1's loops cannot be followed"
                known[name] = [operation.unproven(why)] * operation.outputs()
                continue
            missing = [n for n in map(_node_of, given) if n not in known]
            if missing:
                pending += missing
                continue
            pending.pop()
            inputs = [self._tensor(body, name, known) for name in given]
            known[name] = self._apply(Operation(self, node, inputs, depth))
        return [self._tensor(body, name, known) for name in wanted]

    def _tensor(self, body: Body, name: str, known: Mapping[str, list[Value]]) -> Value:
        node, *rest = name.split(":")
        values = known[node]
        if not values:  # such as NoOp
            return free()
        if not rest:
            return values[0]
        number = int(rest[-1])
        if len(rest) == 2:
            number += _first_of(body.nodes[node], rest[0], self)
        return values[number]

    def results_of(self, name: str) -> list[str]:
        """The names of a function's results, in order."""
        return [a.name for a in self._definitions[name].signature.output_arg]


def _first_of(node: Any, argument_name: str, walk: Walk) -> int:
    """Where the tensors of an output argument begin among all outputs of a node."""
    definition = _registered(node.op)
    if definition is None:
        return walk.results_of(node.op).index(argument_name) if walk.is_function(node.op) else 0
    first = 0
    for argument in definition.output_arg:
        if argument.name == argument_name:
            break
        first += _length(node, argument)
    return first


def _length(node: Any, argument: Any) -> int:
    if argument.number_attr:
        return int(node.attr[argument.number_attr].i)
    if argument.type_list_attr:
        return len(node.attr[argument.type_list_attr].list.type)
    return 1


def _registered(name: str) -> Any:
    from tensorflow.python.framework import op_def_registry

    return op_def_registry.get(name)


def _node_of(tensor: str) -> str:
    return tensor.split(":")[0]


def _dimensions(sizes: Sequence[int]) -> Shape:
    return tuple(unknown() if size < 0 else Dimension(size) for size in sizes)
