"""Digests of models, and a record of them, which show whether a model is served already.

The digest of a version is kept in the server's own folder when the version is written. For a
version that another program wrote, the digest of its files is used. The record also has all numbers
that were ever used: a number is not used for other contents, even if its folder was removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from workbench.client.models import captures
from workbench.client.models.endpoints import Endpoint
from workbench.client.models.graph_form import graph_form
from workbench.processes import paths

if TYPE_CHECKING:
    import numpy as np

_RECORD = "published.json"
_PIECE_BYTES = 1 << 20

Piece: TypeAlias = "bytes | memoryview"


def of_path(path: Path) -> str:
    """The digest of a file's contents, or of the names and contents of a folder's files."""
    return _digest(_contents(path))


def of_endpoints(tf: Any, kind: str, endpoints: Sequence[Endpoint]) -> str:
    """The digest of functions: of their graphs and of the values that these use.

    Reads all variables of a model, which takes about a second for each gigabyte.
    """

    def pieces() -> Iterator[Piece]:
        yield kind.encode()
        for endpoint in endpoints:
            yield repr((endpoint.names, endpoint.concrete.structured_input_signature)).encode()
            yield repr(tf.nest.map_structure(_spec, endpoint.concrete.structured_outputs)).encode()
            yield from graph_form(endpoint.concrete.graph.as_graph_def())
            for value in captures.values(tf, endpoint):
                yield from array_bytes(value)

    return _digest(pieces())


def of_keras(model: Any) -> str:
    """The digest of a Keras model by its configuration and its variables."""

    def pieces() -> Iterator[Piece]:
        yield type(model).__qualname__.encode()
        # A subclassed model need not have a configuration.
        with contextlib.suppress(Exception):
            yield model.to_json().encode()
        for variable in model.variables:
            yield from array_bytes(variable.numpy())

    return _digest(pieces())


def array_bytes(value: Any) -> Iterator[Piece]:
    """The dtype, shape and contents of an array of any dtype, including TensorFlow's own."""
    import numpy as np

    array: np.ndarray = np.asarray(value)
    yield f"{array.dtype}{array.shape}".encode()
    if array.dtype == object:
        yield repr(array.tolist()).encode()
    elif array.size:
        yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _spec(output: Any) -> Any:
    return getattr(output, "dtype", None), str(getattr(output, "shape", None))


def _digest(pieces: Iterable[Piece]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder, followlinks=True):
        yield from (Path(where, name) for name in names)


def _contents(path: Path) -> Iterator[bytes]:
    """The names and contents of files. Links are followed, as in a copy of the model."""
    for file in [path] if path.is_file() else sorted(_files(path)):
        if file.is_file():
            name = file.relative_to(path).as_posix()
            yield f"{name}\0{file.stat().st_size}\0".encode()
            with file.open("rb") as opened:
                while piece := opened.read(_PIECE_BYTES):
                    yield piece


def remember(folder: str, model: str, version: int, path: Path, digest: str) -> None:
    """Record the digest of the model that `path`, a version of it, was made from.

    If the record cannot be written, the version is compared by its files later.

    Args:
        folder: the server's.
    """
    record = _read(folder)
    record[f"{model}/{version}"] = [_stamp(path), digest]
    with contextlib.suppress(OSError):
        paths.write_private(Path(folder) / _RECORD, orjson.dumps(record))


def of_version(folder: str, model: str, version: int, path: Path) -> str:
    """The recorded digest of a version; without a valid record, that of its files."""
    stamp, digest = _read(folder).get(f"{model}/{version}", (None, ""))
    return digest if digest and stamp == _stamp(path) else of_path(path)


def numbers(folder: str, model: str) -> list[int]:
    """All version numbers that were ever published to the server with that folder."""
    found = []
    for key in _read(folder):
        name, _, version = key.rpartition("/")
        if name == model and version.isdecimal():
            found.append(int(version))
    return found


def _read(folder: str) -> dict[str, Any]:
    try:
        record: dict[str, Any] = orjson.loads((Path(folder) / _RECORD).read_bytes())
    except (OSError, ValueError):
        return {}
    return record


def _stamp(path: Path) -> list[int]:
    """A mark that differs if another folder takes a version's place, but not if it is moved."""
    for name in ("saved_model.pb", "saved_model.pbtxt"):
        with contextlib.suppress(OSError):
            stat = (path / name).stat()
            return [stat.st_ino, stat.st_size, stat.st_mtime_ns]
    return []
