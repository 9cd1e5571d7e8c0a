"""The rules of all operations by name, and how the right one is applied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from workbench.server.worker.rows.values import Kind, Shape, Value
from workbench.server.worker.rows.walk import Operation

T = TypeVar("T")
Rule = Callable[[Operation], "Value | Sequence[Value]"]

RULES: dict[str, Rule] = {}
CONTENT: set[str] = set()
"""Operations whose rule also applies when no input comes from the request."""
TOLERANT: set[str] = set()
"""Operations whose result may be unmixed although an input is mixed."""
STRUCTURAL: set[str] = set()
"""Operations on lists, and those that call functions: their rule always applies."""
MIXING: dict[str, str] = {}
"""Operations whose purpose is to combine rows, with the reason."""
NEVER: dict[str, str] = {}
"""Operations whose result differs from run to run, whatever they are fed, with the reason."""

_OF_NO_REQUEST = frozenset({Kind.FREE, Kind.HANDLE})
_OF_ONE_ROW = _OF_NO_REQUEST | {Kind.ROW}


def rule(
    names: str, *, content: bool = False, tolerant: bool = False, structural: bool = False
) -> Callable[[Rule], Rule]:
    """Register the rule of these operations (their names, separated by blanks)."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names.split(), function))
        for group, belongs in ((CONTENT, content), (TOLERANT, tolerant), (STRUCTURAL, structural)):
            if belongs:
                group.update(names.split())
        return function

    return register


class Unproven(Exception):
    """Ends a rule: the operation may mix rows, and the text says why."""


def need(holds: object, text: str = "it is not known to keep rows apart here") -> None:
    """End the rule with `Operation.unproven(text)` unless `holds`."""
    if not holds:
        raise Unproven(text)


def known(found: T | None, text: str) -> T:
    """`found`; where it is None, end the rule with `Operation.unproven(text)`."""
    if found is None:
        raise Unproven(text)
    return found


def row_shape(value: Value, text: str = "the shape of its input is not known") -> Shape:
    """The shape of a tensor of rows; for any other, end the rule as `known` does."""
    return known(value.shape if value.kind is Kind.ROWS else None, text)


def apply(operation: Operation) -> list[Value]:
    """What the results of an operation are made of."""
    found = _apply(operation)
    if isinstance(found, Value):
        return [found] * max(1, operation.outputs())
    return list(found)


def _apply(operation: Operation) -> Value | Sequence[Value]:
    name, inputs = operation.name, operation.inputs
    if operation.walk.is_function(name):
        return operation.walk.call(name, inputs, operation)
    if name in NEVER:
        return operation.mixes(NEVER[name])
    if name not in TOLERANT:
        for value in inputs:
            if value.kind is Kind.MIXED:
                outputs = range(max(1, operation.outputs()))
                return [replace(value, shape=operation.shape(at), floor=None) for at in outputs]
    kinds = {value.kind for value in inputs}
    if name not in STRUCTURAL:
        if name not in CONTENT and kinds <= _OF_NO_REQUEST:
            return [operation.free(at) for at in range(operation.outputs())]
        if Kind.ROW in kinds and kinds <= _OF_ONE_ROW:
            # What is computed of one row alone is that row's.
            shapes = [operation.shape(at) for at in range(operation.outputs())]
            return [Value(Kind.ROW, shape) for shape in shapes]
    if name in RULES:
        try:
            return RULES[name](operation)
        except Unproven as error:
            return operation.unproven(str(error))
    if kinds <= _OF_NO_REQUEST | {Kind.SIZED}:
        return Value(Kind.SIZED, operation.shape())
    if name in MIXING:
        return operation.mixes(MIXING[name])
    return operation.unproven("it is not known to keep rows apart")
