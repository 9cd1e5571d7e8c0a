"""Operations that pick elements: out of each row by numbers that all rows share, or out of what all
rows share by numbers of each row."""

from __future__ import annotations

from workbench.server.worker.rows.dimensions import ONE, ROWS, Dimension
from workbench.server.worker.rows.rules.rule_book import rule
from workbench.server.worker.rows.values import Kind, Shape, Value, as_unknown, numbers
from workbench.server.worker.rows.walk import Operation

_PICKS = "it picks rows of the batch"


@rule("Gather GatherV2", content=True)
def gather(operation: Operation) -> Value:
    """Rows stay apart where all pick the same places, or each picks from what all share."""
    source, places = operation.inputs[:2]
    where = operation.inputs[2].whole_numbers if len(operation.inputs) > 2 else (0,)
    shared = int(operation.attribute("batch_dims", 0))
    if source.kind in (Kind.FREE, Kind.SIZED) and places.is_free:
        return _numbers_at(operation, source, places)
    if where is None or (source.shape is None and source.kind is not Kind.FREE):
        return operation.unproven("the axis that it picks along is not known")
    if places.kind is Kind.POSITION:
        return _own_row(operation, source, places, where[0])
    if places.kind is Kind.ROW_NUMBERS and source.kind is Kind.ROWS:
        whole = where[0] == source.axis and not shared and source.shape is not None
        whole = whole and source.shape is not None and source.shape[source.axis] == ROWS
        return source if whole else operation.unproven("it picks by the numbers of rows")
    if source.is_free and places.kind is Kind.FLAT and where[0] == 0 and not shared:
        return Value(Kind.FLAT, operation.shape(), source=places.source)
    if places.shape is None or source.shape is None:
        return operation.unproven("the shape of an input is not known")
    axis = where[0] % len(source.shape)
    shape: Shape = (*source.shape[:axis], *places.shape[shared:], *source.shape[axis + 1 :])
    if source.is_free and places.kind is Kind.ROWS and not shared:
        return operation.rows(axis + places.axis, shape)
    if source.kind is not Kind.ROWS:
        return operation.unproven("it is not known to keep rows apart here")
    if places.kind is Kind.ROWS:
        if places.axis == source.axis < min(shared, axis):
            return operation.rows(source.axis, shape)
        return operation.mixes(_PICKS)
    if not places.is_free or shared:
        return operation.unproven("it is not known to keep rows apart here")
    if axis == source.axis:
        return operation.mixes(_PICKS)
    moved = len(places.shape) - 1 if axis < source.axis else 0
    return operation.rows(source.axis + moved, shape)


def _numbers_at(operation: Operation, source: Value, places: Value) -> Value:
    at, content = places.whole_numbers, source.content
    if at is not None and content is not None and source.rank == 1 and places.shape is not None:
        return numbers([content[n] for n in at], places.shape, source.kind)
    return Value(source.kind, operation.shape())


def _own_row(operation: Operation, source: Value, places: Value, axis: int) -> Value:
    """In a loop over the rows: the row that it is at."""
    if source.kind is not Kind.ROWS or places.offset or axis != source.axis:
        return operation.mixes("in a loop over the rows, it picks another row")
    if source.shape is None or source.shape[source.axis] != ROWS:
        return operation.unproven("it is not known to keep rows apart here")
    shape = tuple(d for at, d in enumerate(source.shape) if at != source.axis)
    return Value(Kind.ROW, shape)


@rule("ResourceGather", content=True)
def gather_variable(operation: Operation) -> Value:
    """Each row picks from a variable, which all share."""
    handle, places = operation.inputs
    inner = handle.inner
    if places.is_free:
        return operation.free()
    if places.kind is Kind.FLAT:
        return Value(Kind.FLAT, operation.shape(), source=places.source)
    if places.kind is Kind.ROW:
        return Value(Kind.ROW, operation.shape())
    known = inner is not None and inner.shape is not None and places.shape is not None
    if not known or places.kind is not Kind.ROWS or operation.attribute("batch_dims", 0):
        return operation.unproven("the shape of an input is not known")
    assert inner is not None
    assert inner.shape is not None
    assert places.shape is not None
    return operation.rows(places.axis, (*places.shape, *inner.shape[1:]))


@rule("GatherNd")
def gather_nd(operation: Operation) -> Value:
    """Each row picks from what all share."""
    source, places = operation.inputs
    if source.is_free and places.kind is Kind.ROWS and places.shape and source.shape:
        depth = places.shape[-1].known
        if depth is not None and places.axis < len(places.shape) - 1:
            return operation.rows(places.axis, (*places.shape[:-1], *source.shape[depth:]))
    return operation.unproven("it may pick other rows")


@rule("OneHot")
def one_hot(operation: Operation) -> Value:
    """Each number of a row becomes a vector of its own."""
    places, depth, *marks = operation.inputs
    if places.kind is not Kind.ROWS or places.shape is None:
        return operation.unproven("the shape of its input is not known")
    if not depth.is_free or not all(mark.is_free for mark in marks):
        return operation.unproven("its depth is of the request")
    axis = int(operation.attribute("axis", -1))
    new = len(places.shape) if axis == -1 else axis
    size = depth.content[0] if depth.content else None
    declared = operation.declared()
    if size is None and declared is not None and declared[new] >= 0:
        size = Dimension(declared[new])
    if size is None:
        return operation.unproven("its depth is not known")
    shape = (*places.shape[:new], size, *places.shape[new:])
    return operation.rows(places.axis + (new <= places.axis), shape)


@rule("Slice", content=True)
def cut(operation: Operation) -> Value:
    """Rows stay apart where the slice takes all of them."""
    value, begin, size = operation.inputs
    starts, sizes = begin.content, size.content
    unknown = as_unknown(operation.inputs, operation.shape())
    if unknown is not None:
        if value.content is not None and begin.whole_numbers and size.whole_numbers:
            first, count = begin.whole_numbers[0], size.whole_numbers[0]
            taken = value.content[first:] if count < 0 else value.content[first : first + count]
            if value.rank == 1:
                return numbers(taken, (Dimension(len(taken)),), value.kind)
        return unknown
    if value.kind is not Kind.ROWS or value.shape is None or starts is None or sizes is None:
        return operation.unproven("what it picks is not known")
    for each in (begin, size):
        if any(
            d.has_rows if d is not None else not each.is_free
            for at, d in enumerate(each.content or ())
            if at != value.axis
        ):
            return operation.mixes("it cuts each row by how many rows there are")
    start, count_of_rows = starts[value.axis], sizes[value.axis]
    whole = count_of_rows == value.shape[value.axis] or count_of_rows == Dimension(-1)
    if start is None or start.known != 0 or not whole:
        return operation.mixes(_PICKS)
    return _cut_rows(operation, value)


def _cut_rows(operation: Operation, value: Value) -> Value:
    declared = operation.shape()
    if declared is None or value.shape is None or len(declared) != len(value.shape):
        return operation.unproven("the size of its result is not known")
    shape = tuple(
        ours if at == value.axis else saved
        for at, (ours, saved) in enumerate(zip(value.shape, declared, strict=True))
    )
    return operation.rows(value.axis, shape)


@rule("StridedSlice", content=True)
def strided_slice(operation: Operation) -> Value:
    """Rows stay apart where the slice takes all of them, in order."""
    value, begin, end, strides = operation.inputs
    if value.kind is Kind.COORDINATES:
        # How a ragged tensor takes the rows out of the places of its elements: [:, 0].
        masks = [int(operation.attribute(f"{m}_mask", 0)) for m in ("begin", "end", "shrink_axis")]
        odd = any(operation.attribute(f"{m}_mask", 0) for m in ("new_axis", "ellipsis"))
        whole = masks[0] & 1 or (begin.whole_numbers or (None,))[0] == 0
        column = begin.whole_numbers is not None and begin.whole_numbers[1:] == (0,)
        column = column and masks[2] == 2 and strides.whole_numbers == (1, 1)
        if whole and masks[1] & 1 and column and not odd:
            return Value(Kind.ROW_IDS, operation.shape(), source=value.source)
        return operation.unproven("it is not known to keep rows of different lengths apart")
    unknown = as_unknown(operation.inputs, operation.shape())
    if unknown is not None:
        if value.rank == 1 and value.content is not None:
            return _numbers_between(operation, value, unknown)
        return unknown
    if value.kind is Kind.ROW_NUMBERS:
        return operation.mixes("it computes with the place of each row in the batch")
    if value.kind is not Kind.ROWS or value.shape is None:
        return operation.unproven("what it picks is not known")
    return _slice_rows(operation, value, begin, end, strides)


def _numbers_between(operation: Operation, value: Value, unknown: Value) -> Value:
    assert value.content is not None
    bounds = [each.whole_numbers for each in operation.inputs[1:]]
    masks = [int(operation.attribute(f"{m}_mask", 0)) for m in ("begin", "end", "shrink_axis")]
    odd = any(operation.attribute(f"{m}_mask", 0) for m in ("new_axis", "ellipsis"))
    if odd or any(bound is None or len(bound) != 1 for bound in bounds):
        return unknown
    begin, end, stride = (bound[0] for bound in bounds if bound is not None)
    if masks[2] & 1:
        return numbers([value.content[begin]], (), value.kind)
    taken = value.content[
        slice(None if masks[0] & 1 else begin, None if masks[1] & 1 else end, stride)
    ]
    return numbers(taken, (Dimension(len(taken)),), value.kind)


def _slice_rows(
    operation: Operation, value: Value, begin: Value, end: Value, strides: Value
) -> Value:
    """Follow the axes of the input through the specification, one entry after the other."""
    assert value.shape is not None
    masks = {
        name: int(operation.attribute(f"{name}_mask", 0))
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    steps = strides.whole_numbers
    entries = None if begin.shape is None or not begin.shape else begin.shape[0].known
    if entries is None or steps is None:
        return operation.unproven("what it picks is not known")
    shape: list[Dimension] = []
    at = 0
    axis = None
    declared = operation.declared()
    for entry in range(entries):
        bit = 1 << entry
        if masks["ellipsis"] & bit:
            new = sum(1 for n in range(entry + 1, entries) if masks["new_axis"] & (1 << n))
            covered = len(value.shape) - at - (entries - entry - 1 - new)
            for _ in range(covered):
                axis = len(shape) if at == value.axis else axis
                shape.append(value.shape[at])
                at += 1
            continue
        if masks["new_axis"] & bit:
            shape.append(ONE)
            continue
        whole = masks["begin"] & bit and masks["end"] & bit and steps[entry] == 1
        if at == value.axis:
            last = None if end.content is None else end.content[entry]
            starts = masks["begin"] & bit or _known(begin, entry) == 0
            ends = masks["end"] & bit or last == value.shape[at]
            if masks["shrink_axis"] & bit or not (starts and ends and steps[entry] == 1):
                return operation.mixes(_PICKS)
            axis = len(shape)
            shape.append(value.shape[at])
        elif not masks["shrink_axis"] & bit:
            if whole:
                shape.append(value.shape[at])
            else:
                size = declared[len(shape)] if declared is not None else -1
                if size < 0:
                    return operation.unproven("the size of its result is not known")
                shape.append(Dimension(size))
        if not all(each.is_free for each in (begin, end)) and at != value.axis:
            bound = _known(begin, entry) if not masks["begin"] & bit else 0
            if bound is None:
                return operation.unproven("what it picks depends on the request")
        at += 1
    while at < len(value.shape):
        axis = len(shape) if at == value.axis else axis
        shape.append(value.shape[at])
        at += 1
    if axis is None:
        return operation.mixes(_PICKS)
    return operation.rows(axis, tuple(shape))


def _known(value: Value, at: int) -> int | None:
    if value.content is None:
        return None
    element = value.content[at]
    return None if element is None else element.known
