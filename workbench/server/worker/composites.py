"""Signatures with ragged and sparse tensors as signatures of the plain tensors they are made of.

A `SignatureDef` may describe an input or output as one composite of several tensors: a
`RaggedTensor` is its values and the row splits, a `SparseTensor` is indices, values and shape. A
session feeds and fetches plain tensors only. Here each composite `r` becomes the tensors
``r/flat_values``, ``r/row_splits_0`` ... (or ``r/indices``, ``r/values``, ``r/dense_shape``), so
that the rest of the server sees only plain tensors, each with its own name.
"""

from __future__ import annotations

from typing import Any

_INT64 = 9  # types.proto
_SPARSE = ("indices", "values", "dense_shape")


def flattened(definition: Any) -> Any:
    """A copy of a `SignatureDef` in which composites are replaced by their plain tensors."""
    flat = type(definition).FromString(definition.SerializeToString())
    for tensors in (flat.inputs, flat.outputs):
        for alias in list(tensors):
            parts = _parts(tensors[alias])
            if parts is not None:
                del tensors[alias]
                for name, info in parts.items():
                    tensors[f"{alias}/{name}"].CopyFrom(info)
    return flat


def _parts(info: Any) -> dict[str, Any] | None:
    """The tensors that a composite is made of, by name; None for a plain tensor."""
    encoding = info.WhichOneof("encoding")
    if encoding == "composite_tensor":
        composite = info.composite_tensor
        names = component_names(composite.type_spec.type_spec_class_name, len(composite.components))
        return dict(zip(names, composite.components, strict=True))
    if encoding == "coo_sparse":
        sparse, shape = info.coo_sparse, info.tensor_shape
        rank = -1 if shape.unknown_rank else len(shape.dim)
        return {
            "indices": _tensor(info, sparse.indices_tensor_name, _INT64, (-1, rank)),
            "values": _tensor(info, sparse.values_tensor_name, info.dtype, (-1,)),
            "dense_shape": _tensor(info, sparse.dense_shape_tensor_name, _INT64, (rank,)),
        }
    return None


def component_names(type_spec: str, count: int) -> list[str]:
    """The components in the order in which TensorFlow flattens a composite of that type."""
    if type_spec == "RaggedTensorSpec":
        return ["flat_values", *(f"row_splits_{i}" for i in range(count - 1))]
    if type_spec == "SparseTensorSpec" and count == len(_SPARSE):
        return list(_SPARSE)
    return [f"component_{i}" for i in range(count)]


def _tensor(like: Any, name: str, dtype: int, shape: tuple[int, ...]) -> Any:
    info = type(like)(name=name, dtype=dtype)
    for size in shape:
        info.tensor_shape.dim.add(size=size)
    return info
