"""`assets.extra/workbench.json`: what a version records besides its SavedModel.

The client writes it when it saves a version, and the worker reads it before it loads the graph. It
is copied with the folder; TensorFlow Serving ignores it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from workbench.core.model_settings import is_package_name
from workbench.core.status import ServingError, invalid_argument

_FORMAT = 1
_MOST_BYTES = 2**20


@dataclass(frozen=True)
class VersionRecord:
    """
    Attributes:
        columns: the original names of inputs that are served under another name, by that name.
        packages: Python packages whose TensorFlow operations the graph needs; each is imported
            before the graph is read.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Write the record into a version's folder; an empty record needs no file."""
        if self.columns or self.packages:
            file = record_file(folder)
            file.parent.mkdir(exist_ok=True)
            data = {"format": _FORMAT, "columns": self.columns, "packages": self.packages}
            file.write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2))


def record_file(folder: Path) -> Path:
    """Where the record of the version in `folder` lies, whether or not there is one."""
    return folder / "assets.extra" / "workbench.json"


def read_record(folder: Path) -> VersionRecord:
    """The record of a version; an empty one where there is no file.

    Raises:
        ServingError: INVALID_ARGUMENT, the file is damaged, or of a later format.
    """
    file = record_file(folder)
    try:
        with file.open("rb") as opened:
            data = opened.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return VersionRecord()
    try:
        record = orjson.loads(data if len(data) <= _MOST_BYTES else b"")
    except ValueError:
        raise _damaged(file, "it is not JSON of at most 1 MiB") from None
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        raise _damaged(file, f"it is not an object with format {_FORMAT}")
    columns, packages = record.get("columns", {}), record.get("packages", [])
    if not isinstance(columns, dict) or not all(isinstance(v, str) for v in columns.values()):
        raise _damaged(file, "its columns do not map names to names")
    if not isinstance(packages, list) or not all(is_package_name(name) for name in packages):
        raise _damaged(file, "its packages are not a list of importable package names")
    return VersionRecord(columns, tuple(packages))


def _damaged(file: Path, why: str) -> ServingError:
    return invalid_argument(
        f"{file} cannot be read: {why}; remove the file, or publish the model again"
    )
