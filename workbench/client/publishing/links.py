"""Paths as their user wrote them: links in them are kept, because they may be swapped later."""

from __future__ import annotations

import os
from pathlib import Path


def as_written(path: str | os.PathLike[str]) -> Path:
    """The absolute path, with its links kept.

    The part before a ``..`` is resolved: the parent of a link is not the parent of its target.
    """
    whole = Path(path).expanduser().absolute()
    parts = whole.parts
    if ".." not in parts:
        return whole
    after = len(parts) - parts[::-1].index("..")
    return Path(*parts[:after]).resolve().joinpath(*parts[after:])


def is_same_folder(one: Path, other: Path) -> bool:
    """Whether two paths lead to the same folder now; False if one does not exist."""
    try:
        return one == other or os.path.samefile(one, other)
    except OSError:
        return False
