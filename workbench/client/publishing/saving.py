"""Writes a model to a temporary folder, then renames that to a version's number, which makes a
version appear as a whole."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from workbench.client.models.servable import SavedModelFolder, Servable
from workbench.client.publishing import fingerprint
from workbench.client.publishing.interface import Check
from workbench.core.status import Code, ServingError, invalid_argument
from workbench.core.versions.version_policy import parse_version

logger = logging.getLogger(__name__)

ASIDE = ".rolled-back"
"""The folder for versions that were rolled back; its name is not a number, so it is not served."""
_BESIDE = re.compile(r"\.\d+\.[0-9a-f]{8}")
_FICLONE = 0x40049409  # linux/fs.h
_FULL = os.strerror(errno.ENOSPC)


def version_folders(base: Path) -> dict[int, Path]:
    """The version folders below a base path, by number."""
    found: dict[int, Path] = {}
    if base.is_dir():
        for child in sorted(base.iterdir()):
            version = parse_version(child.name)
            if version is not None:
                found[version] = child
    return found


def next_version(base: Path, used: Iterable[int] = ()) -> int:
    """One above every version in the folder, every one that was rolled back, and every one `used`
    before."""
    taken = [*version_folders(base), *version_folders(base / ASIDE), *used]
    return max(taken, default=0) + 1


def folder_name(base: Path, version: int) -> str:
    """The version as a folder name, zero-padded like the existing folders."""
    widths = {len(path.name) for path in version_folders(base).values()}
    return str(version).zfill(max(widths) if len(widths) == 1 else 1)


def put_version(model: Servable, base: Path, version: int, check: Check | None = None) -> Path:
    """Write a model as `base/<version>`, after a `check` of its signatures.

    Raises:
        SignatureChange: the check refuses them.
        ServingError: INVALID_ARGUMENT, it cannot be saved, or the version exists;
            RESOURCE_EXHAUSTED, the disk is full; UNAVAILABLE, it cannot be written.
    """
    model.prepare()
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_written(version, base, error) from error
    if version in version_folders(base):
        raise invalid_argument(
            f"Version {version} exists already in {base}: a version never changes its contents; "
            "publish the next one"
        )
    final = base / folder_name(base, version)
    if check is not None and isinstance(model, SavedModelFolder):
        # Before gigabytes are copied.
        check(model.path)
    try:
        with _beside(base, version) as beside:
            model.write(beside, _copy)
            if check is not None:
                check(beside)
            os.rename(beside, final)
    except BaseException as error:
        # TensorFlow has its own exceptions for errors of the file system.
        own = type(error).__module__.startswith("tensorflow.python.framework.errors")
        if isinstance(error, OSError) or own or _FULL in str(error):
            raise _not_written(version, base, error) from error
        raise
    return final


def remember_version(folder: str, name: str, model: Servable, version: int, path: Path) -> None:
    """Record the digest of the model that a version was made from, by which `serve` recognises the
    model. A version without a digest is compared by its files.

    Args:
        folder: the server's.
        name: the served model's name.
    """
    try:
        copied = isinstance(model, SavedModelFolder)
        digest = fingerprint.of_path(path) if copied else model.digest()
    except Exception:
        logger.warning("Version %s of %s has no digest", version, name, exc_info=True)
        digest = ""
    fingerprint.remember(folder, name, version, path, digest)


@contextlib.contextmanager
def _beside(base: Path, version: int) -> Iterator[Path]:
    """A temporary folder to write a version into, removed at the end unless it was renamed.

    It is locked while it is written. A lock ends with its process, so the next publication can tell
    that the folder belongs to a process that was killed, and removes it.
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
        if beside.exists():  # else it was removed as an abandoned one before it was locked
            break
    try:
        yield beside
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """Lock a folder and return its descriptor; None if another process holds the lock, or the file
    system has no locks."""
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
    """The error for a version that could not be written, with the reason of the first file."""
    said = str(error.args[0][0][2]) if isinstance(error, shutil.Error) else str(error)
    full = _FULL in said
    return ServingError(
        Code.RESOURCE_EXHAUSTED if full else Code.UNAVAILABLE,
        f"Version {version} could not be written to {base}: {_FULL if full else said}. Nothing of "
        "it is left there, and the served versions go on serving",
    )


def _copy(source: str, target: str) -> str:
    """Copy a file with its times. On btrfs and xfs both files share their blocks until one of them
    is written to."""
    import fcntl

    try:
        with open(source, "rb") as read, open(target, "wb") as written:
            fcntl.ioctl(written.fileno(), _FICLONE, read.fileno())
        shutil.copystat(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def roll_back(base: Path, version: int) -> None:
    """Move a version's folder to where it is not served; undone by `undo_roll_back`.

    Raises:
        ServingError: INVALID_ARGUMENT, there is no such version.
    """
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
    # An undo brings back the newest one. The target of a link is not ours to touch.
    os.utime(target, follow_symlinks=False)


def undo_roll_back(base: Path) -> int:
    """Bring back the version that was rolled back last, and return its number.

    Raises:
        ServingError: INVALID_ARGUMENT, nothing was rolled back.
    """
    aside = version_folders(base / ASIDE)
    if not aside:
        raise invalid_argument(f"Nothing was rolled back in {base}, so there is nothing to undo")
    version = max(aside, key=lambda v: aside[v].lstat().st_mtime_ns)
    os.rename(aside[version], base / aside[version].name)
    return version
