"""Paths that are none of this machine: addresses of stores, which look like paths."""

from __future__ import annotations

import os
import re

from workbench.core.status import invalid_argument

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")


def check_local(path: str | os.PathLike[str]) -> None:
    """Refuse the address of a store that is not a folder of this machine.

    Raises:
        ServingError: INVALID_ARGUMENT, with what to do instead.
    """
    scheme = _SCHEME.match(os.fspath(path))
    if scheme is not None:
        how = (
            "give the path without it"
            if scheme[1].lower() == "file"
            else ("copy the model to a local folder, or mount the store, and give that path")
        )
        raise invalid_argument(
            f"{os.fspath(path)} cannot be read: {scheme[1]}: is not a folder of this machine; {how}"
        )
