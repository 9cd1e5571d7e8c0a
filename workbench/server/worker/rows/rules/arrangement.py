"""Operations that rearrange elements. Rows stay apart if their axis can be followed, and no element
of one row moves into another."""

from __future__ import annotations

from workbench.server.worker.rows.dimensions import ONE, ROWS, Dimension, has_share, product, share
from workbench.server.worker.rows.rules.rule_book import known, need, row_shape, rule
from workbench.server.worker.rows.values import (
    Kind,
    Shape,
    Value,
    as_unknown,
    numbers,
    rows,
    vector,
)
from workbench.server.worker.rows.walk import Operation

_SPLITS_ROWS = "it splits rows and combines their elements with those of other rows"
_JOINS = "it combines rows with other rows"
_REPEATS = "it repeats the rows"
_NOT_ONE_VALUE = "what it repeats for each row is not one value for all rows"
_SIZE = "the size of its result is not known"


@rule("Reshape", content=True)
def reshape(operation: Operation) -> Value:
    """Rows stay whole where each keeps its elements, in order."""
    value, wanted = operation.inputs
    flat = value.kind in (Kind.ROW_IDS, Kind.FLAT, Kind.COUNTS) and value.rank == 1
    if flat and wanted.whole_numbers == (-1,):
        return value
    target = _target(value.shape, wanted)
    if value.kind is Kind.SIZED or (value.is_free and wanted.is_free):
        shape = operation.shape() if target is None else target
        if shape is None or value.content is None:
            return Value(value.kind, shape)
        return numbers(value.content, shape, value.kind)
    before = row_shape(value)
    need(wanted.kind in (Kind.FREE, Kind.SIZED), "its shape depends on the request")
    need(not has_share(before[value.axis]), "how many elements each row has is not known")
    after = known(target or _share_of_each(value, wanted), "its shape is not known")
    if has_share(after[0]):
        return operation.rows(0, after)
    axis = _rows_after(before, value.axis, after)
    return operation.mixes(_SPLITS_ROWS) if axis is None else operation.rows(axis, after)


def _target(shape: Shape | None, wanted: Value) -> Shape | None:
    """The shape that is asked for; one dimension may be what is left."""
    if wanted.content is None:
        return None
    named = [None if d is None or d.known == -1 else d for d in wanted.content]
    sizes = tuple(d for d in named if d is not None)
    if len(sizes) == len(named):
        return sizes
    if len(sizes) < len(named) - 1 or shape is None:
        return None
    rest = product(shape).divided_by(product(sizes))
    return None if rest is None else tuple(rest if d is None else d for d in named)


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
    dims = operation.attribute("squeeze_dims", [])
    if value.kind in (Kind.FREE, Kind.SIZED):
        if value.content is None or value.shape is None:
            return Value(value.kind, operation.shape())
        ones = [at for at, dimension in enumerate(value.shape) if dimension == ONE]
        gone = {dim % len(value.shape) for dim in dims or ones}
        left = tuple(d for at, d in enumerate(value.shape) if at not in gone)
        return numbers(value.content, left, value.kind)
    need(dims, "it removes all dimensions of size 1, which may include the batch")
    if value.kind is Kind.SPREAD and value.rank and all(dim % (value.rank + 1) for dim in dims):
        # It was given that dimension only for the operation in between.
        return value
    shape = row_shape(value)
    gone = {dim % len(shape) for dim in dims}
    need(value.axis not in gone, "it removes the dimension of the batch")
    left = tuple(d for at, d in enumerate(shape) if at not in gone)
    return operation.rows(value.axis - sum(at < value.axis for at in gone), left)


@rule("ExpandDims", content=True)
def expand(operation: Operation) -> Value:
    """Rows stay apart; their axis moves behind a new dimension before it."""
    value, where = operation.inputs
    at = where.whole_numbers
    if value.kind is Kind.SPREAD and at is not None and value.rank and at[0] % (value.rank + 1):
        return value
    unknown = as_unknown(operation.inputs, operation.shape())
    if unknown is not None:
        if value.content is None or unknown.shape is None or at is None:
            return unknown
        return numbers(value.content, unknown.shape, value.kind)
    why = "where it adds a dimension is not known"
    shape = row_shape(value, why)
    new = known(at, why)[0] % (len(shape) + 1)
    return operation.rows(value.axis + (new <= value.axis), (*shape[:new], ONE, *shape[new:]))


@rule("Transpose ConjugateTranspose")
def transpose(operation: Operation) -> Value:
    """The axis of the rows goes where `order` puts it."""
    value, order = operation.inputs
    why = "the order of its dimensions is not known"
    shape, axes = row_shape(value, why), known(order.whole_numbers, why)
    return operation.rows(axes.index(value.axis), tuple(shape[axis] for axis in axes))


@rule("Tile", content=True)
def tile(operation: Operation) -> Value:
    """Rows stay apart unless they themselves are repeated."""
    value, times = operation.inputs
    if value.is_free and times.is_free:
        return operation.free()
    why = "how often it repeats is not known"
    before, counts = known(value.shape, why), known(times.sizes, why)
    shape = tuple(map(Dimension.times, before, counts))
    along = [at for at, count in enumerate(counts) if count.has_rows]
    if value.kind is Kind.ROWS:
        if along or counts[value.axis] != ONE:
            return operation.mixes(_REPEATS)
        return operation.rows(value.axis, shape)
    need(value.is_free)
    need(len(along) == 1 and before[along[0]] == ONE, _NOT_ONE_VALUE)
    return operation.rows(along[0], shape)


@rule("BroadcastTo", content=True)
def broadcast_to(operation: Operation) -> Value:
    """What all rows share may be repeated for each; rows may not."""
    value, wanted = operation.inputs
    if value.is_free and wanted.is_free:
        return operation.free()
    before = known(value.shape, "its shape is not known")
    shape = known(wanted.sizes, "its shape is not known")
    missing = len(shape) - len(before)
    along = [at for at, dimension in enumerate(shape) if dimension.has_rows]
    need(len(along) == 1, "its result does not have exactly one dimension of the batch's size")
    axis = along[0]
    own = before[axis - missing] if axis >= missing else ONE
    if value.kind is Kind.ROWS:
        if value.axis + missing != axis or own != shape[axis]:
            return operation.mixes(_REPEATS)
    else:
        need(value.is_free and own == ONE, _NOT_ONE_VALUE)
    return operation.rows(axis, shape)


@rule("Pad PadV2 MirrorPad")
def pad(operation: Operation) -> Value:
    """Rows stay apart unless the batch itself is padded."""
    value, amounts, *rest = operation.inputs
    why = "how much it pads is not known"
    before, content = row_shape(value, why), known(amounts.content, why)
    need(all(v.is_free for v in rest), "the number that it pads with comes from the request")
    pairs = list(zip(content[::2], content[1::2], strict=True))
    if pairs[value.axis] != (Dimension(0), Dimension(0)):
        return operation.mixes("it pads the batch")
    if any(d.has_rows if d is not None else not amounts.is_free for d in content):
        return operation.mixes("how it pads each row depends on the number of rows")
    shape = []
    for dimension, pair in zip(before, pairs, strict=True):
        added = [n.known for n in pair if n is not None and n.known is not None]
        if added == [0, 0]:
            shape.append(dimension)
        elif len(added) == 2 and dimension.known is not None:
            shape.append(Dimension(dimension.known + sum(added)))
        else:
            need(value.axis == 0, _SIZE)
            return operation.image_of(value)
    return operation.rows(value.axis, tuple(shape))


@rule("ConcatV2 Concat", content=True)
def concatenate(operation: Operation) -> Value:
    """Rows may be joined to each other's equals along any other axis."""
    *values, where = operation.inputs
    if operation.name == "Concat":
        where, *values = operation.inputs
    if [v.kind for v in values] == [Kind.FREE, Kind.ENDS] and values[0].whole_numbers == (0,):
        return Value(Kind.SPLITS, operation.shape(), source=values[1].source)
    unknown = as_unknown(values, operation.shape())
    if unknown is not None:
        contents = [v.content for v in values if v.content is not None and v.rank == 1]
        if len(contents) < len(values):
            return unknown
        return vector([d for content in contents for d in content], unknown.kind)
    why = "the axis that it joins along is not known"
    axes, shapes = known(where.whole_numbers, why), [known(v.shape, why) for v in values]
    need(all(v.kind is Kind.ROWS for v in values), "it joins rows with a tensor that has no rows")
    first, shape = values[0], shapes[0]
    along = axes[0] % len(shape)
    if any(v.axis == along for v in values):
        return operation.mixes("it joins rows along the batch")
    if len({v.axis for v in values}) > 1:
        return operation.mixes(_JOINS)
    need(len({v.row_count for v in values}) == 1, "its inputs have different numbers of rows")
    sizes = [each[along].known for each in shapes]
    if None in sizes:
        need(first.axis == 0, _SIZE)
        return operation.image_of(first)
    joined = Dimension(sum(size for size in sizes if size is not None))
    return operation.rows(first.axis, (*shape[:along], joined, *shape[along + 1 :]))


@rule("Pack", content=True)
def pack(operation: Operation) -> Value:
    """Rows may be stacked with as many rows along the same axis."""
    values = operation.inputs
    unknown = as_unknown(values, operation.shape())
    if unknown is not None:
        if any(value.rank != 0 for value in values):
            return unknown
        return vector([value.first for value in values], unknown.kind)
    first = values[0]
    shape, *_ = [row_shape(v, "it joins rows with a tensor that has no rows") for v in values]
    if len({(value.axis, value.row_count) for value in values}) > 1:
        return operation.mixes(_JOINS)
    new = int(operation.attribute("axis", 0)) % (len(shape) + 1)
    count = Dimension(len(values))
    return operation.rows(first.axis + (new <= first.axis), (*shape[:new], count, *shape[new:]))


@rule("Unpack", content=True)
def unpack(operation: Operation) -> list[Value] | Value:
    """Rows stay apart unless it is their axis that is taken apart."""
    value = operation.inputs[0]
    if value.kind in (Kind.FREE, Kind.SIZED):
        if value.content is not None and len(value.content) == operation.attribute("num", 0):
            return [numbers([d], (), value.kind) for d in value.content]
        return Value(value.kind, operation.shape())
    shape = row_shape(value)
    axis = int(operation.attribute("axis", 0)) % len(shape)
    need(axis != value.axis, "it splits the batch")
    return operation.rows(value.axis - (axis < value.axis), (*shape[:axis], *shape[axis + 1 :]))


@rule("Split SplitV", content=True)
def split(operation: Operation) -> list[Value]:
    """The same with parts of several elements."""
    if operation.name == "Split":
        where, value = operation.inputs
        sizes = None
    else:
        value, amounts, where = operation.inputs
        sizes = amounts.whole_numbers
    count = operation.outputs()
    if as_unknown(operation.inputs, None) is not None:
        return _split_numbers(operation, value, count)
    why = "the axis that it splits is not known"
    shape = row_shape(value, why)
    along = known(where.whole_numbers, why)[0] % len(shape)
    need(along != value.axis, "it splits the batch")
    even = shape[along].divided_by(Dimension(count)) if operation.name == "Split" else None
    results = []
    for at in range(count):
        part = Dimension(sizes[at]) if sizes else even
        if part is None or part.number < 0:
            part = known(operation.saved(along, at), "the sizes of its parts are not known")
        results.append(rows((*shape[:along], part, *shape[along + 1 :]), value.axis))
    return results


def _split_numbers(operation: Operation, value: Value, count: int) -> list[Value]:
    if operation.name == "Split" and value.rank == 1 and value.content is not None:
        each = len(value.content) // count
        return [
            vector(value.content[at * each : (at + 1) * each], value.kind) for at in range(count)
        ]
    parts = (as_unknown(operation.inputs, operation.shape(at)) for at in range(count))
    return [part for part in parts if part is not None]
