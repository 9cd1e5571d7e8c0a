"""Operations along some axes, such as reductions. Rows stay apart if theirs is not among them."""

from __future__ import annotations

from workbench.server.worker.rows.dimensions import ONE, ROWS, Dimension, product
from workbench.server.worker.rows.rules.rule_book import rule
from workbench.server.worker.rows.values import Kind, Value, as_unknown, numbers, rows
from workbench.server.worker.rows.walk import Operation


@rule(
    "Sum Mean Max Min Prod All Any EuclideanNorm ReduceJoin ArgMax ArgMin",
    content=True,
)
def reduce(operation: Operation) -> Value:
    """Rows stay apart unless an axis that is reduced is theirs."""
    value, over = operation.inputs[:2]
    if value.is_free and over.is_free and value.content is None:
        return operation.free()
    unknown = as_unknown(operation.inputs, operation.shape())
    if unknown is not None:
        return _of_numbers(operation, value, over) or unknown
    axes = over.whole_numbers
    if value.kind is not Kind.ROWS or value.shape is None or axes is None:
        return operation.unproven("the axes that it reduces are not known")
    rank = len(value.shape)
    reduced = {axis % rank for axis in axes}
    if value.axis in reduced:
        return operation.mixes("it reduces along the batch")
    if operation.attribute("keep_dims", False):
        shape = tuple(ONE if at in reduced else d for at, d in enumerate(value.shape))
        return rows(shape, value.axis)
    shape = tuple(d for at, d in enumerate(value.shape) if at not in reduced)
    return rows(shape, value.axis - sum(axis < value.axis for axis in reduced))


def _of_numbers(operation: Operation, value: Value, over: Value) -> Value | None:
    """Of a vector of sizes, where all of it is reduced to one number."""
    whole = value.rank == 1 and over.whole_numbers in ((0,), (-1,))
    if not whole or value.content is None or operation.attribute("keep_dims", False):
        return None
    if operation.name == "Prod" and None not in value.content:
        return numbers([product(d for d in value.content if d is not None)], (), value.kind)
    if operation.name in ("Sum", "Max", "Min") and len(value.content) == 1:
        return numbers(value.content, (), value.kind)
    return None


@rule("Softmax LogSoftmax TopK TopKV2 NthElement")
def along_the_last(operation: Operation) -> Value:
    """Rows stay apart unless theirs is the last axis; another input says how many are taken."""
    value = operation.inputs[0]
    if not all(other.is_free for other in operation.inputs[1:]):
        return operation.unproven("how much it takes depends on the request")
    if value.kind is not Kind.ROWS or value.shape is None:
        return operation.unproven("the shape of its input is not known")
    if value.axis == len(value.shape) - 1:
        return operation.mixes("it works along the batch")
    if operation.name in ("Softmax", "LogSoftmax"):
        return rows(value.shape, value.axis)
    count = operation.inputs[1].content if len(operation.inputs) > 1 else None
    last = count[0] if count else None
    declared = operation.declared()
    if last is None and declared is not None and declared[-1] >= 0:
        last = Dimension(declared[-1])
    if operation.name == "NthElement":
        return rows(value.shape[:-1], value.axis)
    if last is None:
        return operation.unproven("how many elements it takes is not known")
    return rows((*value.shape[:-1], last), value.axis)


@rule("Cumsum Cumprod CumulativeLogsumexp ReverseV2 Roll")
def along_axes(operation: Operation) -> Value:
    """Rows stay apart unless the operation runs along their axis."""
    value, where = operation.inputs[0], operation.inputs[-1]
    odd = operation.attribute("exclusive", False) or operation.attribute("reverse", False)
    if operation.name == "Cumsum" and value.kind is Kind.COUNTS and not odd:
        return Value(Kind.ENDS, value.shape, source=value.source)
    axes = where.whole_numbers
    if value.kind is not Kind.ROWS or value.shape is None or axes is None:
        return operation.unproven("the axes that it works along are not known")
    if not all(other.is_free for other in operation.inputs[1:]):
        return operation.unproven("how far it goes depends on the request")
    if value.axis in {axis % len(value.shape) for axis in axes}:
        return operation.mixes("it works along the batch")
    return rows(value.shape, value.axis)


@rule(
    "MatrixInverse Cholesky MatrixDeterminant LogMatrixDeterminant Qr Svd SelfAdjointEigV2 Eig "
    "MatrixBandPart MatrixDiagPart MatrixDiagPartV3 MatrixSetDiag MatrixSetDiagV3 "
    "MatrixExponential MatrixLogarithm MatrixSquareRoot FFT2D IFFT2D RFFT2D IRFFT2D"
)
def on_matrices(operation: Operation) -> Value | list[Value]:
    """On the matrices of the last two axes."""
    return _inner(operation, 2)


@rule("FFT IFFT RFFT IRFFT MatrixDiag MatrixDiagV3")
def on_vectors(operation: Operation) -> Value | list[Value]:
    """On the vectors of the last axis."""
    return _inner(operation, 1)


@rule("FFT3D IFFT3D RFFT3D IRFFT3D")
def on_cubes(operation: Operation) -> Value | list[Value]:
    """On the cubes of the last three axes."""
    return _inner(operation, 3)


def _inner(operation: Operation, inner: int) -> Value | list[Value]:
    value = operation.inputs[0]
    if not all(other.is_free for other in operation.inputs[1:]):
        return operation.unproven("it works on two tensors of the request")
    if value.kind is not Kind.ROWS or value.shape is None:
        return operation.unproven("the shape of its input is not known")
    if value.axis >= len(value.shape) - inner:
        return operation.mixes("it works on the batch as a matrix")
    if value.axis != 0:
        return operation.unproven("the batch is not its first dimension")
    return [operation.image_of(value, at) for at in range(operation.outputs())]


@rule("Bincount DenseBincount")
def count(operation: Operation) -> Value:
    """In a matrix, each row is counted by itself."""
    value, size, weights = operation.inputs
    if value.kind is Kind.ROW_IDS and size.content is not None and weights.is_free:
        counted = size.content[0]
        if counted == ROWS:
            return Value(Kind.COUNTS, operation.shape(), source=value.source)
    if value.kind is not Kind.ROWS or value.shape is None or not size.is_free:
        return operation.unproven("how much it counts is not known")
    if len(value.shape) != 2 or value.axis != 0 or operation.name == "Bincount":
        return operation.mixes("it counts all rows together")
    if not weights.is_free and (weights.kind is not Kind.ROWS or weights.axis != 0):
        return operation.unproven("its weights are not those of the rows")
    return operation.image_of(value)
