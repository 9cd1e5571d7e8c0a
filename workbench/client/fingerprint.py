"""Whether a model is the one that is served already: digests, and a record of them.

A version's digest is kept in the server's own folder when the version is written. A version that
somebody else has put there has none, and is looked at itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from workbench.client.saving import signature_functions
from workbench.runtime import paths

_RECORD = "published.json"
_PIECE_BYTES = 1 << 20


def fingerprint(model: Any) -> str:
    """A digest that changes when a model does: its kind, structure, weights and, where it is a
    `tf.Module`, its graphs; of a SavedModel's path, the names and contents of its files.

    Reads all of a model: a second for each gigabyte, about.
    """
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(model, (str, os.PathLike)):
        for piece in _contents(Path(model).expanduser().resolve()):
            digest.update(piece)
        return digest.hexdigest()
    digest.update(type(model).__qualname__.encode())
    if hasattr(model, "to_json"):
        with contextlib.suppress(Exception):
            digest.update(model.to_json().encode())
    for variable in getattr(model, "variables", ()):
        digest.update(str(variable.name).encode())
        digest.update(memoryview(variable.numpy()).cast("B"))
    for piece in _graphs(model):
        digest.update(piece)
    return digest.hexdigest()


def _contents(folder: Path) -> Iterator[bytes]:
    """Links are followed, as a copy follows them: what they lead to belongs to the model."""
    files = (
        Path(where, name) for where, _, names in os.walk(folder, followlinks=True) for name in names
    )
    for path in sorted(files):
        if path.is_file():
            size = path.stat().st_size
            yield f"{path.relative_to(folder).as_posix()}\0{size}\0".encode()
            with path.open("rb") as file:
                while piece := file.read(_PIECE_BYTES):
                    yield piece


def _graphs(model: Any) -> Iterator[bytes]:
    """What a module computes: two may have the same variables, or none."""
    tf, keras = sys.modules.get("tensorflow"), sys.modules.get("keras")
    if tf is None or not isinstance(model, tf.Module):
        return
    if keras is not None and isinstance(model, keras.Model):
        return
    for name, function in sorted(signature_functions(tf, model).items()):
        graph = function.get_concrete_function().graph.as_graph_def()
        yield name.encode() + graph.SerializeToString(deterministic=True)


def remember(folder: str, model: str, version: int, path: Path, digest: str) -> None:
    """Record that `path`, a version of the model, was made from what has that digest.

    Where the disk is full, the version's files tell what it is.

    Args:
        folder: the server's.
    """
    record = _read(folder)
    record[f"{model}/{version}"] = [_stamp(path), digest]
    with contextlib.suppress(OSError):
        paths.write_private(Path(folder) / _RECORD, orjson.dumps(record))


def of_version(folder: str, model: str, version: int, path: Path) -> str:
    """The digest of what a version was made from; without a record that fits, of its files."""
    stamp, digest = _read(folder).get(f"{model}/{version}", (None, ""))
    return digest if stamp == _stamp(path) else fingerprint(path)


def _read(folder: str) -> dict[str, Any]:
    try:
        record: dict[str, Any] = orjson.loads((Path(folder) / _RECORD).read_bytes())
    except (OSError, ValueError):
        return {}
    return record


def _stamp(path: Path) -> list[int]:
    """Tells a version folder from another that was put in its place; moving it changes nothing."""
    for name in ("saved_model.pb", "saved_model.pbtxt"):
        with contextlib.suppress(OSError):
            stat = (path / name).stat()
            return [stat.st_ino, stat.st_size, stat.st_mtime_ns]
    return []
