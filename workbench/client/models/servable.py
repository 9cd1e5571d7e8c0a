"""Recognises a caller's model, checks it, and writes it as a SavedModel.

TensorFlow and Keras are imported only if the caller has imported them, or gives a Keras file.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from workbench.client.models import (
    captures,
    keras_file,
    keras_model,
    module_model,
    op_packages,
)
from workbench.client.models.aliases import Aliases
from workbench.client.models.endpoints import Endpoint, endpoints, said
from workbench.client.publishing import fingerprint
from workbench.client.publishing.links import as_written
from workbench.core.remote_paths import check_local
from workbench.core.status import ServingError, invalid_argument
from workbench.formats.saved_model.version_record import VersionRecord, read_record

Copy = Callable[[str, str], str]


class Servable(Protocol):
    """A model that can be a version."""

    @property
    def path(self) -> Path | None:
        """Its file or folder; None for a model in memory."""

    def prepare(self) -> None:
        """Check that it can be served.

        Raises:
            ServingError: the reason why not, in one sentence with the cure.
        """

    def digest(self) -> str:
        """A digest that changes if and only if the model does (see `fingerprint`)."""

    def write(self, folder: Path, copy: Copy = shutil.copy2) -> None:
        """Write it as a SavedModel, with its record, into an empty folder.

        Raises:
            ServingError: the reason why it cannot be saved.
            OSError: it cannot be written to the disk.
        """


def servable(model: Any) -> Servable:
    """A model as something that can be written; one that is that already is returned.

    Raises:
        ServingError: INVALID_ARGUMENT, it cannot be served.
    """
    if isinstance(model, (SavedModelFolder, KerasFile, TensorFlowModel, OtherKeras)):
        return model
    if isinstance(model, (str, os.PathLike)):
        check_local(os.fspath(model), "The model's path")
        path = as_written(model)
        if keras_file.is_keras_file(path):
            return KerasFile(path)
        if not path.exists():
            raise invalid_argument(
                f"There is no {path}: give the path of a SavedModel or of a .keras file"
            )
        if not is_saved_model(path):
            raise invalid_argument(f"{path} is not a SavedModel: it has no saved_model.pb")
        return SavedModelFolder(path)
    if keras_model.is_keras_model(model):
        return TensorFlowModel(model) if keras_model.on_tensorflow(model) else OtherKeras(model)
    tf = sys.modules.get("tensorflow")
    if tf is not None and module_model.is_module(tf, model):
        return TensorFlowModel(model)
    raise invalid_argument(_no_model(model))


def is_saved_model(path: Path) -> bool:
    """Whether a folder contains a SavedModel, binary or as text."""
    return (path / "saved_model.pb").exists() or (path / "saved_model.pbtxt").exists()


class _OnDisk:
    """A model in a file or folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def digest(self) -> str:
        """Of the names and contents of its files."""
        return fingerprint.of_path(self.path)


class SavedModelFolder(_OnDisk):
    """A SavedModel in a folder. It is copied: its folder may change, and a version must not."""

    _record: VersionRecord | None = None

    def prepare(self) -> None:
        """Find the packages of its operations: in the record that was saved with it, or else in
        this process."""
        record = read_record(self.path)
        tf = sys.modules.get("tensorflow")
        if record.packages or tf is None or not op_packages.any_loaded():
            return
        operations: set[str] = set()
        with contextlib.suppress(Exception):
            from tensorflow.core.protobuf import saved_model_pb2

            # The worker refuses a SavedModel that cannot be read, with the reason.
            data = (self.path / "saved_model.pb").read_bytes()
            for meta in saved_model_pb2.SavedModel.FromString(data).meta_graphs:
                operations |= op_packages.operations_of(meta.graph_def)
        packages = op_packages.packages_for(tf, operations)
        if packages:
            self._record = VersionRecord(record.columns, packages)

    def write(self, folder: Path, copy: Copy = shutil.copy2) -> None:
        """Copy it; `copy` copies one file."""
        shutil.copytree(self.path, folder, copy_function=copy, dirs_exist_ok=True)
        if self._record is not None:
            self._record.write(folder)


class KerasFile(_OnDisk):
    """A `.keras` or `.h5` file, read when it is first needed."""

    _model: Servable | None = None

    def prepare(self) -> None:
        """Read the file, and check the model in it."""
        if self._model is None:
            model = servable(keras_file.load(self.path))
            model.prepare()
            self._model = model

    def write(self, folder: Path, copy: Copy = shutil.copy2) -> None:
        """Save the model in it."""
        self.prepare()
        assert self._model is not None
        self._model.write(folder, copy)


class TensorFlowModel:
    """A `tf.Module`, or a Keras model on TensorFlow."""

    path = None

    def __init__(self, model: Any) -> None:
        self._model = model
        self._tf: Any = None
        self._aliases = Aliases()
        self._endpoints: list[Endpoint] = []
        self._object: Any = None
        self._packages: tuple[str, ...] = ()

    def prepare(self) -> None:
        """Trace its functions, and find the objects and packages that they use."""
        if self._endpoints:
            return
        import tensorflow as tf

        with _quiet(), tf.init_scope():
            is_keras = keras_model.is_keras_model(self._model)
            kind = keras_model if is_keras else module_model
            found = endpoints(tf, kind.drafts(tf, self._model), self._aliases)
            self._object = captures.to_save(tf, None if is_keras else self._model, found)
            operations: set[str] = set()
            for endpoint in found:
                operations |= op_packages.operations_of(endpoint.concrete.graph.as_graph_def())
            self._packages = op_packages.packages_for(tf, operations)
        self._tf, self._endpoints = tf, found

    def digest(self) -> str:
        """Of its graphs and the values that they use."""
        self.prepare()
        return fingerprint.of_endpoints(self._tf, type(self._model).__qualname__, self._endpoints)

    def write(self, folder: Path, copy: Copy = shutil.copy2) -> None:
        """Save it with `tf.saved_model.save`."""
        self.prepare()
        signatures = {name: e.function for e in self._endpoints for name in e.names}
        with _saving(self._model), _quiet():
            self._tf.saved_model.save(self._object, str(folder), signatures=signatures)
        VersionRecord(self._aliases.columns, self._packages).write(folder)


class OtherKeras:
    """A Keras 3 model on JAX or PyTorch. Keras refuses some models only while it exports them, so
    `prepare` exports it to a temporary folder."""

    path = None

    def __init__(self, model: Any) -> None:
        self._model = model
        self._exported: Path | None = None

    def prepare(self) -> None:
        """Have Keras export it, into a folder that is removed with this object."""
        if self._exported is not None:
            return
        aliases = Aliases()
        folder = Path(tempfile.mkdtemp(prefix="wb-"))
        weakref.finalize(self, shutil.rmtree, folder, True)
        with _quiet():
            keras_model.exported_by_keras(self._model, folder, aliases)
        VersionRecord(aliases.columns).write(folder)
        self._exported = folder

    def digest(self) -> str:
        """Of its configuration and its variables."""
        return fingerprint.of_keras(self._model)

    def write(self, folder: Path, copy: Copy = shutil.copy2) -> None:
        """Copy the export."""
        self.prepare()
        assert self._exported is not None
        shutil.copytree(self._exported, folder, copy_function=copy, dirs_exist_ok=True)


def _no_model(model: Any) -> str:
    roots = {each.__module__.partition(".")[0] for each in type(model).__mro__}
    cure = (
        "give a Keras model, a tf.Module, the path of a SavedModel or of a .keras file, or the "
        "path of a folder of numbered versions"
    )
    if keras_model.is_keras_layer(model):
        cure = "a layer is not a model: make one with keras.Sequential([keras.Input(...), layer])"
    elif roots & {"sklearn", "torch", "xgboost", "lightgbm", "jax", "flax"}:
        cure = (
            "only TensorFlow runs here: write what it computes as a tf.Module or a Keras model, or "
            "export it as a SavedModel and give its path"
        )
    elif callable(model) and not isinstance(model, type):
        cure = (
            "the inputs of a function are not known before it is called: make it a method of a "
            "tf.Module, decorated with "
            "@tf.function(input_signature=[tf.TensorSpec([None, ...], tf.float32)])"
        )
    return f"An object of type {type(model).__name__} cannot be served: {cure}"


@contextlib.contextmanager
def _saving(model: Any) -> Iterator[None]:
    """Raise TensorFlow's errors about a model that it cannot save as one sentence."""
    try:
        yield
    except (ServingError, OSError):
        raise
    except Exception as error:
        # TensorFlow's file errors are not OSError; the caller recognises them by their text.
        if type(error).__module__.startswith("tensorflow.python.framework.errors"):
            raise
        raise invalid_argument(
            f"{type(model).__name__} cannot be saved as a SavedModel: {said(error)}"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide what TensorFlow prints while it saves a model."""
    logger = logging.getLogger("tensorflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)
