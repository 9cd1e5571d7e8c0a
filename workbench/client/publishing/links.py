"""Paths as their user wrote them: a link in one may be swapped, and whoever follows it does so
anew."""

from __future__ import annotations

import os
from pathlib import Path


def as_written(path: str | os.PathLike[str]) -> Path:
    """The absolute path, with its links left as they are.

    What stands before a ``..`` is resolved: the folder above a link is another one than that above
    the folder it leads to.
    """
    whole = Path(path).expanduser().absolute()
    parts = whole.parts
    if ".." not in parts:
        return whole
    after = len(parts) - parts[::-1].index("..")
    return Path(*parts[:after]).resolve().joinpath(*parts[after:])


def is_same_folder(one: Path, other: Path) -> bool:
    """Whether two paths lead to the same folder now; not where one leads nowhere."""
    try:
        return one == other or os.path.samefile(one, other)
    except OSError:
        return False
