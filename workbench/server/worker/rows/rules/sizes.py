"""Small tensors of integers: constants, sizes, and results computed from them. They say how other
tensors are reshaped, so their elements are followed one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workbench.server.worker.rows.dimensions import ROWS, Dimension, product, unknown
from workbench.server.worker.rows.rules.rule_book import rule
from workbench.server.worker.rows.values import Kind, Shape, Value, free, numbers, rows
from workbench.server.worker.rows.walk import Operation

_SMALL = 64
_INTEGERS = frozenset({3, 9})  # DT_INT32, DT_INT64


@rule("Const", content=True)
def constant(operation: Operation) -> Value:
    """Its numbers, where they are few and whole."""
    tensor = operation.node.attr["value"].tensor
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    shape = tuple(Dimension(size) for size in sizes)
    count = product(shape).number
    if tensor.dtype not in _INTEGERS or count > _SMALL or len(sizes) > 2:
        return free(shape)
    return numbers((Dimension(n) for n in _read(tensor, count)), shape)


def _read(tensor: Any, count: int) -> Sequence[int]:
    from tensorflow.python.framework import tensor_util

    if count == 0:
        return ()
    return [int(n) for n in tensor_util.MakeNdarray(tensor).reshape(-1).tolist()]


@rule("VarHandleOp VariableV2 Variable", content=True)
def variable(operation: Operation) -> Value:
    """A variable, or the handle that reading it needs."""
    shape = operation.attribute("shape")
    known = None
    if shape is not None and not shape.unknown_rank:
        known = tuple(unknown() if d.size < 0 else Dimension(d.size) for d in shape.dim)
    if operation.name == "VarHandleOp":
        return Value(Kind.HANDLE, (), inner=free(known))
    return free(known)


@rule("ReadVariableOp", content=True)
def read_variable(operation: Operation) -> Value:
    """What a handle's variable holds."""
    handle = operation.inputs[0]
    if handle.inner is None or handle.inner.shape is None:
        return operation.free()
    return handle.inner


@rule("Shape", content=True, tolerant=True)
def shape(operation: Operation) -> Value:
    """The sizes of its input, as numbers."""
    return _shape_of(operation, operation.inputs[0])


@rule("ShapeN", content=True, tolerant=True)
def shapes(operation: Operation) -> list[Value]:
    """The same for each input."""
    return [_shape_of(operation, value) for value in operation.inputs]


def _shape_of(operation: Operation, value: Value) -> Value:
    known = (Kind.FREE, Kind.SIZED, Kind.ROWS, Kind.ROW, Kind.ROW_NUMBERS)
    if value.kind is Kind.SIZED and not _is_known(value.shape):
        # Its own size may be one that depends on the rows.
        return Value(Kind.SIZED, operation.shape())
    if value.kind in known and value.shape is not None:
        return numbers(value.shape, (Dimension(len(value.shape)),))
    if value.kind is Kind.FREE:
        return operation.free()
    if value.kind is Kind.MIXED:
        return value
    return operation.unproven("the shape of its input is not known")


@rule("Size", content=True)
def size(operation: Operation) -> Value:
    """How many elements its input has."""
    value = operation.inputs[0]
    if value.kind is Kind.SIZED and not _is_known(value.shape):
        return Value(Kind.SIZED, ())
    if value.kind in (Kind.FREE, Kind.SIZED, Kind.ROWS) and value.shape is not None:
        return numbers([product(value.shape)], ())
    if value.is_free:
        return free(())
    return operation.unproven("the size of its input is not known")


def _is_known(shape: Shape | None) -> bool:
    return shape is not None and all(dimension.known is not None for dimension in shape)


@rule("Rank", content=True)
def rank(operation: Operation) -> Value:
    """How many dimensions its input has."""
    value = operation.inputs[0]
    if value.shape is None:
        return operation.unproven("the rank of its input is not known")
    return numbers([Dimension(len(value.shape))], ())


@rule("Range", content=True)
def count_up(operation: Operation) -> Value:
    """Numbers in order: of all rows where the limit is how many there are."""
    start, limit, step = operation.inputs
    if {value.kind for value in operation.inputs} <= {Kind.FREE, Kind.SIZED}:
        if (start.whole_numbers, step.whole_numbers) != ((0,), (1,)):
            known = [value.whole_numbers for value in operation.inputs]
            if all(each is not None and len(each) == 1 for each in known):
                found = range(*(each[0] for each in known if each is not None))
                if len(found) <= _SMALL:
                    return numbers(map(Dimension, found), (Dimension(len(found)),))
        elif limit.content is not None and limit.content[0] is not None:
            count = limit.content[0]
            if count.has_rows:
                if count == ROWS:
                    return Value(Kind.ROW_NUMBERS, (count,))
                return operation.unproven("it counts something else than rows")
            if count.known is not None and count.known <= _SMALL:
                return numbers(map(Dimension, range(count.known)), (count,))
            return free((count,))
    if all(value.is_free for value in operation.inputs):
        return operation.free()
    return operation.unproven("it counts by something of the request")


@rule("Fill", content=True)
def fill(operation: Operation) -> Value:
    """The same number everywhere; where the size has the rows of the batch, the same for each."""
    sizes, value = operation.inputs
    if value.kind is Kind.SIZED:
        return operation.mixes("it gives each row a number that depends on how many rows there are")
    if not value.is_free:
        return operation.unproven("it repeats a number of the request")
    if sizes.is_free and sizes.content is None:
        return operation.free()
    return _sized(operation, sizes)


@rule("ZerosLike OnesLike", content=True, tolerant=True)
def like(operation: Operation) -> Value:
    """The same number everywhere, for each row where its input has rows."""
    value = operation.inputs[0]
    if value.kind is Kind.FREE:
        return free(value.shape or operation.shape())
    if value.kind is Kind.MIXED:
        return value
    known = value.kind is Kind.ROWS or (value.kind is Kind.SIZED and _is_known(value.shape))
    if not known or value.shape is None:
        return operation.unproven("the shape of its input is not known")
    return _sized(operation, numbers(value.shape, (Dimension(len(value.shape)),)))


def _sized(operation: Operation, sizes: Value) -> Value:
    if sizes.content is None or None in sizes.content:
        return operation.unproven("it has a size that is not known")
    dimensions = tuple(d for d in sizes.content if d is not None)
    along = [at for at, dimension in enumerate(dimensions) if dimension.has_rows]
    if not along:
        return free(dimensions)
    if len(along) > 1:
        return operation.unproven("it has more than one dimension of the batch's size")
    return rows(dimensions, along[0])
