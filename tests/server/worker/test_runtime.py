"""What a worker imports of TensorFlow, and that all of it is there for packages that want more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_BEGIN = """
import os, sys
from workbench.server.worker.runtime import import_all, import_runtime
import_runtime()
threads = len(os.listdir("/proc/self/task"))
"""


def python(code: str, **environment: str) -> str:
    """What a fresh process prints."""
    return subprocess.run(
        [sys.executable, "-c", _BEGIN + code],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env={"TF_CPP_MIN_LOG_LEVEL": "3", "OPENBLAS_NUM_THREADS": "1", **environment},
    ).stdout.strip()


def test_little_is_imported_and_no_thread_is_started() -> None:
    code = (
        "heavy = {'tensorflow._api', 'keras', 'sklearn', 'matplotlib', 'pandas'}\n"
        "print(sorted(heavy & sys.modules.keys()), threads)\n"
        "import importlib.util; print(importlib.util.find_spec('keras') is not None)"
    )
    assert python(code) == "[] 1\nTrue"


def test_the_first_use_of_anything_else_imports_all() -> None:
    code = "import tensorflow as tf; print((tf.constant([1, 2]) + 1).numpy().tolist())"
    assert python(code) == "[2, 3]"
    code = "from tensorflow import strings; print('tensorflow._api' in sys.modules)"
    assert python(code) == "True"
    assert python("import tensorflow as tf; print(hasattr(tf, 'no_such_thing'))") == "False"


def test_keras_is_hidden_from_that_import_only() -> None:
    code = (
        "import_all(); import tensorflow as tf; print('keras' in sys.modules, end=' ')\n"
        "print(tf.keras.layers.Dense(2)(tf.ones([1, 3])).shape)"
    )
    assert python(code) == "False (1, 2)"


def test_where_devices_are_plugged_in_the_package_loads_them(tmp_path: Path) -> None:
    code = "print('tensorflow._api' in sys.modules)"
    assert python(code, TF_PLUGGABLE_DEVICE_LIBRARY_PATH=str(tmp_path)) == "True"
