"""Keras models in files: `.keras`, and the older `.h5`."""

from __future__ import annotations

import importlib
import json
import zipfile
from pathlib import Path
from typing import Any

from workbench.client.models.endpoints import said
from workbench.core.status import invalid_argument

_HDF5 = (".h5", ".hdf5")


def is_keras_file(path: Path) -> bool:
    """Whether it is a file named `.keras`, `.h5` or `.hdf5`."""
    return path.is_file() and (path.suffix == ".keras" or path.suffix in _HDF5)


def load(path: Path) -> Any:
    """The model in a file, read by the Keras that wrote it: Keras 2 (`tf_keras`) or Keras 3.

    Raises:
        ServingError: INVALID_ARGUMENT, the file cannot be read, with the reason and a cure.
    """
    version = _keras_version(path)
    name = "tf_keras" if version.startswith(("0.", "1.", "2.")) else "keras"
    try:
        keras = importlib.import_module(name)
    except ImportError:
        raise invalid_argument(
            f"{path} was written by Keras {version}: install {name.replace('_', '-')} to serve it"
        ) from None
    try:
        return keras.models.load_model(str(path), compile=False)
    except Exception as error:
        raise invalid_argument(f"{path} cannot be read by {name}: {_cure(path, error)}") from error


def _cure(path: Path, error: Exception) -> str:
    text = str(error)
    call = f"keras.models.load_model({str(path)!r}"
    if "safe_mode" in text or "unsafe" in text or "lambda" in text.lower():
        return (
            "it has a Lambda layer, whose code would run here; if you trust the file, load it with "
            f"{call}, safe_mode=False) and serve the model"
        )
    if "custom_objects" in text or "registered" in text or "Unknown layer" in text:
        return f"{said(error)}; load it with {call}, custom_objects=...) and serve the model"
    return f"{said(error)}; load the model in another way, or build it again, and serve that"


def _keras_version(path: Path) -> str:
    """The version of Keras that wrote a file; 3 if the file does not name it."""
    try:
        if path.suffix in _HDF5:
            import h5py

            with h5py.File(path, "r") as file:
                said_version = file.attrs.get("keras_version", "3")
                return said_version.decode() if isinstance(said_version, bytes) else said_version
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("metadata.json"))["keras_version"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise invalid_argument(
            f"{path} is not a Keras file ({said(error)}): save the model again with model.save(...)"
        ) from error
