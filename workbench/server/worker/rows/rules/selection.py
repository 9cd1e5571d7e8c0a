"""Operations that select elements: out of each row by numbers that all rows share, or out of what
all rows share by numbers of each row."""

from __future__ import annotations

from workbench.server.worker.rows.dimensions import ONE, ROWS, Dimension
from workbench.server.worker.rows.rules.rule_book import known, need, row_shape, rule
from workbench.server.worker.rows.values import Kind, Shape, Value, as_unknown, numbers, vector
from workbench.server.worker.rows.walk import Operation

_SELECTS = "it selects rows of the batch"
_SHAPE = "the shape of an input is not known"
_WHAT = "the elements that it selects are not known"
_SIZE = "the size of its result is not known"


@rule("Gather GatherV2", content=True)
def gather(operation: Operation) -> Value:
    """Rows stay apart where all pick the same places, or each picks from what all share."""
    source, places, *rest = operation.inputs
    shared = int(operation.attribute("batch_dims", 0))
    if source.kind in (Kind.FREE, Kind.SIZED) and places.is_free:
        return _numbers_at(operation, source, places)
    why = "the axis that it selects along is not known"
    along = known(rest[0].whole_numbers if rest else (0,), why)[0]
    need(source.shape is not None or source.kind is Kind.FREE, why)
    if places.kind is Kind.POSITION:
        return _own_row(operation, source, places, along)
    if places.kind is Kind.ROW_NUMBERS and source.kind is Kind.ROWS:
        whole = along == source.axis and not shared and source.row_count == ROWS
        need(whole, "it selects by the indices of rows")
        return source
    if source.is_free and places.kind is Kind.FLAT and along == 0 and not shared:
        return Value(Kind.FLAT, operation.shape(), source=places.source)
    before, inserted = known(source.shape, _SHAPE), known(places.shape, _SHAPE)
    axis = along % len(before)
    shape: Shape = (*before[:axis], *inserted[shared:], *before[axis + 1 :])
    if source.is_free and places.kind is Kind.ROWS and not shared:
        return operation.rows(axis + places.axis, shape)
    need(source.kind is Kind.ROWS)
    if places.kind is Kind.ROWS:
        if places.axis == source.axis < min(shared, axis):
            return operation.rows(source.axis, shape)
        return operation.mixes(_SELECTS)
    need(places.is_free and not shared)
    if axis == source.axis:
        return operation.mixes(_SELECTS)
    moved = len(inserted) - 1 if axis < source.axis else 0
    return operation.rows(source.axis + moved, shape)


def _numbers_at(operation: Operation, source: Value, places: Value) -> Value:
    at, content = places.whole_numbers, source.content
    if at is not None and content is not None and source.rank == 1 and places.shape is not None:
        return numbers([content[n] for n in at], places.shape, source.kind)
    return Value(source.kind, operation.shape())


def _own_row(operation: Operation, source: Value, places: Value, axis: int) -> Value:
    """In a loop over the rows: the current row."""
    if source.kind is not Kind.ROWS or places.offset or axis != source.axis:
        return operation.mixes("in a loop over the rows, it selects another row")
    need(source.row_count == ROWS)
    shape = row_shape(source)
    return Value(Kind.ROW, (*shape[:axis], *shape[axis + 1 :]))


@rule("ResourceGather", content=True)
def gather_variable(operation: Operation) -> Value:
    """Each row picks from a variable, which all share."""
    handle, places = operation.inputs
    if places.is_free:
        return operation.free()
    if places.kind is Kind.FLAT:
        return Value(Kind.FLAT, operation.shape(), source=places.source)
    shape = row_shape(places, _SHAPE)
    variable = known(None if handle.inner is None else handle.inner.shape, _SHAPE)
    need(not operation.attribute("batch_dims", 0))
    return operation.rows(places.axis, (*shape, *variable[1:]))


@rule("GatherNd")
def gather_nd(operation: Operation) -> Value:
    """Each row picks from what all share."""
    source, places = operation.inputs
    if source.is_free and places.kind is Kind.ROWS and places.shape and source.shape:
        depth = places.shape[-1].known
        if depth is not None and places.axis < len(places.shape) - 1:
            return operation.rows(places.axis, (*places.shape[:-1], *source.shape[depth:]))
    return operation.unproven("it may select other rows")


@rule("OneHot")
def one_hot(operation: Operation) -> Value:
    """Each number of a row becomes a vector of its own."""
    places, depth, *marks = operation.inputs
    shape = row_shape(places)
    need(depth.is_free and all(v.is_free for v in marks), "its depth comes from the request")
    axis = int(operation.attribute("axis", -1))
    new = len(shape) if axis == -1 else axis
    size = known(depth.first or operation.saved(new), "its depth is not known")
    return operation.rows(places.axis + (new <= places.axis), (*shape[:new], size, *shape[new:]))


@rule("Slice", content=True)
def cut(operation: Operation) -> Value:
    """Rows stay apart where the slice takes all of them."""
    value, begin, size = operation.inputs
    unknown = as_unknown(operation.inputs, operation.shape())
    if unknown is not None:
        if value.content is None or value.rank != 1:
            return unknown
        if not begin.whole_numbers or not size.whole_numbers:
            return unknown
        first, count = begin.whole_numbers[0], size.whole_numbers[0]
        return vector(value.content[first : None if count < 0 else first + count], value.kind)
    shape, axis = row_shape(value, _WHAT), value.axis
    starts, sizes = known(begin.content, _WHAT), known(size.content, _WHAT)
    for given, bounds in ((begin, starts), (size, sizes)):
        for at, bound in enumerate(bounds):
            by_rows = bound.has_rows if bound is not None else not given.is_free
            if by_rows and at != axis:
                return operation.mixes("how it slices each row depends on the number of rows")
    if starts[axis] != Dimension(0) or sizes[axis] not in (shape[axis], Dimension(-1)):
        return operation.mixes(_SELECTS)
    saved = known(operation.shape(), _SIZE)
    need(len(saved) == len(shape), _SIZE)
    return operation.rows(axis, (*saved[:axis], shape[axis], *saved[axis + 1 :]))


@rule("StridedSlice", content=True)
def strided_slice(operation: Operation) -> Value:
    """Rows stay apart where the slice takes all of them, in order."""
    value, begin, _, strides = operation.inputs
    names = ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    masks = {name: int(operation.attribute(f"{name}_mask", 0)) for name in names}
    if value.kind is Kind.COORDINATES:
        # How a ragged tensor takes the rows out of the places of its elements: [:, 0].
        first, *others = begin.whole_numbers or (None,)
        whole = masks["end"] & 1 and (masks["begin"] & 1 or first == 0)
        column = others == [0] and masks["shrink_axis"] == 2 and strides.whole_numbers == (1, 1)
        plain = not masks["new_axis"] and not masks["ellipsis"]
        why = "it is not known to keep rows of different lengths apart"
        need(whole and column and plain, why)
        return Value(Kind.ROW_IDS, operation.shape(), source=value.source)
    unknown = as_unknown(operation.inputs, operation.shape())
    if unknown is not None:
        return _numbers_between(operation, masks) or unknown
    if value.kind is Kind.ROW_NUMBERS:
        return operation.mixes("it computes with the position of each row in the batch")
    return _slice_rows(operation, masks)


def _numbers_between(operation: Operation, masks: dict[str, int]) -> Value | None:
    """For a vector of sizes: the elements that the slice takes, where they are known."""
    value, *others = operation.inputs
    bounds = [each.whole_numbers or () for each in others]
    odd = masks["new_axis"] or masks["ellipsis"] or any(len(bound) != 1 for bound in bounds)
    if odd or value.content is None or value.rank != 1:
        return None
    (begin,), (end,), (stride,) = bounds
    if masks["shrink_axis"] & 1:
        return numbers([value.content[begin]], (), value.kind)
    first, last = None if masks["begin"] & 1 else begin, None if masks["end"] & 1 else end
    return vector(value.content[first:last:stride], value.kind)


def _slice_rows(operation: Operation, masks: dict[str, int]) -> Value:
    """Follow the axes of the input through the specification, one entry after the other."""
    value, begin, end, strides = operation.inputs
    whole = row_shape(value, _WHAT)
    steps = known(strides.whole_numbers, _WHAT)
    entries = range(known(begin.shape[0].known if begin.shape else None, _WHAT))
    named = [n for n in entries if not (masks["new_axis"] | masks["ellipsis"]) >> n & 1]
    # An entry of None stands for an axis that is taken as it is.
    unnamed: list[int | None] = [None] * (len(whole) - len(named))
    order: list[int | None] = []
    for n in entries:
        order += unnamed if masks["ellipsis"] >> n & 1 else [n]
    if None not in order:
        order += unnamed
    shape: list[Dimension] = []
    axis = None
    axes = iter(range(len(whole)))
    for entry in order:
        bit = 0 if entry is None else 1 << entry
        if masks["new_axis"] & bit:
            shape.append(ONE)
            continue
        at = next(axes)
        if at == value.axis:
            axis = len(shape)
        if entry is None:
            shape.append(whole[at])
            continue
        first = 0 if masks["begin"] & bit else _known(begin, entry)
        in_order = steps[entry] == 1 and not masks["shrink_axis"] & bit
        if at == value.axis:
            ends = masks["end"] & bit or (end.content and end.content[entry] == whole[at])
            if first != 0 or not ends or not in_order:
                return operation.mixes(_SELECTS)
            shape.append(whole[at])
            continue
        if not masks["shrink_axis"] & bit:
            all_of_it = masks["begin"] & masks["end"] & bit and in_order
            size = whole[at] if all_of_it else operation.saved(len(shape))
            shape.append(known(size, _SIZE))
        fixed = first is not None or (begin.is_free and end.is_free)
        need(fixed, "what it selects depends on the request")
    return operation.rows(known(axis, _WHAT), tuple(shape))


def _known(value: Value, at: int) -> int | None:
    element = None if value.content is None else value.content[at]
    return None if element is None else element.known
