"""Getting a model into a numbered folder: saved beside, then renamed, so never half there.

TensorFlow is used only where the caller has it: to save a model that lives in the caller.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.core.status import Code, ServingError, invalid_argument
from workbench.core.versions import parse_version

ASIDE = ".rolled-back"
"""Where `rollback` puts version folders; the name is no version number, so it is not served."""
_BESIDE = re.compile(r"\.\d+\.[0-9a-f]{8}")
_FICLONE = 0x40049409  # linux/fs.h
_FULL = os.strerror(errno.ENOSPC)


def is_saved_model(path: Path) -> bool:
    return (path / "saved_model.pb").exists() or (path / "saved_model.pbtxt").exists()


def version_folders(base: Path) -> dict[int, Path]:
    """The version folders below a base path, by number."""
    found: dict[int, Path] = {}
    if base.is_dir():
        for child in sorted(base.iterdir()):
            version = parse_version(child.name)
            if version is not None:
                found[version] = child
    return found


def next_version(base: Path) -> int:
    """One above every version there is, and above those that were rolled back."""
    taken = [*version_folders(base), *version_folders(base / ASIDE)]
    return max(taken, default=0) + 1


def folder_name(base: Path, version: int) -> str:
    """The version as a folder name, zero-padded like the folders that are there."""
    widths = {len(path.name) for path in version_folders(base).values()}
    return str(version).zfill(max(widths) if len(widths) == 1 else 1)


def put_version(model: Any, base: Path, version: int) -> Path:
    """Write `model` (in memory, or the path of a SavedModel) as `base/<version>`.

    Raises:
        ServingError: INVALID_ARGUMENT, it is nothing that can be saved, or the version exists;
            RESOURCE_EXHAUSTED or UNAVAILABLE, the disk is full, or does not take it.
    """
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_written(version, base, error) from error
    if version in version_folders(base):
        raise invalid_argument(
            f"Version {version} exists already in {base}: a version never changes its contents; "
            "publish the next one, or remove that folder first"
        )
    final = base / folder_name(base, version)
    try:
        with _beside(base, version) as beside:
            if isinstance(model, (str, os.PathLike)):
                source = Path(model).expanduser().resolve()
                if not is_saved_model(source):
                    raise invalid_argument(f"{source} is no SavedModel: it has no saved_model.pb")
                shutil.copytree(source, beside, copy_function=_copy, dirs_exist_ok=True)
            else:
                save(model, beside)
            os.rename(beside, final)
    except BaseException as error:
        # TensorFlow has an exception of its own for what the file system says.
        if isinstance(error, OSError) or _FULL in str(error):
            raise _not_written(version, base, error) from error
        raise
    return final


@contextlib.contextmanager
def _beside(base: Path, version: int) -> Iterator[Path]:
    """A folder to write a version into, gone at the end unless it has been renamed.

    It is locked for as long as somebody writes there. A lock ends with its process, so the next
    one who publishes knows, and removes, what one that was killed has left.
    """
    for left in base.iterdir():
        if _BESIDE.fullmatch(left.name):
            lock = _locked(left)
            if lock is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(lock)
    while True:
        beside = base / f".{version}.{uuid.uuid4().hex[:8]}"
        beside.mkdir()
        lock = _locked(beside)
        if beside.exists():  # else it was taken for a left one before it was locked
            break
    try:
        yield beside
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """The descriptor of a folder that is locked now; None where another holds the lock, or the
    file system has none."""
    import fcntl

    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _not_written(version: int, base: Path, error: BaseException) -> ServingError:
    """Why a version is not there; of several files that could not be copied, the first says it."""
    said = str(error.args[0][0][2]) if isinstance(error, shutil.Error) else str(error)
    full = _FULL in said
    return ServingError(
        Code.RESOURCE_EXHAUSTED if full else Code.UNAVAILABLE,
        f"Version {version} could not be written to {base}: {_FULL if full else said}. Nothing of "
        "it is left there, and what is served goes on being served",
    )


def _copy(source: str, target: str) -> str:
    """Copy a file with its times; where the file system can (btrfs, xfs), both share their blocks
    until one of them is written to."""
    import fcntl

    try:
        with open(source, "rb") as read, open(target, "wb") as written:
            fcntl.ioctl(written.fileno(), _FICLONE, read.fileno())
        shutil.copystat(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def save(model: Any, path: Path) -> None:
    """Save a Keras model or a `tf.Module` as a SavedModel.

    Raises:
        ServingError: INVALID_ARGUMENT, saying what is missing and how to add it.
    """
    signatures = check_servable(model)
    with _quiet():
        if signatures is None:
            model.export(str(path), verbose=False)
        else:
            sys.modules["tensorflow"].saved_model.save(model, str(path), signatures=signatures)


def check_servable(model: Any) -> Any:
    """The signatures of a `tf.Module` that can be saved; None for a Keras model, which knows its
    own.

    Raises:
        ServingError: INVALID_ARGUMENT, saying what is missing and how to add it.
    """
    tf = sys.modules.get("tensorflow")
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(model, keras.Model):
        if not model.built:
            raise invalid_argument(
                f"Keras model {model.name!r} has no input shape yet: call it once, or begin it "
                "with keras.Input, so that its signature is known"
            )
        return None
    if tf is not None and isinstance(model, tf.Module):
        return _signatures(tf, model)
    raise invalid_argument(
        f"An object of type {type(model).__name__} cannot be served: give a Keras model, a "
        "tf.Module, the path of a SavedModel, or the path of a folder of numbered versions"
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Saving prints a page about itself; the caller has asked for a served model."""
    logger = logging.getLogger("tensorflow")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)


def signature_functions(tf: Any, module: Any) -> dict[str, Any]:
    """The functions of a module that can be served, by signature name: those with an input
    signature; a call is the default one."""
    found = {}
    for name in ["__call__", *dir(type(module))]:
        function = getattr(module, name, None) if name == "__call__" or name[0] != "_" else None
        servable = isinstance(function, tf.types.experimental.PolymorphicFunction)
        if servable and getattr(function, "input_signature", None) is not None:
            found["serving_default" if name == "__call__" else name] = function
    return found


def _signatures(tf: Any, module: Any) -> Any:
    found = signature_functions(tf, module)
    if not found:
        raise invalid_argument(
            f"{type(module).__name__} has no function that can be served: decorate its __call__ "
            "with @tf.function(input_signature=[tf.TensorSpec([None, ...], tf.float32)])"
        )
    if "serving_default" not in found:
        found["serving_default"] = next(iter(found.values()))
    return found


def roll_back(base: Path, version: int) -> Path:
    """Move a version's folder aside, where it is not served; undone by `undo_roll_back`."""
    folder = version_folders(base).get(version)
    if folder is None:
        raise invalid_argument(f"There is no version {version} in {base}")
    aside = base / ASIDE
    aside.mkdir(exist_ok=True)
    target = aside / folder.name
    if target.is_symlink():
        target.unlink()
    elif target.exists():
        shutil.rmtree(target)
    os.rename(folder, target)
    # The newest of those aside is the one that an undo brings back. What a link leads to is not
    # ours to touch.
    os.utime(target, follow_symlinks=False)
    return target


def undo_roll_back(base: Path) -> tuple[int, Path]:
    """Bring back the version that was rolled back last.

    Raises:
        ServingError: INVALID_ARGUMENT, nothing was rolled back.
    """
    aside = version_folders(base / ASIDE)
    if not aside:
        raise invalid_argument(f"Nothing was rolled back in {base}, so there is nothing to undo")
    version = max(aside, key=lambda v: aside[v].lstat().st_mtime_ns)
    target = base / aside[version].name
    os.rename(aside[version], target)
    return version, target
