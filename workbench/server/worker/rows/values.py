"""Abstract values: what a tensor is made of, as far as the rows of a batch are concerned."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from workbench.server.worker.rows.dimensions import ROWS, Dimension, unknown

Shape = tuple[Dimension, ...]


class Kind(enum.Enum):
    """What a tensor is made of."""

    FREE = "nothing of the request: weights, constants"
    SIZED = "how many rows the batch has"
    ROWS = "the rows, side by side along one axis, each of its own input row"
    MIXED = "several rows at once, or something unknown"
    # Inside a loop that takes the rows one by one.
    ROW = "the row that the loop is at"
    POSITION = "the number of that row, plus `offset`"
    EVERY_ROW = "whether the loop has a row left: true exactly once for each"
    # A loop over the rows that was unrolled into operations on all of them (`vectorized_map`).
    ROW_NUMBERS = "the numbers of all rows, in order"
    MANY_ROWS = "whether there is more than one row"
    SPREAD = "the rows, each split into the same number of smaller images, by `source`"
    # Rows of different lengths, laid one after the other.
    FLAT = "the elements of all rows, one row after the other"
    COORDINATES = "the places of these elements: row and place in the row"
    ROW_IDS = "the row that each of these elements belongs to"
    COUNTS = "how many of these elements each row has"
    ENDS = "where each row ends among these elements"
    SPLITS = "the same, with the 0 at which the first row begins"
    # These are not tensors.
    LIST = "tensors, by their number"
    HANDLE = "a variable or a table"


@dataclass(frozen=True)
class Reason:
    """Why a tensor is mixed, or may be; the fields are those of `SignatureFacts`."""

    operation: str
    node: str
    reason: str
    certain: bool


@dataclass(frozen=True)
class Value:
    """An abstract tensor.

    Attributes:
        shape: None where not even the number of dimensions is known.
        axis: of `Kind.ROWS`, the one along which the rows lie, each of `shape[axis] / rows`.
        content: the elements, in order, of a small tensor of whole numbers; None for each that is
            not known.
        floor: of a mixed number, a lower bound.
        source: what rows of different lengths came from: those of one source fit together.
        offset: of `Kind.POSITION`.
        inner: of a handle, what reading gives; of a list, its elements (None: there are none yet).
        along_rows: of a list, that element i is of row i.
        length: of a list.
        reason: of `Kind.MIXED`.
    """

    kind: Kind
    shape: Shape | None = None
    axis: int = 0
    content: tuple[Dimension | None, ...] | None = None
    floor: Dimension | None = None
    source: str = ""
    offset: int = 0
    inner: Value | None = None
    along_rows: bool = False
    length: Dimension | None = None
    reason: Reason | None = None

    @property
    def rank(self) -> int | None:
        """How many dimensions; None where that is not known."""
        return None if self.shape is None else len(self.shape)

    @property
    def is_free(self) -> bool:
        """Whether it is made of nothing of the request."""
        return self.kind in (Kind.FREE, Kind.HANDLE)

    @property
    def sizes(self) -> Shape | None:
        """The elements, where all of them are known, be it by symbols."""
        if self.content is None or None in self.content:
            return None
        return tuple(d for d in self.content if d is not None)

    @property
    def whole_numbers(self) -> tuple[int, ...] | None:
        """The elements, where all of them are known numbers."""
        sizes = self.sizes
        if sizes is None or any(size.symbols for size in sizes):
            return None
        return tuple(size.number for size in sizes)

    @property
    def first(self) -> Dimension | None:
        """The first element, such as the only one of a scalar; None where it is not known."""
        return self.content[0] if self.content else None

    @property
    def row_count(self) -> Dimension | None:
        """The size along the axis of the rows; None where the shape is not known."""
        return None if self.shape is None else self.shape[self.axis]


def free(shape: Shape | None = None) -> Value:
    """A tensor that is made of nothing of the request."""
    return Value(Kind.FREE, shape)


def rows(shape: Shape | None, axis: int) -> Value:
    """A tensor of rows along `axis`."""
    return Value(Kind.ROWS, shape, axis)


def as_unknown(inputs: Iterable[Value], shape: Shape | None) -> Value | None:
    """A tensor computed from `inputs` that are not of the request; None if one of them is."""
    kinds = {value.kind for value in inputs} - {Kind.FREE, Kind.HANDLE}
    if kinds - {Kind.SIZED}:
        return None
    return Value(Kind.SIZED if kinds else Kind.FREE, shape)


def numbers(content: Iterable[Dimension | None], shape: Shape, kind: Kind = Kind.FREE) -> Value:
    """A small tensor of integers. `kind` is that of the tensor they come from, and applies to the
    unknown ones."""
    elements = tuple(content)
    sized = any(d.has_rows if d is not None else kind is Kind.SIZED for d in elements)
    return Value(Kind.SIZED if sized else Kind.FREE, shape, content=elements)


def vector(content: Sequence[Dimension | None], kind: Kind = Kind.FREE) -> Value:
    """The same with one dimension."""
    return numbers(content, (Dimension(len(content)),), kind)


def request_rows(dimensions: Iterable[int] | None) -> Value:
    """An input of a signature, whose first dimension (-1) is the batch's."""
    if dimensions is None:
        return Value(Kind.ROWS, None)
    rest = list(dimensions)[1:]
    shape = (ROWS, *(unknown() if d < 0 else Dimension(d) for d in rest))
    return rows(shape, 0)


def marks(value: Value) -> set[str]:
    """The symbols and sources in a value, which stand for unknown sizes."""
    found = {value.source} if value.source else set()
    for dimension in (*(value.shape or ()), *(value.content or ()), value.length, value.floor):
        if dimension is not None:
            found.update(dimension.symbols)
    if value.inner is not None:
        found |= marks(value.inner)
    return found


def join(one: Value | None, other: Value | None) -> Value | None:
    """The value of a tensor that is one or the other; None if no value describes both."""
    if one is None or other is None:
        return None
    if one == other or one.kind is Kind.MIXED:
        return one
    if other.kind is Kind.MIXED:
        return other
    if one.kind is other.kind is Kind.LIST:
        return _join_lists(one, other)
    kinds = {one.kind, other.kind}
    shape = _join_shapes(one.shape, other.shape)
    for kind in (Kind.SIZED, Kind.ROW):
        if kinds == {Kind.FREE, kind}:
            return Value(kind, shape)
    same = one.source == other.source and one.offset == other.offset and one.inner == other.inner
    if len(kinds) > 1 or not same:
        return None
    if one.kind is Kind.ROWS:
        if one.axis != other.axis or shape is None or not shape[one.axis].has_rows:
            return None
        return rows(shape, one.axis)
    content = one.content if one.content == other.content else None
    return replace(one, shape=shape, content=content, floor=None)


def _join_lists(one: Value, other: Value) -> Value | None:
    if one.along_rows != other.along_rows or one.length != other.length:
        return None
    if one.inner is None or other.inner is None:
        return replace(one, inner=one.inner or other.inner)
    inner = join(one.inner, other.inner)
    return None if inner is None else replace(one, inner=inner)


def _join_shapes(one: Shape | None, other: Shape | None) -> Shape | None:
    if one is None or other is None or len(one) != len(other):
        return None
    return tuple(a if a == b else unknown() for a, b in zip(one, other, strict=True))
