"""Functions, conditions and loops.

A loop is evaluated until another iteration changes none of the values that it carries. One that
takes the rows of the batch one by one (`map_fn`) keeps them apart if it reads and writes only the
current row, and carries nothing of it to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

from workbench.server.worker.rows.dimensions import ROWS, Dimension
from workbench.server.worker.rows.rules.rule_book import Unproven, known, need, rule
from workbench.server.worker.rows.values import Kind, Value, free, join, marks, numbers
from workbench.server.worker.rows.walk import Operation

_ITERATIONS = 6
_CHOICE = "the value that decides which branch is taken is not known"


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
    differ = operation.unproven("its branches give results of different kinds")
    joined = (reduce(join, alternatives) or differ for alternatives in zip(*results, strict=True))
    return [_chosen(operation, chosen, value) for value in joined]


def _chosen(operation: Operation, chosen: Value, value: Value) -> Value:
    """What a branch gives where `chosen` decides which."""
    if chosen.is_free or value.kind is Kind.MIXED:
        return value
    if chosen.kind is Kind.ROW and value.kind in (Kind.FREE, Kind.ROW):
        return replace(value, kind=Kind.ROW, content=None)
    if chosen.kind is Kind.ROW and value.kind is Kind.LIST and value.along_rows:
        return value
    if chosen.kind is Kind.SIZED:
        return operation.mixes("the number of rows decides which branch is taken")
    if chosen.kind in (Kind.ROWS, Kind.MIXED):
        return operation.mixes("all rows together decide which branch is taken")
    return operation.unproven(_CHOICE)


@rule("Switch RefSwitch", content=True, structural=True)
def switch(operation: Operation) -> Value:
    """TensorFlow 1's condition: what comes in goes to one of two branches."""
    value, chosen = operation.inputs
    return _chosen(operation, chosen, value)


@rule("Merge", content=True, structural=True)
def merge(operation: Operation) -> list[Value]:
    """What one of the branches has given, and which. After them come all that decides."""
    branches = int(operation.attribute("N", 0))
    need(all(each.is_free for each in operation.inputs[branches:]), _CHOICE)
    given: Sequence[Value | None] = operation.inputs[:branches]
    return [known(reduce(join, given), _CHOICE), free(())]


@rule("While StatelessWhile", content=True, tolerant=True, structural=True)
def loop(operation: Operation) -> list[Value]:
    """What the loop carries when another iteration changes nothing."""
    start = operation.inputs
    inside = any(value.kind is Kind.POSITION for value in start)
    by_row = [Value(Kind.POSITION, ()) if v.is_free and v.content == _ZERO else v for v in start]
    over_rows = not inside and _goes_on(operation, by_row).kind is Kind.EVERY_ROW
    nested = inside or (over_rows and any(value.kind is Kind.ROW for value in start))
    need(not nested, "it is a loop inside a loop over the rows")
    if not over_rows:
        plain = [replace(v, content=None) if v.content == _ZERO else v for v in start]
        return _iterated(operation, plain)
    found = _iterated(operation, by_row)
    for number, value in enumerate(start):
        # An earlier loop may have written the rows that such a list has.
        filled = value.along_rows and value.inner is not None
        need(not filled or _stays(operation, number), "it overwrites rows of an earlier loop")
    return found


_ZERO = (Dimension(0),)


def _goes_on(operation: Operation, carried: Sequence[Value]) -> Value:
    return operation.walk.call(operation.attribute("cond"), carried, operation)[0]


def _stays(operation: Operation, number: int) -> bool:
    """Whether each iteration hands on the value of this number as it is."""
    return operation.walk.hands_on(operation.attribute("body"), number)


def _iterated(operation: Operation, carried: list[Value]) -> list[Value]:
    made: set[str] = set()
    for _ in range(_ITERATIONS):
        goes_on = _goes_on(operation, carried)
        every_row = goes_on.kind is Kind.EVERY_ROW
        if not every_row and not goes_on.is_free:
            return [_decided(operation, goes_on)] * len(carried)
        after = operation.walk.call(operation.attribute("body"), carried, operation)
        joined = [
            _carried(operation, number, before, new, every_row)
            for number, (before, new) in enumerate(zip(carried, after, strict=True))
        ]
        given: set[str] = set().union(*map(marks, (*carried, *after)))
        made |= set().union(*map(marks, joined)) - given
        if all(_alike(one, other, made) for one, other in zip(joined, carried, strict=True)):
            rows = numbers([ROWS], ())
            return [rows if value.kind is Kind.POSITION else value for value in joined]
        carried = joined
    raise Unproven("the values that it carries keep changing")


def _carried(
    operation: Operation, number: int, before: Value, after: Value, every_row: bool
) -> Value:
    if every_row and _stays(operation, number):
        # It is the same in each iteration; a number that stays is no counter of this loop.
        return free(()) if before.kind is Kind.POSITION else before
    if before.kind is Kind.POSITION:
        if after.kind is Kind.POSITION and after.offset == 1:
            return before
        return operation.unproven("it does not count its iterations one by one")
    if every_row and not (before.kind is Kind.LIST and before.along_rows):
        return operation.mixes("its loop carries a value from one row to the next")
    changes = operation.unproven("the kind of a value that it carries changes")
    return join(before, after) or changes


def _decided(operation: Operation, goes_on: Value) -> Value:
    if goes_on.kind is Kind.MIXED:
        return goes_on
    if goes_on.kind is Kind.SIZED:
        return operation.unproven("the number of its iterations depends on the number of rows")
    return operation.mixes("all rows together decide the number of its iterations")


def _alike(one: Value, other: Value, made: set[str]) -> bool:
    """Whether another iteration would change nothing: two values differ at most in sizes that this
    loop has found to change, and that `made` has symbols for."""
    same = (one.kind, one.axis, one.rank, one.content)
    if same != (other.kind, other.axis, other.rank, other.content):
        return False
    for now, then in zip(one.shape or (), other.shape or (), strict=True):
        if now != then and not (len(then.symbols) == 1 and then.symbols[0] in made):
            return False
    if one.inner is None or other.inner is None:
        return one.inner is other.inner
    return _alike(one.inner, other.inner, made)
