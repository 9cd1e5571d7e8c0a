"""Loads custom operations, which must be registered before a graph that has them is read."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from workbench.core.status import Code, ServingError
from workbench.server.worker.runtime import import_all

_loaded: set[str] = set()


def load_operations(names: Sequence[str]) -> None:
    """Load libraries of operations, each once in a process.

    Args:
        names: Python packages that register their operations when they are imported
            (``tensorflow_text``), and paths of shared libraries.

    Raises:
        ServingError: FAILED_PRECONDITION, naming a library that cannot be loaded, and the cure.
    """
    from tensorflow.python.framework import load_library

    for name in names:
        if name in _loaded:
            continue
        try:
            if is_library(name):
                load_library.load_op_library(name)
            else:
                import_all()
                importlib.import_module(name)
        except Exception as error:
            raise _missing(name, error) from error
        _loaded.add(name)


def is_library(name: str) -> bool:
    """Whether this is the path of a shared library rather than the name of a package."""
    return name.startswith("/")


def _missing(name: str, error: Exception) -> ServingError:
    why = str(error).strip().partition("\n")[0] or type(error).__name__
    if is_library(name):
        text = f"The library of operations {name} cannot be loaded: {why}; correct --op_libraries"
    else:
        text = (
            f"The model needs the operations of package {name!r}, which the server's Python "
            f"({sys.executable}) cannot import: {why}; install the package there"
        )
    return ServingError(Code.FAILED_PRECONDITION, text)
