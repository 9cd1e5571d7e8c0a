"""Operations that rearrange elements. Rows stay apart if their axis can be followed, and no element
of one row moves into another."""

from __future__ import annotations

from workbench.server.worker.rows.dimensions import ONE, ROWS, Dimension, has_share, product, share
from workbench.server.worker.rows.rules.rule_book import rule
from workbench.server.worker.rows.values import Kind, Shape, Value, as_unknown, free, numbers, rows
from workbench.server.worker.rows.walk import Operation

_TAKEN_APART = "it takes the elements of rows apart and joins them with those of others"


@rule("Reshape", content=True)
def reshape(operation: Operation) -> Value:
    """Rows stay whole where each keeps its elements, in order."""
    value, wanted = operation.inputs
    flat = value.kind in (Kind.ROW_IDS, Kind.FLAT, Kind.COUNTS) and value.rank == 1
    if flat and wanted.whole_numbers == (-1,):
        return value
    if value.is_free and wanted.is_free:
        shape = _target(value.shape, wanted)
        if shape is None:
            shape = operation.shape()
        if shape is not None and value.content is not None:
            return numbers(value.content, shape, value.kind)
        return free(shape)
    if value.kind is Kind.SIZED:
        shape = _target(value.shape, wanted)
        if shape is not None and value.content is not None:
            return numbers(value.content, shape, value.kind)
        return Value(Kind.SIZED, operation.shape())
    if value.kind is not Kind.ROWS or value.shape is None:
        return operation.unproven("the shape of its input is not known")
    if wanted.kind not in (Kind.FREE, Kind.SIZED):
        return operation.unproven("its shape depends on the request")
    if has_share(value.shape[value.axis]):
        return operation.unproven("how many elements each row has is not known")
    shape = _target(value.shape, wanted) or _share_of_each(value, wanted)
    if shape is None:
        return operation.unproven("its shape is not known")
    if has_share(shape[0]):
        return operation.rows(0, shape)
    axis = _rows_after(value.shape, value.axis, shape)
    if axis is None:
        return operation.mixes(_TAKEN_APART)
    return operation.rows(axis, shape)


def _target(shape: Shape | None, wanted: Value) -> Shape | None:
    """The shape that is asked for; one dimension may be what is left."""
    if wanted.content is None:
        return None
    left = [at for at, d in enumerate(wanted.content) if d is None or d.known == -1]
    if not left:
        return tuple(d for d in wanted.content if d is not None)
    if len(left) > 1 or shape is None:
        return None
    others = product(d for at, d in enumerate(wanted.content) if at != left[0] and d is not None)
    rest = product(shape).divided_by(others)
    if rest is None:
        return None
    return tuple(rest if d is None or d.known == -1 else d for d in wanted.content)


def _share_of_each(value: Value, wanted: Value) -> Shape | None:
    """``[-1, 8]`` for rows of a length that is not known: one row each, if a row has 8 elements.
    Whether it has is seen when a batch is answered, as long as nothing reshapes that again."""
    content = wanted.content
    if value.axis != 0 or not content or content[0] is None or content[0].known != -1:
        return None
    rest = tuple(d for d in content[1:] if d is not None)
    if len(rest) < len(content) - 1 or any(d.known is None or d.known < 1 for d in rest):
        return None
    return (ROWS.times(share()), *rest)


def _rows_after(before: Shape, axis: int, after: Shape) -> int | None:
    """Where the axis of the rows lies after a reshape; None where rows would share one.

    Row by row the elements are in the same order before and after, so the rows stay whole if as
    many elements lie outside of the axis as before, and each row has a whole share of the new one.
    """
    if product(before) != product(after):
        return None
    outside = product(before[:axis])
    for at, dimension in enumerate(after):
        if dimension.has_rows:
            return at if product(after[:at]) == outside else None
    return None


@rule("Squeeze", content=True)
def squeeze(operation: Operation) -> Value:
    """Rows stay apart unless their own dimension is removed."""
    value = operation.inputs[0]
    dims = operation.attribute("squeeze_dims") or []
    if value.kind in (Kind.FREE, Kind.SIZED):
        if value.content is not None and value.shape is not None:
            ones = [at for at, dimension in enumerate(value.shape) if dimension == ONE]
            without = {dim % len(value.shape) for dim in dims} if dims else set(ones)
            left = tuple(d for at, d in enumerate(value.shape) if at not in without)
            return numbers(value.content, left, value.kind)
        return Value(value.kind, operation.shape())
    if value.kind is Kind.SPREAD and value.rank and all(dim % (value.rank + 1) for dim in dims):
        # It was given that dimension only for the operation in between.
        return value if dims else operation.unproven("which dimension it removes is not known")
    if value.kind is not Kind.ROWS or value.shape is None:
        return operation.unproven("the shape of its input is not known")
    rank = len(value.shape)
    gone = {dim % rank for dim in dims}
    if not dims:
        return operation.unproven("it may remove the dimension of the batch, where that is 1")
    if value.axis in gone:
        return operation.unproven("it removes the dimension of the batch")
    shape = tuple(d for at, d in enumerate(value.shape) if at not in gone)
    return operation.rows(value.axis - sum(at < value.axis for at in gone), shape)


@rule("ExpandDims", content=True)
def expand(operation: Operation) -> Value:
    """Rows stay apart; their axis moves behind a new dimension before it."""
    value, where = operation.inputs
    at = where.whole_numbers
    if value.kind is Kind.SPREAD and at is not None and value.rank and at[0] % (value.rank + 1):
        return value
    unknown = as_unknown(operation.inputs, operation.shape())
    if unknown is not None:
        if value.content is not None and unknown.shape is not None and at is not None:
            return numbers(value.content, unknown.shape, value.kind)
        return unknown
    if value.kind is not Kind.ROWS or value.shape is None or at is None:
        return operation.unproven("where it adds a dimension is not known")
    new = at[0] % (len(value.shape) + 1)
    shape = (*value.shape[:new], ONE, *value.shape[new:])
    return operation.rows(value.axis + (new <= value.axis), shape)


@rule("Transpose ConjugateTranspose")
def transpose(operation: Operation) -> Value:
    """The axis of the rows goes where `order` puts it."""
    value, order = operation.inputs
    axes = order.whole_numbers
    if value.kind is not Kind.ROWS or value.shape is None or axes is None:
        return operation.unproven("the order of its dimensions is not known")
    return operation.rows(axes.index(value.axis), tuple(value.shape[axis] for axis in axes))


@rule("Tile", content=True)
def tile(operation: Operation) -> Value:
    """Rows stay apart unless they themselves are repeated."""
    return _repeated(operation, operation.inputs[0], operation.inputs[1])


def _repeated(operation: Operation, value: Value, times: Value) -> Value:
    if value.is_free and times.is_free:
        return operation.free()
    counts = times.content
    if value.shape is None or counts is None or None in counts:
        return operation.unproven("how often it repeats is not known")
    known = [d for d in counts if d is not None]
    shape = tuple(d.times(n) for d, n in zip(value.shape, known, strict=True))
    along = [at for at, count in enumerate(known) if count.has_rows]
    if value.kind is Kind.ROWS:
        if along or known[value.axis] != ONE:
            return operation.mixes("it repeats the rows")
        return operation.rows(value.axis, shape)
    if not value.is_free:
        return operation.unproven("it is not known to keep rows apart here")
    if len(along) != 1 or value.shape[along[0]] != ONE:
        return operation.unproven("it repeats something of its own for the rows")
    return operation.rows(along[0], shape)


@rule("BroadcastTo", content=True)
def broadcast_to(operation: Operation) -> Value:
    """What all rows share may be repeated for each; rows may not."""
    value, wanted = operation.inputs
    if value.is_free and wanted.is_free:
        return operation.free()
    if value.shape is None or wanted.content is None or None in wanted.content:
        return operation.unproven("its shape is not known")
    shape = tuple(d for d in wanted.content if d is not None)
    missing = len(shape) - len(value.shape)
    along = [at for at, dimension in enumerate(shape) if dimension.has_rows]
    if len(along) != 1:
        return operation.unproven("it has not one dimension of the batch's size")
    axis = along[0]
    own = value.shape[axis - missing] if axis >= missing else ONE
    if value.kind is Kind.ROWS:
        if value.axis + missing != axis or own != shape[axis]:
            return operation.mixes("it repeats the rows")
    elif not value.is_free or own != ONE:
        return operation.unproven("it repeats something of its own for the rows")
    return operation.rows(axis, shape)


@rule("Pad PadV2 MirrorPad")
def pad(operation: Operation) -> Value:
    """Rows stay apart unless the batch itself is padded."""
    value, amounts = operation.inputs[:2]
    if value.kind is not Kind.ROWS or value.shape is None or amounts.content is None:
        return operation.unproven("how much it pads is not known")
    if not all(other.is_free for other in operation.inputs[2:]):
        return operation.unproven("it pads with a number of the request")
    before, after = amounts.content[2 * value.axis : 2 * value.axis + 2]
    if before is None or after is None or (before.known, after.known) != (0, 0):
        return operation.mixes("it pads the batch")
    if any(d.has_rows if d is not None else not amounts.is_free for d in amounts.content):
        return operation.mixes("it pads each row by how many rows there are")
    shape = []
    for at, dimension in enumerate(value.shape):
        added = [d.known if d is not None else None for d in amounts.content[2 * at : 2 * at + 2]]
        if added == [0, 0]:
            shape.append(dimension)
        elif None in added or dimension.known is None:
            return operation.image_of(value) if value.axis == 0 else operation.unproven("its size")
        else:
            shape.append(Dimension(dimension.known + sum(n for n in added if n is not None)))
    return operation.rows(value.axis, tuple(shape))


@rule("ConcatV2 Concat", content=True)
def concatenate(operation: Operation) -> Value:
    """Rows may be joined to each other's equals along any other axis."""
    *values, where = operation.inputs
    if operation.name == "Concat":
        where, *values = operation.inputs
    kinds = {value.kind for value in values}
    axis = where.whole_numbers
    if [v.kind for v in values] == [Kind.FREE, Kind.ENDS] and values[0].whole_numbers == (0,):
        return Value(Kind.SPLITS, operation.shape(), source=values[1].source)
    if kinds <= {Kind.FREE, Kind.SIZED, Kind.HANDLE}:
        if all(v.content is not None and v.rank == 1 for v in values):
            content = [d for v in values for d in v.content or ()]
            kind = Kind.SIZED if Kind.SIZED in kinds else Kind.FREE
            return numbers(content, (Dimension(len(content)),), kind)
        return Value(Kind.SIZED if Kind.SIZED in kinds else Kind.FREE, operation.shape())
    if axis is None or any(v.shape is None for v in values):
        return operation.unproven("the axis that it joins along is not known")
    if kinds != {Kind.ROWS}:
        return operation.unproven("it joins rows with what has no rows")
    first = values[0]
    assert first.shape is not None
    along = axis[0] % len(first.shape)
    if any(v.axis == along for v in values):
        return operation.mixes("it joins rows along the batch")
    if len({v.axis for v in values}) > 1:
        return operation.mixes("it joins rows with other rows")
    if len({(v.shape or ())[v.axis] for v in values}) > 1:
        return operation.unproven("its inputs have different numbers of rows")
    sizes = [(v.shape or ())[along].known for v in values]
    shape = list(first.shape)
    if None not in sizes:
        shape[along] = Dimension(sum(size for size in sizes if size is not None))
    elif first.axis == 0:
        return operation.image_of(first)
    else:
        return operation.unproven("the size of its result is not known")
    return operation.rows(first.axis, tuple(shape))


@rule("Pack", content=True)
def pack(operation: Operation) -> Value:
    """Rows may be stacked with as many rows along the same axis."""
    values = operation.inputs
    kinds = {value.kind for value in values}
    if kinds <= {Kind.FREE, Kind.SIZED}:
        if all(value.rank == 0 for value in values):
            content = [v.content[0] if v.content else None for v in values]
            kind = Kind.SIZED if Kind.SIZED in kinds else Kind.FREE
            return numbers(content, (Dimension(len(values)),), kind)
        return Value(Kind.SIZED if Kind.SIZED in kinds else Kind.FREE, operation.shape())
    if kinds != {Kind.ROWS} or any(value.shape is None for value in values):
        return operation.unproven("it joins rows with what has no rows")
    if len({(value.axis, (value.shape or ())[value.axis]) for value in values}) > 1:
        return operation.mixes("it joins rows with other rows")
    shape = values[0].shape
    assert shape is not None
    new = int(operation.attribute("axis", 0)) % (len(shape) + 1)
    count = Dimension(len(values))
    axis = values[0].axis + (new <= values[0].axis)
    return operation.rows(axis, (*shape[:new], count, *shape[new:]))


@rule("Unpack", content=True)
def unpack(operation: Operation) -> list[Value] | Value:
    """Rows stay apart unless it is their axis that is taken apart."""
    value = operation.inputs[0]
    count = int(operation.attribute("num", 0))
    if value.kind in (Kind.FREE, Kind.SIZED):
        if value.content is not None and len(value.content) == count:
            return [numbers([d], (), value.kind) for d in value.content]
        return Value(value.kind, operation.shape())
    if value.kind is not Kind.ROWS or value.shape is None:
        return operation.unproven("the shape of its input is not known")
    axis = int(operation.attribute("axis", 0)) % len(value.shape)
    if axis == value.axis:
        return operation.unproven("it takes the batch apart")
    shape = (*value.shape[:axis], *value.shape[axis + 1 :])
    return operation.rows(value.axis - (axis < value.axis), shape)


@rule("Split SplitV", content=True)
def split(operation: Operation) -> list[Value] | Value:
    """The same with parts of several elements."""
    if operation.name == "Split":
        where, value = operation.inputs
        sizes: list[int] | None = None
    else:
        value, amounts, where = operation.inputs
        sizes = list(amounts.whole_numbers or ()) or None
    axis = where.whole_numbers
    if as_unknown(operation.inputs, None) is not None:
        return _split_numbers(operation, value)
    if value.kind is not Kind.ROWS or value.shape is None or axis is None:
        return operation.unproven("the axis that it splits is not known")
    along = axis[0] % len(value.shape)
    if along == value.axis:
        return operation.unproven("it takes the batch apart")
    count = operation.outputs()
    whole = value.shape[along]
    parts: list[Dimension] = []
    for at in range(count):
        part = whole.divided_by(Dimension(count)) if sizes is None else Dimension(sizes[at])
        if part is None or part.number < 0:
            declared = operation.declared(at)
            if declared is None or declared[along] < 0:
                return operation.unproven("the sizes of its parts are not known")
            part = Dimension(declared[along])
        parts.append(part)
    shapes: list[Shape] = [
        (*value.shape[:along], part, *value.shape[along + 1 :]) for part in parts
    ]
    return [rows(shape, value.axis) for shape in shapes]


def _split_numbers(operation: Operation, value: Value) -> list[Value]:
    count = operation.outputs()
    if operation.name == "Split" and value.rank == 1 and value.content is not None:
        each = len(value.content) // count
        parts = [value.content[at * each : (at + 1) * each] for at in range(count)]
        return [numbers(part, (Dimension(each),), value.kind) for part in parts]
    parts_unknown = (as_unknown(operation.inputs, operation.shape(at)) for at in range(count))
    return [part for part in parts_unknown if part is not None]
