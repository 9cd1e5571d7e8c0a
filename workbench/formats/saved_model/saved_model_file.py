"""Reads the outline of `saved_model.pb`: whether the file is complete, and which others it needs.

A protocol buffer is a run of fields, each with its length before it. Walking from field to field
shows where a file that is still being copied breaks off. A few fields name the other files of the
SavedModel. This needs neither TensorFlow nor reading the graph.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from workbench.formats.wire.protobuf import TruncatedMessage, read_varint

GRAPH_FILES = ("saved_model.pb", "saved_model.pbtxt")
"""A version has one of these in its folder."""
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
"""Requests that a version answers before it becomes available, as TensorFlow Serving has it."""

# Numbers of fields in `saved_model.proto` and `meta_graph.proto`.
_META_GRAPHS = 2
_SAVER_DEF, _ASSET_FILE_DEF = 3, 6
_ASSET_FILENAME = 2
_HEAD_BYTES = 20
"""A tag and a length are two variable-length integers of at most ten bytes each."""


class TruncatedFile(ValueError):
    """The file ends within its last field."""


class NotSavedModel(ValueError):
    """The file is not a SavedModel."""


@dataclass(frozen=True, slots=True)
class Outline:
    """What a SavedModel says of its other files.

    Attributes:
        has_variables: whether a checkpoint belongs to it.
        assets: the names of the files in its folder `assets`.
    """

    has_variables: bool
    assets: tuple[str, ...]


def read_outline(path: str) -> Outline:
    """Walk through a `saved_model.pb`.

    Raises:
        TruncatedFile: it is not all there yet.
        NotSavedModel: it is something else.
        OSError: it cannot be read.
    """
    has_variables, found_graph = False, False
    assets: list[str] = []
    with open(path, "rb") as file:
        for graph, start, end in _fields(file, 0, os.path.getsize(path)):
            if graph != _META_GRAPHS:
                continue
            found_graph = True
            for number, at, to in _fields(file, start, end):
                if number == _SAVER_DEF:
                    has_variables = True
                elif number == _ASSET_FILE_DEF:
                    for name, first, last in _fields(file, at, to):
                        if name == _ASSET_FILENAME:
                            file.seek(first)
                            assets.append(file.read(last - first).decode(errors="surrogateescape"))
    if not found_graph:
        raise TruncatedFile("it has no meta graph")
    return Outline(has_variables, tuple(assets))


def meta_graphs(path: str, numbers: Collection[int]) -> Iterator[dict[int, list[bytes]]]:
    """The contents of the fields `numbers` of each meta graph, without those of its other fields.

    Raises:
        TruncatedFile, NotSavedModel, OSError: as `read_outline`.
    """
    with open(path, "rb") as file:
        for graph, start, end in _fields(file, 0, os.path.getsize(path)):
            if graph != _META_GRAPHS:
                continue
            found: dict[int, list[bytes]] = {number: [] for number in numbers}
            for number, at, to in _fields(file, start, end):
                if number in found:
                    file.seek(at)
                    found[number].append(file.read(to - at))
            yield found


def _fields(file: BinaryIO, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The number of each field between `at` and `end`, and where its content lies."""
    while at < end:
        file.seek(at)
        head = file.read(min(_HEAD_BYTES, end - at))
        try:
            tag, used = read_varint(head, 0)
            if tag & 7 == 2:
                length, used = read_varint(head, used)
            elif tag & 7 == 0:
                length, (_, used) = 0, read_varint(head, used)
            else:
                raise NotSavedModel(f"field {tag >> 3} has the wire type {tag & 7}")
        except TruncatedMessage:
            raise TruncatedFile("it ends within a field's head") from None
        start, at = at + used, at + used + length
        if at > end:
            raise TruncatedFile("it ends within a field")
        yield tag >> 3, start, at
