"""Operations along some axes, such as reductions. Rows stay apart if theirs is not among them."""

from __future__ import annotations

from workbench.server.worker.rows.dimensions import ONE, ROWS, product
from workbench.server.worker.rows.rules.rule_book import known, need, row_shape, rule
from workbench.server.worker.rows.values import Kind, Value, as_unknown, numbers, rows
from workbench.server.worker.rows.walk import Operation

# By the number of the last axes that they work on: vectors, matrices, cubes.
_ON_LAST_AXES = {
    1: "FFT IFFT RFFT IRFFT MatrixDiag MatrixDiagV3",
    2: "MatrixInverse Cholesky MatrixDeterminant LogMatrixDeterminant Qr Svd SelfAdjointEigV2 Eig "
    "MatrixBandPart MatrixDiagPart MatrixDiagPartV3 MatrixSetDiag MatrixSetDiagV3 "
    "MatrixExponential MatrixLogarithm MatrixSquareRoot FFT2D IFFT2D RFFT2D IRFFT2D",
    3: "FFT3D IFFT3D RFFT3D IRFFT3D",
}
_LAST_AXES = {name: axes for axes, names in _ON_LAST_AXES.items() for name in names.split()}


@rule("Sum Mean Max Min Prod All Any EuclideanNorm ReduceJoin ArgMax ArgMin", content=True)
def reduce(operation: Operation) -> Value:
    """Rows stay apart unless an axis that is reduced is theirs."""
    value, over = operation.inputs[:2]
    unknown = as_unknown(operation.inputs, operation.shape())
    if unknown is not None:
        return _of_numbers(operation, value, over) or unknown
    why = "the axes that it reduces are not known"
    shape = row_shape(value, why)
    reduced = {axis % len(shape) for axis in known(over.whole_numbers, why)}
    if value.axis in reduced:
        return operation.mixes("it reduces along the batch")
    if operation.attribute("keep_dims", False):
        return rows(tuple(ONE if at in reduced else d for at, d in enumerate(shape)), value.axis)
    left = tuple(d for at, d in enumerate(shape) if at not in reduced)
    return rows(left, value.axis - sum(axis < value.axis for axis in reduced))


def _of_numbers(operation: Operation, value: Value, over: Value) -> Value | None:
    """The result for a vector of sizes, where all of it is reduced to one number."""
    whole = value.rank == 1 and over.whole_numbers in ((0,), (-1,))
    if not whole or value.content is None or operation.attribute("keep_dims", False):
        return None
    if operation.name == "Prod" and value.sizes is not None:
        return numbers([product(value.sizes)], (), value.kind)
    if operation.name in ("Sum", "Max", "Min") and len(value.content) == 1:
        return numbers(value.content, (), value.kind)
    return None


@rule("Softmax LogSoftmax TopK TopKV2 NthElement")
def along_the_last(operation: Operation) -> Value:
    """Rows stay apart unless theirs is the last axis; another input says how many are taken."""
    value, *others = operation.inputs
    need(all(v.is_free for v in others), "how many elements it takes depends on the request")
    shape = row_shape(value)
    if value.axis == len(shape) - 1:
        return operation.mixes("it works along the batch")
    if operation.name in ("Softmax", "LogSoftmax"):
        return rows(shape, value.axis)
    if operation.name == "NthElement":
        return rows(shape[:-1], value.axis)
    count = (others[0].first if others else None) or operation.saved(-1)
    last = known(count, "how many elements it takes is not known")
    return rows((*shape[:-1], last), value.axis)


@rule("Cumsum Cumprod CumulativeLogsumexp ReverseV2 Roll")
def along_axes(operation: Operation) -> Value:
    """Rows stay apart unless the operation runs along their axis."""
    value, *others = operation.inputs
    odd = operation.attribute("exclusive", False) or operation.attribute("reverse", False)
    if operation.name == "Cumsum" and value.kind is Kind.COUNTS and not odd:
        return Value(Kind.ENDS, value.shape, source=value.source)
    why = "the axes that it works along are not known"
    shape = row_shape(value, why)
    axes = known(others[-1].whole_numbers, why)
    need(all(v.is_free for v in others), "one of its parameters depends on the request")
    if value.axis in {axis % len(shape) for axis in axes}:
        return operation.mixes("it works along the batch")
    return rows(shape, value.axis)


@rule(" ".join(_LAST_AXES))
def on_last_axes(operation: Operation) -> Value | list[Value]:
    """On the vectors, matrices or cubes of the last axes."""
    value, *others = operation.inputs
    need(all(v.is_free for v in others), "several of its inputs come from the request")
    if value.axis >= len(row_shape(value)) - _LAST_AXES[operation.name]:
        return operation.mixes("it works along the batch")
    need(value.axis == 0, "the batch is not the first dimension of its input")
    return [operation.image_of(value, at) for at in range(operation.outputs())]


@rule("Bincount DenseBincount")
def count(operation: Operation) -> Value:
    """In a matrix, each row is counted by itself."""
    value, size, weights = operation.inputs
    if value.kind is Kind.ROW_IDS and size.first == ROWS and weights.is_free:
        return Value(Kind.COUNTS, operation.shape(), source=value.source)
    shape = row_shape(value)
    need(size.is_free, "how many values it counts depends on the request")
    if len(shape) != 2 or value.axis != 0 or operation.name == "Bincount":
        return operation.mixes("it counts all rows together")
    rows_own = weights.kind is Kind.ROWS and weights.axis == 0
    need(weights.is_free or rows_own, "its weights do not belong to the rows")
    return operation.image_of(value)
