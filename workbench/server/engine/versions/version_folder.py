"""One version folder: which folder it is, what its files look like, and what they lack.

Links are followed. A version that is loaded is compared with what lies under its number now by
three signs: the real path, the folder's inode, and its files. Where one sign alone differs it is
the same folder: renamed, restored from a backup, or with files that were written again. Where two
differ it is another folder, as after a link was swapped.

Everything here blocks on the file system, and nothing here needs TensorFlow.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from workbench.core.status import Code, ServingError
from workbench.formats.saved_model.checkpoint_index import missing_data, require_readable
from workbench.formats.saved_model.damage import DAMAGED, clue
from workbench.formats.saved_model.lack import Lack, incomplete, missing
from workbench.formats.saved_model.saved_model_file import (
    GRAPH_FILES,
    NotSavedModel,
    TruncatedFile,
    read_outline,
)

_NOT_OF_THE_MODEL = ("assets.extra" + os.sep, "batching_params.pbtxt")
"""Files that do not change what a version answers."""
_RESERVED = ".."
"""Names that begin so are Kubernetes' own: a mounted ConfigMap keeps its files in `..2026_01_02`,
and links lead there through `..data`. Those links are followed instead."""


class Place(NamedTuple):
    """Where a version folder really is.

    Attributes:
        path: the folder that its name leads to.
        graph: the file that its `saved_model.pb` leads to; it may be a link of its own.
        device, inode: of the folder.
    """

    path: str
    graph: str
    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class Found:
    """A version folder that is complete, or damaged beyond waiting for more files.

    Attributes:
        path: as the model's base path names it.
        fingerprint: changes when the folder, its files, or who may read them change.
        size_bytes: the sum of the sizes of its files.
        place: which folder that is, links followed.
        contents: changes when the files that make its answers do.
        damage: why it cannot be loaded, as far as that shows without loading it.
    """

    version: int
    path: str
    fingerprint: int
    size_bytes: int
    place: Place
    contents: int
    damage: ServingError | None = None

    def is_other_than(self, loaded: Found) -> bool:
        """Whether this is another folder than the one that was loaded: of the three signs at least
        two differ."""
        paths = self.place[:2] != loaded.place[:2]
        inodes = self.place[2:] != loaded.place[2:]
        return paths + inodes + (self.contents != loaded.contents) > 1


def measure(version: int, path: str, real: str) -> tuple[Found, float]:
    """Look at the files of a version folder, links followed.

    The time of the last change is the inodes' change time, which a copy that keeps modification
    times cannot set.

    Args:
        real: the same folder with all links followed.

    Returns:
        The folder, and the time of its last change, in seconds since the epoch.

    Raises:
        OSError: the folder, or one in it, cannot be read; a path that is no folder is an error too.
    """
    about = os.stat(real)
    if not stat.S_ISDIR(about.st_mode):
        raise NotADirectoryError(0, "it is not a folder", path)
    graph = next((g for g in (os.path.join(real, n) for n in GRAPH_FILES) if os.path.exists(g)), "")
    place = Place(real, graph and os.path.realpath(graph), about.st_dev, about.st_ino)
    everything: list[tuple[str | int, ...]] = []
    contents: list[tuple[str | int, ...]] = []
    newest, total = 0.0, 0
    for name, now in _files(real, "", frozenset({(about.st_dev, about.st_ino)})):
        file = (name, now.st_size, now.st_mtime_ns)
        # A version that failed because it could not be read is tried again when it can be.
        everything.append((*file, now.st_mode, now.st_uid, now.st_gid))
        if not name.startswith(_NOT_OF_THE_MODEL):
            contents.append(file)
        total += now.st_size
        newest = max(newest, now.st_ctime)
    fingerprint = hash((place.path, place.graph, tuple(everything)))
    return Found(version, path, fingerprint, total, place, hash(tuple(contents))), newest


def _files(
    folder: str, within: str, above: frozenset[tuple[int, int]]
) -> Iterator[tuple[str, os.stat_result]]:
    """Every file below a folder, by its name in it, in order. A link that leads nowhere, or back to
    a folder `above` itself (device, inode), is left out."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
    except FileNotFoundError:
        if not within:
            raise
        return  # it has just been removed, which is no loss
    for name in names:
        if name.startswith(_RESERVED):
            continue
        path = os.path.join(folder, name)
        try:
            now = os.stat(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno == errno.ELOOP:
                continue
            raise
        if not stat.S_ISDIR(now.st_mode):
            yield os.path.join(within, name), now
        elif (now.st_dev, now.st_ino) not in above:
            yield from _files(path, os.path.join(within, name), above | {(now.st_dev, now.st_ino)})


def lack(folder: str) -> Lack | None:
    """What this folder lacks to be a complete SavedModel; None if nothing.

    A folder that holds something else altogether is complete: loading it will say what it is.

    Raises:
        OSError: a file in it cannot be read.
        ServingError: DATA_LOSS, a file in it is damaged, and more of it would not mend that.
    """
    names = os.listdir(folder)
    if not names:
        return Lack("the folder is empty", "empty")
    if "saved_model.pb" not in names:
        if "saved_model.pbtxt" in names or "export.meta" in names:
            return None
        return missing("saved_model.pb", stalls=False)
    graph = os.path.join(folder, "saved_model.pb")
    try:
        outline = read_outline(graph)
    except TruncatedFile as error:
        return incomplete(f"saved_model.pb is incomplete: {error}")
    except NotSavedModel as error:
        raise damaged(graph, f"is not a SavedModel: {error}") from error
    for asset in outline.assets:
        if not os.path.exists(os.path.join(folder, "assets", asset)):
            return missing(f"assets/{asset}")
        require_readable(os.path.join(folder, "assets", asset))
    if outline.has_variables:
        return missing_data(os.path.join(folder, "variables"))
    return None


def stalled(found: Found, what: Lack, seconds: float) -> Found:
    """The version as one that is damaged: what it lacks has not come for so many seconds."""
    error = ServingError(
        Code.DATA_LOSS,
        f"{found.path} is not complete, and nothing in it has changed for {seconds:.0f} s: {what}; "
        f"{DAMAGED}",
    )
    return replace(found, damage=error)


def damaged(file: str, what: str) -> ServingError:
    """The error for a file with the wrong contents; names the likely cause and the cure."""
    return ServingError(Code.DATA_LOSS, f"{file} {what}{clue(file)}; {DAMAGED}")
