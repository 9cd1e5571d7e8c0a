"""Lists of tensors, as loops read and write them: along the time of each row, or along the rows."""

from __future__ import annotations

from dataclasses import replace

from workbench.server.worker.rows.dimensions import ROWS, unknown
from workbench.server.worker.rows.rules.rule_book import known, need, rule
from workbench.server.worker.rows.values import Kind, Value, free, join, numbers, rows
from workbench.server.worker.rows.walk import Operation

_ANOTHER = "in a loop over the rows, it reads or writes another row"
_LIST = "its list is not known"


@rule("TensorListFromTensor", content=True, structural=True)
def from_tensor(operation: Operation) -> Value:
    """A list along the first axis: of the rows, or within each row."""
    value = operation.inputs[0]
    followed = value.shape and value.kind in (Kind.FREE, Kind.ROWS, Kind.ROW)
    length, *rest = known(value.shape if followed else None, "its elements are not known")
    shape = tuple(rest)
    if value.kind is Kind.ROWS and value.axis == 0:
        need(length == ROWS, "it makes a list of parts of rows")
        inner = Value(Kind.ROW, shape)
        return Value(Kind.LIST, (), inner=inner, along_rows=True, length=length)
    inner = rows(shape, value.axis - 1) if value.kind is Kind.ROWS else Value(value.kind, shape)
    return Value(Kind.LIST, (), inner=inner, length=length)


@rule("TensorListReserve", content=True, structural=True)
def reserve(operation: Operation) -> Value:
    """A list to be filled; one as long as the batch is along the rows."""
    count = operation.inputs[1]
    length = known(
        count.first or (unknown() if count.is_free else None),
        "the length of its list is not known",
    )
    need(length == ROWS or not length.has_rows, "the length of its list is not the number of rows")
    return Value(Kind.LIST, (), along_rows=length.has_rows, length=length)


@rule("EmptyTensorList", content=True, structural=True)
def empty(operation: Operation) -> Value:
    """A list that grows is not followed."""
    return operation.unproven("its list grows")


@rule("TensorListLength", content=True, structural=True)
def length(operation: Operation) -> Value:
    """How long a list is."""
    return numbers([operation.inputs[0].length], (), Kind.SIZED)


@rule("TensorListGetItem", content=True, structural=True)
def get_item(operation: Operation) -> Value:
    """An element; along the rows only that of the loop's own row."""
    value, at = operation.inputs[:2]
    need(value.kind is Kind.LIST, _LIST)
    if value.along_rows and (at.kind is not Kind.POSITION or at.offset):
        return operation.mixes(_ANOTHER)
    need(value.along_rows or at.is_free, "which element it reads is not known")
    # What was never written is zero.
    return value.inner or operation.free()


@rule("TensorListSetItem", content=True, structural=True)
def set_item(operation: Operation) -> Value:
    """The list with an element written; along the rows only that of the loop's own row."""
    value, at, item = operation.inputs[:3]
    need(value.kind is Kind.LIST, _LIST)
    if not value.along_rows:
        followed = at.is_free and item.kind in (Kind.FREE, Kind.ROWS, Kind.ROW)
        need(followed, "the element that it writes is not known")
    elif at.kind is not Kind.POSITION or at.offset or item.kind not in (Kind.FREE, Kind.ROW):
        return operation.mixes(_ANOTHER)
    inner = item if value.inner is None else join(value.inner, item)
    return replace(value, inner=known(inner, "it writes elements of different kinds"))


@rule("TensorListStack", content=True, structural=True)
def stack(operation: Operation) -> Value:
    """The elements of a list as one tensor again."""
    value = operation.inputs[0]
    length = known(value.length if value.kind is Kind.LIST else None, _LIST)
    inner = value.inner or free()
    shape = inner.shape
    declared = operation.shape()
    if declared is not None and (shape is None or inner.kind is not Kind.ROWS):
        shape = declared[1:]
    shape = (length, *known(shape, "the shape of its elements is not known"))
    if value.along_rows:
        return rows(shape, 0)
    if inner.kind is Kind.ROWS:
        return operation.rows(inner.axis + 1, shape)
    return Value(inner.kind, shape)
