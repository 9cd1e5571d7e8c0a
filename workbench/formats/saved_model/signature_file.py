"""Reads the signatures of a SavedModel from its `saved_model.pb`, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from workbench.core.signature import INIT_SIGNATURE, Signature, TensorInfo
from workbench.formats.dtypes import BY_NUMBER
from workbench.formats.saved_model.saved_model_file import meta_graphs
from workbench.formats.wire.protobuf import MalformedMessage, fields, submessage, submessages

# Numbers of fields in `meta_graph.proto` and `tensor_shape.proto`.
_META_INFO, _SIGNATURES = 1, 5
_TAGS = 4
_KEY, _VALUE = 1, 2
_INPUTS, _OUTPUTS, _METHOD, _DEFAULTS = 1, 2, 3, 4
_NAME, _DTYPE, _SHAPE, _SPARSE, _COMPOSITE = 1, 2, 3, 4, 5
_DIM, _UNKNOWN_RANK = 2, 3
_SIZE = 1
_SIGN = 1 << 63


def read_signatures(folder: Path, tags: Sequence[str] = ("serve",)) -> dict[str, Signature] | None:
    """The signatures of a SavedModel by name, as the worker will report them to callers.

    Args:
        tags: of the meta graph to read.

    Returns:
        None where they cannot be told from the file alone: it is of another form, damaged, or its
        inputs or outputs are ragged or sparse.
    """
    try:
        for graph in meta_graphs(str(folder / "saved_model.pb"), (_META_INFO, _SIGNATURES)):
            info = b"".join(graph.get(_META_INFO, []))
            if {tag.decode() for tag in submessages(info, _TAGS)} == set(tags):
                named = _map(graph[_SIGNATURES])
                return {n: _signature(value) for n, value in named if n != INIT_SIGNATURE}
    except (OSError, ValueError, LookupError):
        # The server refuses what is damaged, with the reason.
        return None
    return None


def _map(entries: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    """The entries of a map from strings to messages."""
    for entry in entries:
        yield submessage(entry, _KEY).decode(), submessage(entry, _VALUE)


def _signature(message: bytes) -> Signature:
    return Signature(
        _tensors(message, _INPUTS),
        _tensors(message, _OUTPUTS),
        submessage(message, _METHOD).decode(),
        frozenset(name for name, _ in _map(list(submessages(message, _DEFAULTS)))),
    )


def _tensors(message: bytes, number: int) -> Mapping[str, TensorInfo]:
    return {name: _tensor(value) for name, value in _map(list(submessages(message, number)))}


def _tensor(message: bytes) -> TensorInfo:
    found = dict(fields(message))
    if found.keys() & {_SPARSE, _COMPOSITE}:
        raise ValueError("it is made of several tensors")
    dtype = BY_NUMBER[_number(found.get(_DTYPE, 0))]
    shape = _sizes(submessage(message, _SHAPE))
    return TensorInfo(dtype.name, shape, submessage(message, _NAME).decode())


def _sizes(shape: bytes) -> tuple[int, ...] | None:
    if dict(fields(shape)).get(_UNKNOWN_RANK):
        return None
    sizes = []
    for dim in submessages(shape, _DIM):
        size = _number(dict(fields(dim)).get(_SIZE, 0))
        sizes.append(size - (1 << 64) if size & _SIGN else size)
    return tuple(sizes)


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise MalformedMessage("a number is not a varint")
    return value
