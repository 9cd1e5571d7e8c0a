"""Functions, conditions and loops.

A loop is evaluated until what it carries from turn to turn does not change any more. One that
takes the rows of the batch one by one (`map_fn`) keeps them apart where it reads and writes only
the row that it is at, and carries nothing of it to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from workbench.server.worker.rows.dimensions import ROWS, Dimension
from workbench.server.worker.rows.rules.rule_book import rule
from workbench.server.worker.rows.values import Kind, Value, free, join, marks, numbers
from workbench.server.worker.rows.walk import Operation

_TURNS = 6


@rule("PartitionedCall StatefulPartitionedCall", content=True, tolerant=True, structural=True)
def call(operation: Operation) -> list[Value]:
    """What the function gives for these inputs."""
    return operation.walk.call(operation.attribute("f"), operation.inputs, operation)


@rule("If StatelessIf Case StatelessCase", content=True, tolerant=True, structural=True)
def condition(operation: Operation) -> list[Value]:
    """What the branches give in common, unless rows together choose one."""
    chosen, *arguments = operation.inputs
    if operation.name in ("If", "StatelessIf"):
        names = [operation.attribute("then_branch"), operation.attribute("else_branch")]
    else:
        names = [function.name for function in operation.node.attr["branches"].list.func]
    results = [operation.walk.call(name, arguments, operation) for name in names]
    joined: list[Value] = []
    for alternatives in zip(*results, strict=True):
        value: Value | None = alternatives[0]
        for other in alternatives[1:]:
            value = None if value is None else join(value, other)
        if value is None:
            value = operation.unproven("its branches give different things")
        joined.append(value if chosen.is_free else _chosen(operation, chosen, value))
    return joined


def _chosen(operation: Operation, chosen: Value, value: Value) -> Value:
    """What a branch gives where the request decides which."""
    if value.kind is Kind.MIXED:
        return value
    if chosen.kind is Kind.ROW and value.kind in (Kind.FREE, Kind.ROW):
        return replace(value, kind=Kind.ROW, content=None)
    if chosen.kind is Kind.ROW and value.kind is Kind.LIST and value.along_rows:
        return value
    if chosen.kind is Kind.SIZED:
        return operation.mixes("how many rows there are decides which branch is taken")
    if chosen.kind in (Kind.ROWS, Kind.MIXED):
        return operation.mixes("all rows together decide which branch is taken")
    return operation.unproven("what decides which branch is taken is not known")


@rule("Switch RefSwitch", content=True, structural=True)
def switch(operation: Operation) -> list[Value]:
    """TensorFlow 1's condition: what comes in goes to one of two branches."""
    value, chosen = operation.inputs
    return [value if chosen.is_free else _chosen(operation, chosen, value)] * 2


@rule("Merge", content=True, structural=True)
def merge(operation: Operation) -> list[Value]:
    """What one of the branches has given, and which. After them come all that decides."""
    branches = int(operation.attribute("N", 0))
    chosen = operation.inputs[branches:]
    value: Value | None = operation.inputs[0]
    for other in operation.inputs[1:branches]:
        value = None if value is None else join(value, other)
    if value is None or not all(each.is_free for each in chosen):
        return [operation.unproven("what decides which branch is taken is not known")] * 2
    return [value, free(())]


@rule("While StatelessWhile", content=True, tolerant=True, structural=True)
def loop(operation: Operation) -> list[Value]:
    """What the loop carries when another turn changes nothing."""
    start = list(operation.inputs)
    inside = any(value.kind is Kind.POSITION for value in start)
    by_row = [
        Value(Kind.POSITION, (), offset=0) if v.is_free and v.content == _ZERO else v for v in start
    ]
    over_rows = not inside and _goes_on(operation, by_row).kind is Kind.EVERY_ROW
    if inside or (over_rows and any(value.kind is Kind.ROW for value in start)):
        return [operation.unproven("it is a loop inside of a loop over the rows")] * len(start)
    if not over_rows:
        plain = [replace(v, content=None) if v.content == _ZERO else v for v in start]
        return _turns(operation, plain)
    found = _turns(operation, by_row)
    body = operation.attribute("body")
    for number, value in enumerate(start):
        # Another loop may have been at the rows that such a list has.
        filled = value.along_rows and value.inner is not None
        if filled and not operation.walk.hands_on(body, number):
            return [operation.unproven("it writes over rows that are there already")] * len(start)
    return found


_ZERO = (Dimension(0),)


def _goes_on(operation: Operation, carried: Sequence[Value]) -> Value:
    return operation.walk.call(operation.attribute("cond"), carried, operation)[0]


def _turns(operation: Operation, carried: list[Value]) -> list[Value]:
    made: set[str] = set()
    body = operation.attribute("body")
    for _ in range(_TURNS):
        goes_on = _goes_on(operation, carried)
        every_row = goes_on.kind is Kind.EVERY_ROW
        if not every_row and not goes_on.is_free:
            return [_decided(operation, goes_on)] * len(carried)
        after = operation.walk.call(body, carried, operation)
        joined = [
            _carried(operation, number, before, new, every_row)
            for number, (before, new) in enumerate(zip(carried, after, strict=True))
        ]
        known: set[str] = set().union(*map(marks, (*carried, *after)))
        made |= set().union(*map(marks, joined)) - known
        if all(_alike(one, other, made) for one, other in zip(joined, carried, strict=True)):
            return [
                numbers([ROWS], ()) if value.kind is Kind.POSITION else value for value in joined
            ]
        carried = joined
    return [operation.unproven("what it carries from turn to turn goes on changing")] * len(carried)


def _carried(
    operation: Operation, number: int, before: Value, after: Value, every_row: bool
) -> Value:
    if every_row and operation.walk.hands_on(operation.attribute("body"), number):
        # It is the same in each turn; a number that stays is none of this loop's counters.
        return free(()) if before.kind is Kind.POSITION else before
    if before.kind is Kind.POSITION:
        if after.kind is Kind.POSITION and after.offset == 1:
            return before
        return operation.unproven("it counts its turns in another way")
    if every_row and not (before.kind is Kind.LIST and before.along_rows):
        return operation.mixes("its loop carries something of one row on to the next")
    joined = join(before, after)
    if joined is None:
        return operation.unproven("what it carries changes from turn to turn")
    return joined


def _decided(operation: Operation, goes_on: Value) -> Value:
    if goes_on.kind is Kind.MIXED:
        return goes_on
    if goes_on.kind is Kind.SIZED:
        return operation.unproven("how often it turns depends on how many rows there are")
    return operation.mixes("all rows together decide how often it turns")


def _alike(one: Value, other: Value, made: set[str]) -> bool:
    """Whether another turn would change nothing: two values differ at most in sizes that this loop
    has found to change, and that `made` has symbols for."""
    if (one.kind, one.axis, one.rank, one.content) != (
        other.kind,
        other.axis,
        other.rank,
        other.content,
    ):
        return False
    for now, then in zip(one.shape or (), other.shape or (), strict=True):
        if now != then and not (len(then.symbols) == 1 and then.symbols[0] in made):
            return False
    if one.inner is None or other.inner is None:
        return one.inner is other.inner
    return _alike(one.inner, other.inner, made)
