"""Divides ragged and sparse values into the plain tensors that a signature takes for them.

`tf.saved_model.save` divides a `RaggedTensor` argument ``x`` into several inputs: ``x`` holds its
values, ``x_1``, ``x_2`` ... its row splits, the outermost first. It divides a `SparseTensor` into
``x`` (indices), ``x_1`` (values) and ``x_2`` (shape). If a TensorFlow 1 export describes such an
input as one, the server names its parts ``x/flat_values``, ``x/row_splits_0`` ..., or
``x/indices``, ``x/values``, ``x/dense_shape``.

Nothing is imported from TensorFlow or SciPy: their objects are recognised by their attributes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import count, takewhile
from typing import Any

from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import invalid_argument

Parts = Mapping[str, Any]
"""Values of plain inputs, by name."""


def composites(signature: Signature) -> dict[str, tuple[str, ...]]:
    """The inputs that together can be one ragged or sparse value, by the name of that value."""
    found: dict[str, tuple[str, ...]] = {}
    for name in signature.inputs:
        base, slash, part = name.rpartition("/")
        if slash and part == "flat_values":
            splits = _numbered(signature, f"{base}/row_splits_", 0)
            found[base] = (name, *splits)
        elif slash and part == "indices":
            parts = (name, f"{base}/values", f"{base}/dense_shape")
            if all(each in signature.inputs for each in parts):
                found[base] = parts
        else:
            more = _numbered(signature, f"{name}_", 1)
            if _is_sparse(signature, (name, *more)) or (
                more and all(_is_vector(signature.inputs[each]) for each in more)
            ):
                found[name] = (name, *more)
    return found


def parts_of(
    signature: Signature,
    parts: Sequence[str],
    value: Any,
    given: Collection[str],
    label: str,
) -> Parts | None:
    """The plain inputs that `value` becomes; None if it is a dense value of a plain input.

    Args:
        parts: the inputs of the composite that the caller has named; empty for a plain input.
        given: the inputs that the caller has given; these are not made from `value`.
        label: the name of the value in errors.

    Raises:
        ServingError: INVALID_ARGUMENT, the value is ragged or sparse and the input is dense.
    """
    if any(part in given for part in parts[1:]):
        parts = ()
    sparse = bool(parts) and _is_sparse(signature, parts)
    if _is_sparse_value(value):
        if sparse:
            return dict(zip(parts, _sparse_parts(value), strict=True))
        dense = "x.toarray()" if hasattr(value, "toarray") else "tf.sparse.to_dense(x)"
        raise invalid_argument(
            f"{label} takes a dense tensor, not a {type(value).__name__}: convert it with {dense}"
        )
    if _is_ragged_value(value):
        if parts and not sparse:
            return _ragged_parts(signature, parts, value)
        raise invalid_argument(
            f"{label} takes a dense tensor, not a {type(value).__name__}: fill its rows up with "
            ".to_tensor()"
        )
    if parts and not sparse and _is_nested(value, _depth(signature.inputs[parts[0]], parts)):
        return _from_rows(parts, value)
    if parts and "/" in parts[0]:
        kind = "SparseTensor" if sparse else "RaggedTensor"
        raise invalid_argument(f"{label} takes a tf.{kind}, not a {type(value).__name__}")
    return None


def _numbered(signature: Signature, prefix: str, start: int) -> tuple[str, ...]:
    names = (f"{prefix}{i}" for i in count(start))
    return tuple(takewhile(lambda name: name in signature.inputs, names))


def _is_vector(info: TensorInfo) -> bool:
    """Whether the input may be row splits."""
    return info.dtype in ("int32", "int64") and info.rank == 1


def _is_sparse(signature: Signature, parts: Sequence[str]) -> bool:
    if parts[0].endswith("/indices"):
        return True
    if len(parts) != 3:
        return False
    indices, values, shape = (signature.inputs[part] for part in parts)
    if not indices.dtype == shape.dtype == "int64" or not indices.shape or not shape.shape:
        return False
    ranks = (indices.rank, values.rank, shape.rank)
    return ranks == (2, 1, 1) and indices.shape[1] == shape.shape[0]


def _is_ragged_value(value: Any) -> bool:
    return hasattr(value, "flat_values") and hasattr(value, "nested_row_splits")


def _is_sparse_value(value: Any) -> bool:
    # TensorFlow's; SciPy's matrices and arrays.
    return hasattr(value, "dense_shape") or (hasattr(value, "tocoo") and hasattr(value, "nnz"))


def _sparse_parts(value: Any) -> tuple[Any, Any, Any]:
    if hasattr(value, "dense_shape"):
        return value.indices, value.values, value.dense_shape
    import numpy as np

    coordinates = value.tocoo()
    # TensorFlow wants them sorted by rows.
    order = np.lexsort((coordinates.col, coordinates.row))
    indices = np.stack([coordinates.row, coordinates.col], 1)[order]
    return indices.astype(np.int64), coordinates.data[order], np.array(value.shape, np.int64)


def _ragged_parts(signature: Signature, parts: Sequence[str], value: Any) -> Parts:
    splits = list(value.nested_row_splits)
    if len(splits) == len(parts) - 1:
        return dict(zip(parts, (value.flat_values, *splits), strict=True))
    # It has fewer ragged dimensions than the model takes: the others need splits as well.
    return _from_rows(parts, value.to_list())


def _depth(values: TensorInfo, parts: Sequence[str]) -> int:
    """The number of dimensions of a whole ragged value; its values are a vector by default."""
    return (1 if values.rank is None else values.rank) + len(parts) - 1


def _is_nested(value: Any, depth: int) -> bool:
    """Whether it is nested as deeply as the whole ragged value, not only as its values."""
    for _ in range(depth):
        if isinstance(value, str | bytes) or not hasattr(value, "__len__"):
            return False
        if len(value) == 0:
            return True
        # The first row that is not empty shows the depth.
        value = next((row for row in _rows(value) if not _is_empty(row)), _rows(value)[0])
    return True


def _from_rows(parts: Sequence[str], value: Any) -> Parts:
    """Nested rows of unequal lengths, flattened as TensorFlow does."""
    import numpy as np

    result: dict[str, Any] = {}
    rows = _rows(value)
    for part in parts[1:]:
        result[part] = np.cumsum([0, *map(len, rows)])
        rows = [each for row in rows for each in _rows(row)]
    return {parts[0]: rows, **result}


def _rows(value: Any) -> Sequence[Any]:
    # A series is a sequence by its labels, not by position.
    return value.tolist() if hasattr(value, "tolist") else list(value)


def _is_empty(row: Any) -> bool:
    return hasattr(row, "__len__") and len(row) == 0
