"""Functions, conditions and loops.

A loop is evaluated until what it carries from turn to turn does not change any more. One that
takes the rows of the batch one by one (`map_fn`) keeps them apart where it reads and writes only
the row that it is at, and carries nothing of it to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from workbench.worker.rows.dimensions import ROWS, Dimension
from workbench.worker.rows.rules import rule
from workbench.worker.rows.values import Kind, Value, free, join, numbers
from workbench.worker.rows.walk import Operation

_TURNS = 6


@rule("PartitionedCall StatefulPartitionedCall", content=True, tolerant=True, structural=True)
def call(operation: Operation) -> list[Value]:
    return operation.walk.call(operation.attribute("f"), operation.inputs, operation)


@rule("If StatelessIf Case StatelessCase", content=True, tolerant=True, structural=True)
def condition(operation: Operation) -> list[Value]:
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


@rule("While StatelessWhile", content=True, tolerant=True, structural=True)
def loop(operation: Operation) -> list[Value]:
    start = list(operation.inputs)
    by_row = [
        Value(Kind.POSITION, (), offset=0) if v.is_free and v.content == _ZERO else v for v in start
    ]
    if _goes_on(operation, by_row).kind is Kind.EVERY_ROW:
        return _turns(operation, by_row)
    return _turns(operation, [replace(v, content=None) if v.content == _ZERO else v for v in start])


_ZERO = (Dimension(0),)


def _goes_on(operation: Operation, carried: Sequence[Value]) -> Value:
    return operation.walk.call(operation.attribute("cond"), carried, operation)[0]


def _turns(operation: Operation, carried: list[Value]) -> list[Value]:
    for _ in range(_TURNS):
        goes_on = _goes_on(operation, carried)
        every_row = goes_on.kind is Kind.EVERY_ROW
        if not every_row and not goes_on.is_free:
            return [_decided(operation, goes_on)] * len(carried)
        after = operation.walk.call(operation.attribute("body"), carried, operation)
        joined = [
            _carried(operation, before, new, every_row)
            for before, new in zip(carried, after, strict=True)
        ]
        if all(map(_alike, joined, carried)):
            return [
                numbers([ROWS], ()) if value.kind is Kind.POSITION else value for value in joined
            ]
        carried = joined
    return [operation.unproven("what it carries from turn to turn goes on changing")] * len(carried)


def _carried(operation: Operation, before: Value, after: Value, every_row: bool) -> Value:
    if before.kind is Kind.POSITION:
        if after.kind is Kind.POSITION and after.offset in (0, 1):
            # One that stays 0 would read the first row each time.
            return before if after.offset == 1 else free(())
        return operation.unproven("it counts its turns in another way")
    if every_row and after.kind is Kind.ROW:
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


def _alike(one: Value, other: Value) -> bool:
    """Whether two values differ at most in sizes that are not known."""
    return (
        one.kind is other.kind
        and one.axis == other.axis
        and one.rank == other.rank
        and one.content == other.content
        and (one.inner is None) == (other.inner is None)
        and (one.inner is None or other.inner is None or _alike(one.inner, other.inner))
    )
