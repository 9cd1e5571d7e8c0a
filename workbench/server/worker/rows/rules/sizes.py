"""Small tensors of integers: constants, sizes, and results computed from them. They say how other
tensors are reshaped, so their elements are followed one by one."""

from __future__ import annotations

from workbench.server.worker.rows.dimensions import ROWS, Dimension, product, unknown
from workbench.server.worker.rows.rules.rule_book import known, need, rule
from workbench.server.worker.rows.values import (
    Kind,
    Shape,
    Value,
    as_unknown,
    free,
    numbers,
    rows,
    vector,
)
from workbench.server.worker.rows.walk import Operation

_SMALL = 64
_INTEGERS = frozenset({3, 9})  # DT_INT32, DT_INT64


@rule("Const", content=True)
def constant(operation: Operation) -> Value:
    """Its numbers, where they are few and whole."""
    from tensorflow.python.framework import tensor_util

    tensor = operation.node.attr["value"].tensor
    shape = tuple(Dimension(dim.size) for dim in tensor.tensor_shape.dim)
    if tensor.dtype not in _INTEGERS or product(shape).number > _SMALL or len(shape) > 2:
        return free(shape)
    return numbers(map(Dimension, tensor_util.MakeNdarray(tensor).reshape(-1).tolist()), shape)


@rule("VarHandleOp VariableV2 Variable", content=True)
def variable(operation: Operation) -> Value:
    """A variable, or the handle that reading it needs."""
    saved = operation.attribute("shape")
    shape = None
    if saved is not None and not saved.unknown_rank:
        shape = tuple(unknown() if d.size < 0 else Dimension(d.size) for d in saved.dim)
    if operation.name == "VarHandleOp":
        return Value(Kind.HANDLE, (), inner=free(shape))
    return free(shape)


@rule("ReadVariableOp", content=True)
def read_variable(operation: Operation) -> Value:
    """What a handle's variable holds."""
    inner = operation.inputs[0].inner
    return operation.free() if inner is None or inner.shape is None else inner


@rule("Shape ShapeN", content=True, tolerant=True)
def shapes(operation: Operation) -> list[Value]:
    """The sizes of each input, as numbers."""
    return [_shape_of(operation, value) for value in operation.inputs]


def _shape_of(operation: Operation, value: Value) -> Value:
    followed = (Kind.FREE, Kind.SIZED, Kind.ROWS, Kind.ROW, Kind.ROW_NUMBERS)
    if value.kind is Kind.SIZED and not _is_known(value.shape):
        # Its own size may be one that depends on the rows.
        return Value(Kind.SIZED, operation.shape())
    if value.kind in followed and value.shape is not None:
        return vector(value.shape)
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
    need(value.is_free, "the size of its input is not known")
    return free(())


def _is_known(shape: Shape | None) -> bool:
    return shape is not None and all(dimension.known is not None for dimension in shape)


@rule("Rank", content=True)
def rank(operation: Operation) -> Value:
    """How many dimensions its input has."""
    count = known(operation.inputs[0].rank, "the rank of its input is not known")
    return numbers([Dimension(count)], ())


@rule("Range", content=True)
def count_up(operation: Operation) -> Value:
    """Numbers in order: of all rows where the limit is how many there are."""
    start, limit, step = operation.inputs
    unknown = as_unknown(operation.inputs, None)
    if unknown is not None:
        known_ends = [value.whole_numbers for value in operation.inputs]
        ends = [each[0] for each in known_ends if each is not None and len(each) == 1]
        from_0 = (start.whole_numbers, step.whole_numbers) == ((0,), (1,))
        if len(ends) == 3 and len(range(*ends)) <= _SMALL:
            return vector(list(map(Dimension, range(*ends))))
        if from_0 and limit.first is not None:
            if limit.first == ROWS:
                return Value(Kind.ROW_NUMBERS, (ROWS,))
            need(not limit.first.has_rows, "it counts something other than rows")
            return free((limit.first,))
    need(all(v.is_free for v in operation.inputs), "how far it counts depends on the request")
    return operation.free()


@rule("Fill", content=True)
def fill(operation: Operation) -> Value:
    """The same number everywhere; where the size has the rows of the batch, the same for each."""
    sizes, value = operation.inputs
    if value.kind is Kind.SIZED:
        return operation.mixes("it gives each row a value that depends on the number of rows")
    need(value.is_free, "the value that it repeats comes from the request")
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
    followed = value.kind is Kind.ROWS or (value.kind is Kind.SIZED and _is_known(value.shape))
    shape = known(value.shape if followed else None, "the shape of its input is not known")
    return _sized(operation, vector(shape))


def _sized(operation: Operation, sizes: Value) -> Value:
    shape = known(sizes.sizes, "one of its sizes is not known")
    along = [at for at, dimension in enumerate(shape) if dimension.has_rows]
    need(len(along) < 2, "it has more than one dimension of the batch's size")
    return rows(shape, along[0]) if along else free(shape)
