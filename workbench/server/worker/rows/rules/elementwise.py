"""Operations on each element by itself, with broadcasting: rows stay apart if they are combined
with the same rows, or with values that all rows share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from workbench.server.worker.rows.dimensions import ONE, ROWS, Dimension, product, unknown
from workbench.server.worker.rows.rules.rule_book import known, need, row_shape, rule
from workbench.server.worker.rows.values import Kind, Shape, Value, as_unknown, numbers, rows
from workbench.server.worker.rows.walk import Operation

Compute = Callable[[Dimension, Dimension], Dimension | None]

_SMALL = 32
_WHOLE = (3, 9)  # DT_INT32, DT_INT64
_WHOLE_OR_TRUTH = (*_WHOLE, 10)
_FLAT_KINDS = frozenset({Kind.FLAT, Kind.ROW_IDS, Kind.COUNTS, Kind.ENDS, Kind.SPLITS})
_LOOP_KINDS = frozenset({Kind.POSITION, Kind.EVERY_ROW})
_ROW_INDEX = "it computes with the index of a row"
_MIXED_WITH_ROWS = {
    Kind.ROW_NUMBERS: "it computes with the position of each row in the batch",
    Kind.ROW: "in a loop over the rows, it combines one row with all rows",
    Kind.SIZED: "it gives each row a value that depends on the number of rows",
}

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
    shape = _together(one.shape, other.shape) or operation.shape()
    unknown = as_unknown(operation.inputs, shape)
    if unknown is None:
        return broadcast(operation, operation.inputs)
    if operation.name == "Greater" and one.content == (ROWS,) and other.whole_numbers == (1,):
        return Value(Kind.MANY_ROWS, ())
    content = _content(operation, one, other)
    if content is None or shape is None:
        return unknown
    return numbers(content, shape, unknown.kind)


def _at_least(operation: Operation, one: Value, other: Value) -> Value:
    """How a ragged tensor counts its rows: ``minimum(rows, maximum(rows, something mixed))``."""
    mixed, exact = (one, other) if one.kind is Kind.MIXED else (other, one)
    size = exact.first if exact.content is not None and len(exact.content) == 1 else None
    if size is not None and operation.name == "Minimum" and mixed.floor == size:
        return exact
    floor = size if operation.name == "Maximum" else None
    return replace(mixed, shape=operation.shape(), floor=floor)


def _position(operation: Operation, one: Value, other: Value) -> Value:
    at, more = (one, other) if one.kind in _LOOP_KINDS else (other, one)
    if at.kind is Kind.POSITION:
        step = more.whole_numbers or ()
        if operation.name in ("Add", "AddV2") and len(step) == 1:
            return replace(at, offset=at.offset + step[0])
        if operation.name == "Less" and at is one and at.offset == 0 and more.content == (ROWS,):
            return Value(Kind.EVERY_ROW, ())
    return operation.unproven(_ROW_INDEX)


@rule("LogicalAnd", content=True)
def logical_and(operation: Operation) -> Value:
    """Of two tests whether a loop has a row left, the same test."""
    if all(value.kind is Kind.EVERY_ROW for value in operation.inputs):
        return operation.inputs[0]
    return broadcast(operation, operation.inputs)


def _content(operation: Operation, one: Value, other: Value) -> list[Dimension | None] | None:
    compute = _COMPUTED.get(operation.name)
    if compute is None or one.content is None or other.content is None:
        return None
    contents = (one.content, other.content)
    count = max(map(len, contents))
    if count > _SMALL or (min(map(len, contents)) != 1 and one.shape != other.shape):
        return None
    both = [content * (count // len(content)) if content else () for content in contents]
    return [None if a is None or b is None else compute(a, b) for a, b in zip(*both, strict=True)]


def _computed(compute: Callable[[int, int], int], *, compares: bool = False) -> Compute:
    def both(one: Dimension, other: Dimension) -> Dimension | None:
        a, b = one.known, other.known
        if a is not None and b is not None:
            return Dimension(int(compute(a, b)))
        if one == other and compute in (max, min):
            return one
        return None if compares or one.has_rows or other.has_rows else unknown()

    return both


def _quotient(one: Dimension, other: Dimension) -> Dimension | None:
    exact = one.divided_by(other)
    if exact is not None:
        return exact
    if one.has_rows or other.has_rows or other.known == 0:
        return None
    a, b = one.known, other.known
    return Dimension(a // b) if a is not None and b is not None else unknown()


_COMPUTED: dict[str, Compute] = {
    "Mul": Dimension.times,
    "FloorDiv": _quotient,
    "Add": _computed(int.__add__),
    "AddV2": _computed(int.__add__),
    "Sub": _computed(int.__sub__),
    "Maximum": _computed(max),
    "Minimum": _computed(min),
    "Less": _computed(int.__lt__, compares=True),
    "LessEqual": _computed(int.__le__, compares=True),
    "Greater": _computed(int.__gt__, compares=True),
    "GreaterEqual": _computed(int.__ge__, compares=True),
    "Equal": _computed(int.__eq__, compares=True),
}


def broadcast(operation: Operation, inputs: Sequence[Value]) -> Value:
    """What an operation on each element makes of tensors of the same, or of broadcast, shapes."""
    unknown = as_unknown(inputs, operation.shape())
    if unknown is not None:
        return unknown
    kinds = {value.kind for value in inputs}
    if kinds & _FLAT_KINDS:
        return _flat(operation, inputs)
    need(not kinds & _LOOP_KINDS, _ROW_INDEX)
    for kind, why in _MIXED_WITH_ROWS.items():
        if kind in kinds:
            return operation.mixes(why)
    need(kinds <= {Kind.FREE, Kind.HANDLE, Kind.ROWS})
    return _rows(operation, [value for value in inputs if value.kind is not Kind.HANDLE])


def _rows(operation: Operation, inputs: Sequence[Value]) -> Value:
    shapes = [known(value.shape, "the shape of an input is not known") for value in inputs]
    rank = max(map(len, shapes))
    both = list(zip(inputs, shapes, strict=True))
    # Counted from the right, as broadcasting does.
    axis, *other_axes = {v.axis + rank - len(s) for v, s in both if v.kind is Kind.ROWS}
    if other_axes:
        return operation.mixes("it combines rows with other rows")
    count, *other_counts = {s[v.axis] for v, s in both if v.kind is Kind.ROWS}
    need(not other_counts, "its inputs have different numbers of rows")
    shape = [ONE] * rank
    for value, own in both:
        for at, dimension in enumerate(own, rank - len(own)):
            same = value.kind is Kind.ROWS or at != axis or dimension == ONE
            need(same, "one of its inputs has another size along the batch")
            shape[at] = _wider(shape[at], dimension)
    shape[axis] = count
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
    return tuple(map(_wider, *padded))


def _flat(operation: Operation, inputs: Sequence[Value]) -> Value:
    flat = [value for value in inputs if value.kind in _FLAT_KINDS]
    others = [value for value in inputs if value.kind not in _FLAT_KINDS]
    same = len({(v.kind, v.source, v.rank) for v in flat}) == 1 and flat[0].kind is Kind.FLAT
    rank = flat[0].rank
    narrow = rank is not None and all((value.rank or 0) <= rank for value in others)
    alike = all(v.is_free and _is_one_element(v) for v in others)
    need(same and narrow and alike, "it is not known to keep rows of different lengths apart")
    return replace(flat[0], shape=operation.shape())


def _is_one_element(value: Value) -> bool:
    if value.kind is Kind.HANDLE:
        return True
    return value.shape is not None and product(value.shape) == ONE


@rule("SelectV2", content=True)
def select_v2(operation: Operation) -> Value:
    """Element by element; or by whether there is more than one row."""
    condition, one, other = operation.inputs
    if condition.kind is Kind.MANY_ROWS:
        # The number of the only row is 0.
        if one.kind is Kind.ROW_NUMBERS and other.whole_numbers == (0,):
            return one
        return operation.mixes("its choice depends on the number of rows")
    return broadcast(operation, operation.inputs)


@rule("Select")
def select(operation: Operation) -> Value:
    """The condition may be a vector, with one element for each row."""
    condition, *chosen = operation.inputs
    if condition.rank == 1 and any(value.rank != 1 for value in chosen):
        sizes = {v.shape[0] for v in operation.inputs if v.shape}
        first = all(v.kind is Kind.ROWS and v.axis == 0 for v in operation.inputs)
        need(first and len(sizes) < 2, "the rows of its condition are not those of its choices")
        return broadcast(operation, chosen)
    return broadcast(operation, operation.inputs)


@rule("BiasAdd")
def bias_add(operation: Operation) -> Value:
    """One bias for each channel, the same for all rows."""
    value, bias = operation.inputs
    shape = row_shape(value)
    need(bias.is_free, "its bias comes from the request")
    channels = 1 if operation.attribute("data_format") == "NCHW" else len(shape) - 1
    need(value.axis != channels, "its bias is along the batch")
    return rows(shape, value.axis)


@rule("LookupTableFind LookupTableFindV2")
def look_up(operation: Operation) -> Value:
    """Each key by itself, in a table that all rows share."""
    _, keys, default = operation.inputs
    need(default.is_free, "its default comes from the request")
    if keys.kind in _FLAT_KINDS:
        return _flat(operation, [keys])
    shape = row_shape(keys, "the shape of its keys is not known")
    # A table's values may themselves be vectors.
    more = (operation.shape() or ())[len(shape) :]
    return operation.rows(keys.axis, (*shape, *more))
