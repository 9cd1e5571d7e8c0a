"""Operations on each element by itself, with broadcasting: rows stay apart if they are combined
with the same rows, or with values that all rows share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from workbench.server.worker.rows.dimensions import ONE, ROWS, Dimension, unknown
from workbench.server.worker.rows.rules.rule_book import rule
from workbench.server.worker.rows.values import Kind, Shape, Value, numbers, rows
from workbench.server.worker.rows.walk import Operation

_SMALL = 32
_WHOLE = (3, 9)  # DT_INT32, DT_INT64
_WHOLE_OR_TRUTH = (*_WHOLE, 10)
_FLAT_KINDS = frozenset({Kind.FLAT, Kind.ROW_IDS, Kind.COUNTS, Kind.ENDS, Kind.SPLITS})
_LOOP_KINDS = frozenset({Kind.POSITION, Kind.EVERY_ROW})

_SAME = (
    "Identity StopGradient PreventGradient Snapshot CheckNumerics CheckNumericsV2 EnsureShape "
    "PlaceholderWithDefault"
)
_ONE = (
    "Abs Acos Acosh Angle Asin Asinh Atan Atanh BesselI0 BesselI0e BesselI1 BesselI1e Ceil "
    "ComplexAbs Conj Cos Cosh Digamma Elu Erf Erfc Erfinv Exp Expm1 Floor Imag Inv Invert IsFinite "
    "IsInf IsNan Lgamma Log Log1p LogicalNot Ndtri Neg OnesLike Real Reciprocal Relu Relu6 "
    "LeakyRelu Rint Round Rsqrt Selu Sigmoid Sign Sin Sinh Softplus Softsign Spence Sqrt Square "
    "Tan Tanh PopulationCount Dawsn Expint FresnelCos FresnelSin "
    "FakeQuantWithMinMaxArgs AsString StringLower StringUpper StringStrip StringLength "
    "StringToNumber StringToHashBucket StringToHashBucketFast StringToHashBucketStrong "
    "StaticRegexReplace StaticRegexFullMatch EncodeBase64 DecodeBase64 UnicodeTranscode "
    "UnicodeScript"
)
_MANY = (
    "AddN ApproximateEqual Atan2 BetaInc BitwiseAnd BitwiseOr BitwiseXor ClipByValue Complex Div "
    "DivNoNan FakeQuantWithMinMaxVars FloorMod Igamma Igammac LeftShift "
    "LogicalAnd LogicalOr Mod MulNoNan NextAfter NotEqual Polygamma Pow RealDiv RightShift "
    "SquaredDifference TruncateDiv TruncateMod Xdivy Xlog1py Xlogy Zeta RegexReplace "
    "RegexFullMatch StringJoin Substr Bucketize"
)
_ARITHMETIC = "Add AddV2 Sub Mul FloorDiv Maximum Minimum Less LessEqual Greater GreaterEqual Equal"


@rule(f"{_ONE} {_MANY}")
def elementwise(operation: Operation) -> Value:
    """Each element by itself: see `broadcast`."""
    return broadcast(operation, operation.inputs)


@rule(_SAME, content=True)
def same(operation: Operation) -> Value:
    """The value as it is, with the dimensions that the graph knows."""
    value = operation.inputs[0]
    return value if value.kind is not Kind.ROWS else operation.rows(value.axis, value.shape)


@rule("Cast", content=True)
def cast(operation: Operation) -> Value:
    """Whole numbers stay what they are; other types may not hold them."""
    whole = (operation.attribute("SrcT"), operation.attribute("DstT"))
    value = operation.inputs[0]
    if value.kind is Kind.ROWS:
        return operation.rows(value.axis, value.shape)
    if whole[0] in _WHOLE_OR_TRUTH and whole[1] in _WHOLE:
        return value
    return replace(value, content=None, floor=None)


@rule(_ARITHMETIC, content=True, tolerant=True)
def arithmetic(operation: Operation) -> Value:
    """Element by element; also on sizes, and on the counter of a loop."""
    one, other = operation.inputs
    kinds = {one.kind, other.kind}
    if Kind.MIXED in kinds:
        return _at_least(operation, one, other)
    if kinds & _LOOP_KINDS:
        return _position(operation, one, other)
    if kinds <= {Kind.FREE, Kind.SIZED}:
        if operation.name == "Greater" and one.content == (ROWS,) and other.whole_numbers == (1,):
            return Value(Kind.MANY_ROWS, ())
        content = _content(operation, one, other)
        shape = _together(one.shape, other.shape) or operation.shape()
        if content is not None and shape is not None:
            return numbers(content, shape, Kind.SIZED if Kind.SIZED in kinds else Kind.FREE)
        return Value(Kind.SIZED if Kind.SIZED in kinds else Kind.FREE, shape)
    return broadcast(operation, operation.inputs)


def _at_least(operation: Operation, one: Value, other: Value) -> Value:
    """How a ragged tensor counts its rows: ``minimum(rows, maximum(rows, something mixed))``."""
    mixed, exact = (one, other) if one.kind is Kind.MIXED else (other, one)
    size = exact.content[0] if exact.content is not None and len(exact.content) == 1 else None
    if size is not None and operation.name == "Maximum":
        return replace(mixed, shape=operation.shape(), floor=size)
    if size is not None and operation.name == "Minimum" and mixed.floor == size:
        return exact
    return replace(mixed, shape=operation.shape(), floor=None)


def _position(operation: Operation, one: Value, other: Value) -> Value:
    at, more = (one, other) if one.kind in _LOOP_KINDS else (other, one)
    if at.kind is Kind.POSITION:
        if operation.name in ("Add", "AddV2"):
            step = more.whole_numbers
            if step is not None and len(step) == 1:
                return replace(at, offset=at.offset + step[0])
        if operation.name == "Less" and at is one and at.offset == 0 and more.content == (ROWS,):
            return Value(Kind.EVERY_ROW, ())
    return operation.unproven("it computes with the number of a row")


@rule("LogicalAnd", content=True)
def logical_and(operation: Operation) -> Value:
    """Of two tests whether a loop has a row left, the same test."""
    kinds = [value.kind for value in operation.inputs]
    if kinds == [Kind.EVERY_ROW] * 2:
        return operation.inputs[0]
    return broadcast(operation, operation.inputs)


def _content(operation: Operation, one: Value, other: Value) -> list[Dimension | None] | None:
    compute = _COMPUTED.get(operation.name)
    if compute is None or one.content is None or other.content is None:
        return None
    count = max(len(one.content), len(other.content))
    single = min(len(one.content), len(other.content)) == 1
    if count > _SMALL or not (single or one.shape == other.shape):
        return None
    left = one.content * (count // len(one.content)) if one.content else ()
    right = other.content * (count // len(other.content)) if other.content else ()
    pairs = zip(left, right, strict=True)
    return [None if a is None or b is None else compute(a, b) for a, b in pairs]


def _numeric(
    compute: Callable[[int, int], int],
) -> Callable[[Dimension, Dimension], Dimension | None]:
    def both(one: Dimension, other: Dimension) -> Dimension | None:
        a, b = one.known, other.known
        if a is not None and b is not None:
            return Dimension(compute(a, b))
        if one.has_rows or other.has_rows:
            return one if one == other and compute in (max, min) else None
        return unknown()

    return both


def _compared(
    compare: Callable[[int, int], bool],
) -> Callable[[Dimension, Dimension], Dimension | None]:
    def both(one: Dimension, other: Dimension) -> Dimension | None:
        a, b = one.known, other.known
        return None if a is None or b is None else Dimension(int(compare(a, b)))

    return both


def _quotient(one: Dimension, other: Dimension) -> Dimension | None:
    exact = one.divided_by(other)
    if exact is not None:
        return exact
    if one.has_rows or other.has_rows or other.known == 0:
        return None
    a, b = one.known, other.known
    return Dimension(a // b) if a is not None and b is not None else unknown()


_COMPUTED: dict[str, Callable[[Dimension, Dimension], Dimension | None]] = {
    "Mul": Dimension.times,
    "FloorDiv": _quotient,
    "Add": _numeric(int.__add__),
    "AddV2": _numeric(int.__add__),
    "Sub": _numeric(int.__sub__),
    "Maximum": _numeric(max),
    "Minimum": _numeric(min),
    "Less": _compared(int.__lt__),
    "LessEqual": _compared(int.__le__),
    "Greater": _compared(int.__gt__),
    "GreaterEqual": _compared(int.__ge__),
    "Equal": _compared(int.__eq__),
}


def broadcast(operation: Operation, inputs: Sequence[Value]) -> Value:
    """What an operation on each element makes of tensors of the same, or of broadcast, shapes."""
    kinds = {value.kind for value in inputs}
    if kinds <= {Kind.FREE, Kind.HANDLE}:
        return operation.free()
    if kinds <= {Kind.FREE, Kind.HANDLE, Kind.SIZED}:
        return Value(Kind.SIZED, operation.shape())
    if kinds & _FLAT_KINDS:
        return _flat(operation, inputs)
    if kinds & _LOOP_KINDS:
        return operation.unproven("it computes with the number of a row")
    if Kind.ROW_NUMBERS in kinds:
        return operation.mixes("it computes with the place of each row in the batch")
    if Kind.ROW in kinds:
        return operation.mixes("in a loop over the rows, it joins one row with all")
    if Kind.SIZED in kinds:
        return operation.mixes("it gives each row a number that depends on how many rows there are")
    if kinds - {Kind.FREE, Kind.HANDLE, Kind.ROWS}:
        return operation.unproven("it is not known to keep rows apart here")
    return _rows(operation, [value for value in inputs if value.kind is not Kind.HANDLE])


def _rows(operation: Operation, inputs: Sequence[Value]) -> Value:
    if any(value.shape is None for value in inputs):
        return operation.unproven("the shape of an input is not known")
    rank = max(len(value.shape or ()) for value in inputs)
    # Counted from the right, as broadcasting does.
    axes = {v.axis + rank - len(v.shape or ()) for v in inputs if v.kind is Kind.ROWS}
    if len(axes) > 1:
        return operation.mixes("it joins rows with other rows")
    axis = axes.pop()
    sizes = {(v.shape or ())[v.axis] for v in inputs if v.kind is Kind.ROWS}
    if len(sizes) > 1:
        return operation.unproven("its inputs have different numbers of rows")
    shape: list[Dimension] = [ONE] * rank
    for value in inputs:
        assert value.shape is not None
        missing = rank - len(value.shape)
        if value.kind is not Kind.ROWS and axis >= missing and value.shape[axis - missing] != ONE:
            return operation.unproven("one of its inputs has a size of its own for the batch")
        for at, dimension in enumerate(value.shape, missing):
            shape[at] = _wider(shape[at], dimension)
    shape[axis] = sizes.pop()
    return operation.rows(axis, tuple(shape))


def _wider(one: Dimension, other: Dimension) -> Dimension:
    if one == other or other == ONE:
        return one
    if one == ONE:
        return other
    known = [d for d in (one, other) if d.known is not None]
    return known[0] if known else unknown()


def _together(one: Shape | None, other: Shape | None) -> Shape | None:
    if one is None or other is None:
        return None
    rank = max(len(one), len(other))
    padded = [(ONE,) * (rank - len(shape)) + shape for shape in (one, other)]
    return tuple(_wider(a, b) for a, b in zip(*padded, strict=True))


def _flat(operation: Operation, inputs: Sequence[Value]) -> Value:
    flat = [value for value in inputs if value.kind in _FLAT_KINDS]
    others = [value for value in inputs if value.kind not in _FLAT_KINDS]
    same = len({(v.kind, v.source, v.rank) for v in flat}) == 1 and flat[0].kind is Kind.FLAT
    rank = flat[0].rank
    if rank is None or any((value.rank or 0) > rank for value in others):
        same = False
    if not same or any(not v.is_free or _elements(v) != 1 for v in others):
        return operation.unproven("it is not known to keep rows of different lengths apart")
    return replace(flat[0], shape=operation.shape())


def _elements(value: Value) -> int | None:
    if value.kind is Kind.HANDLE:
        return 1
    if value.shape is None:
        return None
    sizes = [dimension.known for dimension in value.shape]
    return None if None in sizes else math.prod(size for size in sizes if size is not None)


@rule("SelectV2", content=True)
def select_v2(operation: Operation) -> Value:
    """Element by element; or by whether there is more than one row."""
    condition, one, other = operation.inputs
    if condition.kind is Kind.MANY_ROWS:
        # The number of the only row is 0.
        if one.kind is Kind.ROW_NUMBERS and other.whole_numbers == (0,):
            return one
        return operation.mixes("it chooses by how many rows there are")
    return broadcast(operation, operation.inputs)


@rule("Select")
def select(operation: Operation) -> Value:
    """The condition may be a vector, with one element for each row."""
    condition, *chosen = operation.inputs
    if condition.rank == 1 and any(value.rank != 1 for value in chosen):
        sizes = {v.shape[0] for v in operation.inputs if v.shape}
        if len(sizes) > 1 or any(v.kind is not Kind.ROWS or v.axis for v in operation.inputs):
            return operation.unproven("it chooses by rows that are not those it chooses from")
        return broadcast(operation, chosen)
    return broadcast(operation, operation.inputs)


@rule("BiasAdd")
def bias_add(operation: Operation) -> Value:
    """One bias for each channel, the same for all rows."""
    value, bias = operation.inputs
    if value.kind is not Kind.ROWS or not bias.is_free or value.shape is None:
        return operation.unproven("its bias is of the request")
    channels = 1 if operation.attribute("data_format") == "NCHW" else len(value.shape) - 1
    if value.axis == channels:
        return operation.unproven("its bias is along the batch")
    return rows(value.shape, value.axis)


@rule("LookupTableFind LookupTableFindV2")
def look_up(operation: Operation) -> Value:
    """Each key by itself, in a table that all rows share."""
    _, keys, default = operation.inputs
    if not default.is_free:
        return operation.unproven("its default is of the request")
    if keys.kind in _FLAT_KINDS:
        return _flat(operation, [keys])
    if keys.kind is not Kind.ROWS or keys.shape is None:
        return operation.unproven("the shape of its keys is not known")
    # A table's values may themselves be vectors.
    declared = operation.shape()
    more = declared[len(keys.shape) :] if declared is not None else ()
    return operation.rows(keys.axis, (*keys.shape, *more))
