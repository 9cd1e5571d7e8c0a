"""Lists of tensors, as loops read and write them: along the time of each row, or along the rows."""

from __future__ import annotations

from dataclasses import replace

from workbench.server.worker.rows.dimensions import ROWS, unknown
from workbench.server.worker.rows.rules.rule_book import rule
from workbench.server.worker.rows.values import Kind, Value, free, join, numbers, rows
from workbench.server.worker.rows.walk import Operation

_ANOTHER = "in a loop over the rows, it reads or writes another row"


@rule("TensorListFromTensor", content=True, structural=True)
def from_tensor(operation: Operation) -> Value:
    """A list along the first axis: of the rows, or within each row."""
    value = operation.inputs[0]
    if value.kind not in (Kind.FREE, Kind.ROWS, Kind.ROW) or not value.shape:
        return operation.unproven("it makes a list of what is not known")
    length, shape = value.shape[0], value.shape[1:]
    if value.kind is Kind.ROWS and value.axis == 0:
        if length != ROWS:
            return operation.unproven("it makes a list of parts of rows")
        inner = Value(Kind.ROW, shape)
        return Value(Kind.LIST, (), inner=inner, along_rows=True, length=length)
    inner = rows(shape, value.axis - 1) if value.kind is Kind.ROWS else Value(value.kind, shape)
    return Value(Kind.LIST, (), inner=inner, length=length)


@rule("TensorListReserve", content=True, structural=True)
def reserve(operation: Operation) -> Value:
    """A list to be filled; one as long as the batch is along the rows."""
    count = operation.inputs[1]
    length = count.content[0] if count.content else None
    if length is None:
        if not count.is_free:
            return operation.unproven("the length of its list is not known")
        length = unknown()
    if length.has_rows and length != ROWS:
        return operation.unproven("its list has another length than there are rows")
    return Value(Kind.LIST, (), along_rows=length.has_rows, length=length)


@rule("EmptyTensorList", content=True, structural=True)
def empty(operation: Operation) -> Value:
    """A list that grows is not followed."""
    return operation.unproven("its list grows")


@rule("TensorListLength", content=True, structural=True)
def length(operation: Operation) -> Value:
    """How long a list is."""
    value = operation.inputs[0]
    return numbers([value.length], (), Kind.SIZED)


@rule("TensorListGetItem", content=True, structural=True)
def get_item(operation: Operation) -> Value:
    """An element; along the rows only that of the loop's own row."""
    value, at = operation.inputs[:2]
    if value.kind is not Kind.LIST:
        return operation.unproven("its list is not known")
    if value.along_rows and (at.kind is not Kind.POSITION or at.offset):
        return operation.mixes(_ANOTHER)
    if not value.along_rows and not at.is_free:
        return operation.unproven("which element it reads is not known")
    # What was never written is zero.
    return value.inner if value.inner is not None else operation.free()


@rule("TensorListSetItem", content=True, structural=True)
def set_item(operation: Operation) -> Value:
    """The list with an element written; along the rows only that of the loop's own row."""
    value, at, item = operation.inputs[:3]
    if value.kind is not Kind.LIST:
        return operation.unproven("its list is not known")
    if value.along_rows:
        if at.kind is not Kind.POSITION or at.offset or item.kind not in (Kind.FREE, Kind.ROW):
            return operation.mixes(_ANOTHER)
    elif not at.is_free or item.kind not in (Kind.FREE, Kind.ROWS, Kind.ROW):
        return operation.unproven("what it writes is not known")
    inner = item if value.inner is None else join(value.inner, item)
    if inner is None:
        return operation.unproven("it writes things of different kinds")
    return replace(value, inner=inner)


@rule("TensorListStack", content=True, structural=True)
def stack(operation: Operation) -> Value:
    """The elements of a list as one tensor again."""
    value = operation.inputs[0]
    if value.kind is not Kind.LIST or value.length is None:
        return operation.unproven("its list is not known")
    inner = value.inner or free()
    shape = inner.shape
    declared = operation.shape()
    if declared is not None and (shape is None or inner.kind is not Kind.ROWS):
        shape = declared[1:]
    if shape is None:
        return operation.unproven("the shape of its elements is not known")
    if value.along_rows:
        return rows((value.length, *shape), 0)
    if inner.kind is Kind.ROWS:
        return operation.rows(inner.axis + 1, (value.length, *shape))
    return Value(inner.kind, (value.length, *shape))
