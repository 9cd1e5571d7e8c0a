"""Finds the Python packages that register a model's custom operations.

A package such as `tensorflow_text` registers its operations when it is imported. If a graph uses
them, the worker must import the package before it can read the graph.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from workbench.core.model_settings import is_package_name
from workbench.core.status import failed_precondition, invalid_argument

_IMPORT_SECONDS = 60.0
_FIND = "import importlib.util, sys; print(importlib.util.find_spec(sys.argv[1]) is not None)"


def packages_for(tf: Any, operations: Iterable[str]) -> tuple[str, ...]:
    """The packages that register the operations that are not TensorFlow's own.

    Args:
        operations: the types of all operations in a graph and its functions.

    Raises:
        ServingError: INVALID_ARGUMENT, no package that a worker can import registers one of them.
    """
    foreign = sorted(name for name in set(operations) if not hasattr(tf.raw_ops, _python(name)))
    if not foreign:
        return ()
    registered = {op: module for module in _plugins() for op in vars(module)}
    found = {_package(op, registered.get(_python(op))) for op in foreign}
    packages = tuple(sorted(name for name in found if name not in ("", "tensorflow")))
    for name in packages:
        _check_importable(name)
    return packages


def operations_of(graph_def: Any) -> set[str]:
    """The types of all operations of a graph, except calls of its own functions."""
    library = graph_def.library.function
    own = {function.signature.name for function in library}
    nodes = [*graph_def.node, *(node for function in library for node in function.node_def)]
    return {node.op for node in nodes} - own


def any_loaded() -> bool:
    """Whether this process has operations that are not TensorFlow's."""
    return any(_owner(module) != "tensorflow" for module in _plugins())


def _python(operation: str) -> str:
    """The operation's name in Python: `TFText>NgramsStringJoin` is `TFText_NgramsStringJoin`."""
    return operation.replace(">", "_")


def _plugins() -> Iterator[Any]:
    """The modules that `tf.load_op_library` made."""
    for module in list(sys.modules.values()):
        if getattr(module, "__dict__", {}).get("_IS_TENSORFLOW_PLUGIN"):
            yield module


def _package(operation: str, plugin: Any) -> str:
    """The package that registers an operation; empty if TensorFlow itself does."""
    package = "" if plugin is None else _owner(plugin)
    if package or (plugin is None and _is_tensorflows(operation)):
        return package
    for library in _libraries():
        if operation.encode() in library.read_bytes():
            package = _installed_package(library)
            if package:
                return package
            raise _no_package(operation, str(library))
    if plugin is None:
        return ""
    raise _no_package(operation, "a library that this process has loaded")


def _owner(plugin: Any) -> str:
    """The package with a module that holds these operations; empty if there is none."""
    for name, module in list(sys.modules.items()):
        package = name.partition(".")[0]
        if module is plugin or not is_package_name(package) or package == "__main__":
            continue
        if any(value is plugin for value in list(getattr(module, "__dict__", {}).values())):
            return package
    return ""


def _is_tensorflows(operation: str) -> bool:
    """Whether an operation is in a TensorFlow module other than `tf.raw_ops`."""
    return operation.startswith("_") or any(
        hasattr(module, operation)
        for name, module in list(sys.modules.items())
        if name.startswith("tensorflow.") and ".gen_" in name
    )


def _libraries() -> list[Path]:
    """The shared libraries in this process that were built for TensorFlow, except its own."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    paths = {Path(line.split(maxsplit=5)[5]) for line in lines if line.endswith(".so")}
    return [
        path
        for path in sorted(paths)
        if not {"tensorflow", "lib-dynload"} & set(path.parts) and _for_tensorflow(path)
    ]


def _for_tensorflow(path: Path) -> bool:
    try:
        return b"libtensorflow_framework" in path.read_bytes()
    except OSError:
        return False


def _installed_package(library: Path) -> str:
    """The package whose folder contains a library; empty if there is none."""
    # The system names the file itself, also where the import path has a link.
    places = {Path(place).resolve() for place in sys.path if place}
    for place in sorted(places, key=lambda each: len(each.parts), reverse=True):
        if library.is_relative_to(place):
            name = library.relative_to(place).parts[0]
            return name if (place / name).is_dir() and is_package_name(name) else ""
    return ""


def _check_importable(package: str) -> None:
    """Check that another Python process finds the package, as a worker must."""
    done = subprocess.run(
        [sys.executable, "-c", _FIND, package],
        capture_output=True,
        text=True,
        timeout=_IMPORT_SECONDS,
        check=False,
    )
    if done.stdout.strip() != "True":
        raise failed_precondition(
            f"The model uses TensorFlow operations of module {package!r}, which only this "
            "process can import: install it as a package, for the process that serves"
        )


def _no_package(operation: str, where: str) -> Exception:
    return invalid_argument(
        f"The model uses the TensorFlow operation {operation!r} of {where}, which belongs to no "
        "Python package: make a package that loads the library, for the process that serves to "
        "import (workbench model-server also takes --op_libraries)"
    )
