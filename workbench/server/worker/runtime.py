"""TensorFlow's runtime, without the public API that `import tensorflow` builds around it.

A worker reads graphs and runs them. For that it needs a third of TensorFlow's Python modules, and a
zygote that imports only these is ready in a third of the time and takes 120 MB less. The rest is
still there: the first use of anything else in the package `tensorflow` imports it as usual.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import site
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

_MODULES = (
    "google.protobuf.json_format",
    "tensorflow.python.client.session",
    "tensorflow.python.framework.load_library",
    "tensorflow.python.framework.tensor_util",
    "tensorflow.python.saved_model.loader_impl",
    "tensorflow.python.training.py_checkpoint_reader",
)
"""What workers import; each would do so by itself otherwise."""
_NOT_NEEDED = ("keras", "tf_keras")


class _Package(ModuleType):
    """The package `tensorflow`, whose own code runs when something in it is first asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        import_all()
        return getattr(self, name)


def import_runtime() -> None:
    """Import what a worker needs of TensorFlow, and register the operations of its libraries.

    Raises:
        ImportError: TensorFlow is not installed, or one of its libraries cannot be loaded.
    """
    spec = importlib.util.find_spec("tensorflow")
    folders = None if spec is None else spec.submodule_search_locations
    if spec is None or folders is None or _has_plugins(Path(folders[0])):
        # Only the package's own code loads them.
        import_all()
    elif "tensorflow" not in sys.modules:
        sys.modules["tensorflow"] = importlib.util.module_from_spec(spec)
        sys.modules["tensorflow"].__class__ = _Package
    # As the package does, before anything reads it.
    os.environ["TF2_BEHAVIOR"] = "1"

    for name in _MODULES:
        importlib.import_module(name)
    from tensorflow.python.compat import v2_compat
    from tensorflow.python.platform import tf_logging

    v2_compat.enable_v2_behavior()
    tf_logging.set_verbosity("ERROR")


def _has_plugins(package: Path) -> bool:
    """Whether libraries of kernels or devices are installed beside TensorFlow's own."""
    folders = [package / "core" / "kernels", package.parent / "tensorflow-plugins"]
    folders += [Path(folder, "tensorflow-plugins") for folder in site.getsitepackages()]
    folders.append(Path(site.getusersitepackages(), "tensorflow-plugins"))
    return any(map(Path.exists, folders)) or "TF_PLUGGABLE_DEVICE_LIBRARY_PATH" in os.environ


def import_all() -> None:
    """Import all of TensorFlow, for packages that use it. Does nothing where that was done.

    TensorFlow imports Keras where it is installed, and that scikit-learn and Matplotlib: two fifths
    of the time, of which nothing that runs a SavedModel needs anything.
    """
    package = sys.modules.get("tensorflow")
    if package is not None and not isinstance(package, _Package):
        return
    hidden = {name: sys.modules.get(name) for name in _NOT_NEEDED}
    sys.modules.update(dict.fromkeys(_NOT_NEEDED))  # type: ignore[arg-type]
    try:
        if package is None:
            import tensorflow

            del tensorflow
        else:
            spec = package.__spec__
            assert spec is not None
            assert spec.loader is not None
            package.__class__ = ModuleType  # type: ignore[assignment]
            spec.loader.exec_module(package)
    finally:
        for name, module in hidden.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
