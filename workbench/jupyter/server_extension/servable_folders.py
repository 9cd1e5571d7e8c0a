"""Decides which folders may be served: those in the user's files, and foreign ones only if the user
trusts them.

A SavedModel is a program. The browser names folders relative to the contents root. Links are
followed before the check that a folder lies inside it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from workbench.client.models.servable import is_saved_model
from workbench.client.publishing.links import as_written
from workbench.client.publishing.saving import version_folders
from workbench.core.status import (
    Code,
    ServingError,
    failed_precondition,
    invalid_argument,
    not_found,
)
from workbench.jupyter.server_extension.route_answers import Folder
from workbench.processes import paths

# A folder of models has few files. The owners of more files than these are not checked.
_MOST_FILES = 10_000


def resolve(path: Any, root: str | None, others: Iterable[str] = ()) -> Path:
    """The folder that the browser names.

    Args:
        path: relative to `root`, or absolute.
        root: the folder of the user's files; None if they are not on a disk of this machine.
        others: further folders whose models may be served.

    Raises:
        ServingError: INVALID_ARGUMENT, it is not a path; NOT_FOUND, there is no such folder;
            PERMISSION_DENIED, it lies outside of those folders.
    """
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise invalid_argument(f"'path' must name a folder; was {str(path)[:80]!r}")
    if root is None:
        raise failed_precondition(
            "The files of this Jupyter Server are not in a folder of this machine, so no model "
            "among them can be served from here"
        )
    # The browser's paths begin with a slash or without; a folder of this machine is named whole.
    allowed = [Path(each).expanduser().resolve() for each in (root, *others)]
    named = Path(path.strip()).expanduser()
    beneath = as_written(Path(root) / path.strip().lstrip("/"))
    named = as_written(named) if named.is_absolute() and not beneath.exists() else beneath
    found = named.resolve()
    if not any(found == folder or folder in found.parents for folder in allowed):
        raise ServingError(
            Code.PERMISSION_DENIED,
            f"{path} lies outside the folder that this Jupyter Server shows ({allowed[0]}); name "
            "another one in WorkbenchExtension.model_folders to serve models from there",
        )
    if not found.is_dir():
        raise not_found(f"There is no folder {path}")
    # Not the target of its links: a server follows them when they are swapped.
    return named


def look(folder: Path) -> Folder:
    """Describe the contents of a folder."""
    versions: list[int] = []
    kind: Literal["saved_model", "versions"] | None = None
    if is_saved_model(folder):
        kind = "saved_model"
    else:
        inside = version_folders(folder)
        versions = sorted(v for v, path in inside.items() if is_saved_model(path))
        kind = "versions" if versions else None
    return {
        "kind": kind,
        "name": _name(folder),
        "versions": versions,
        "foreign": None if kind is None else foreign(folder),
    }


def _name(folder: Path) -> str:
    """A server's name from the folder's name, or from its parent's if that is a number."""
    name = folder.parent.name if folder.name.isdigit() else folder.name
    return paths.clean_name(name) or "model"


def foreign(folder: Path) -> str | None:
    """Why a folder's contents may not be the user's own work; None if they are."""
    me = os.getuid()
    seen = 0
    for where, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            path = os.path.join(where, name)
            about = os.lstat(path)
            shown = os.path.normpath(path)
            if about.st_uid != me:
                return f"{shown} belongs to another user"
            # The mode of a link means nothing.
            if not stat.S_ISLNK(about.st_mode) and about.st_mode & stat.S_IWOTH:
                return f"{shown} can be written to by every user of this machine"
            seen += 1
        if seen > _MOST_FILES:
            return f"{folder} holds more than {_MOST_FILES} files"
    return None


def check_trusted(folder: Path, trusted: Any) -> None:
    """Refuse a folder that is not the user's own, unless the user trusts it.

    Raises:
        ServingError: FAILED_PRECONDITION, with the reason and the cure.
    """
    if trusted is True:
        return
    why = foreign(folder)
    if why is not None:
        raise failed_precondition(
            f"{why}. A SavedModel is a program that would run as you: if you trust its origin, "
            "serve it with 'trusted'"
        )
