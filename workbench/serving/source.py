"""Watching a model's folder: which versions are there, and which of them are complete.

The rules for version numbers are TensorFlow Serving's (`core.versions`). Two things are
better on purpose: each model is polled on its own, so that one wrong path harms no other
model; and a version whose files are still being copied is waited for, never half loaded.

Everything here blocks on the file system, so it is called from a thread.
"""

from __future__ import annotations

import os
import pwd
import stat
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from types import MappingProxyType

from workbench.core.status import Code
from workbench.core.versions import VersionPolicy, parse_version
from workbench.serving.checkpoint_index import missing_data, require_readable
from workbench.serving.saved_model_file import NotSavedModel, TruncatedFile, read_outline

# A folder that changed this recently may still be growing, however complete it looks.
SETTLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Found:
    """One complete, or completely hopeless, version folder.

    `fingerprint` changes when files in it do; `size_bytes` is the sum of their sizes.
    """

    version: int
    path: str
    fingerprint: int
    size_bytes: int


@dataclass(slots=True)
class Poll:
    """What one look at a model's folder found.

    Attributes:
        aspired: the versions to serve; None where nothing is known (the base path cannot be
            read), and then whatever is served goes on being served.
        waiting: versions that would be aspired but are not complete yet, with the reason.
        warnings: what a person should know, in words.
        replaced: versions that the policy would choose and that were avoided for others.
        present: every version that there is.
        empty: the folder can be read, and there is no version in it, complete or not.
    """

    aspired: list[Found] | None
    waiting: dict[int, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    replaced: frozenset[int] = frozenset()
    present: frozenset[int] = frozenset()
    empty: bool = False


class FolderSource:
    """Remembers what a folder looked like, to tell whether it has come to rest."""

    def __init__(self, model: str, base_path: str) -> None:
        self.model = model
        self.base_path = base_path
        # For each path its fingerprint, and since when (monotonic seconds) it has been that.
        self._seen: dict[str, tuple[int, float]] = {}
        self._complete: set[int] = set()
        # Versions as they were when they were complete and at rest.
        self._found: dict[int, Found] = {}
        # Of those, the ones that could not be read the last time, and why.
        self._unreadable: dict[int, str] = {}

    def trust(self, version: int) -> None:
        """This version was put in place by a rename: it is complete, no need to watch it."""
        self._complete.add(version)

    def knows_others(self, version: int) -> bool:
        """Whether, when it was last looked at, there were other complete versions."""
        return any(known != version for known in self._found)

    def chosen_without(self, policy: VersionPolicy, versions: Set[int]) -> list[int]:
        """What `policy` would have chosen at the last look if these versions had not been there."""
        return policy.aspired(self._found.keys() - versions)

    def poll(
        self,
        policy: VersionPolicy,
        avoid: Mapping[int, int] = MappingProxyType({}),
        probation: Set[int] = frozenset(),
    ) -> Poll:
        """Look at the folder once.

        Args:
            avoid: versions, with their fingerprints, in whose place others are chosen where there
                are any; one whose files have changed is not avoided.
            probation: versions beside which is chosen what would be chosen without them.
        """
        try:
            names = sorted(os.listdir(self.base_path))
        except OSError as error:
            return Poll(
                None,
                warnings=[
                    f"Could not find base path {self.base_path} for servable {self.model} with "
                    f"error {_told(error)}. {_cure(error)}"
                ],
            )
        poll = Poll([])
        folders: dict[int, str] = {}
        for name in names:
            version = parse_version(name)
            if version is None:
                continue
            if version in folders:
                poll.warnings.append(
                    f"Duplicate version directories detected. Version {version} will be loaded "
                    f"from {name}, {folders[version]} will be ignored."
                )
            folders[version] = name
        poll.empty = not folders
        if policy.kind == "specific":
            poll.warnings += self._missing_versions(policy, folders)
        if not policy.aspired(folders):
            poll.warnings.append(
                f"No versions of servable {self.model} found under base path {self.base_path}. "
                "Did you forget to name your leaf directory as a number (eg. '/1/')?"
            )
        # Incomplete versions are left out before the policy chooses: while a new version is
        # being copied, the one before it stays the latest.
        self._unreadable = {}
        looks = {v: self._look(v, os.path.join(self.base_path, n)) for v, n in folders.items()}
        ready = {v: found for v, found in looks.items() if isinstance(found, Found)}
        good = {v for v, found in ready.items() if avoid.get(v) != found.fingerprint}
        chosen = set(policy.aspired(good) or policy.aspired(ready))
        if chosen & probation:
            chosen |= set(policy.aspired(good - probation))
        poll.aspired = [ready[v] for v in sorted(chosen)]
        poll.warnings += [
            f"Version {v} of servable {self.model} stays as it is: {self._unreadable[v]}"
            for v in sorted(chosen & self._unreadable.keys())
        ]
        poll.replaced = frozenset(policy.aspired(ready)) - chosen
        poll.present = frozenset(folders)
        for version in policy.aspired(folders):
            look = looks[version]
            if not isinstance(look, Found):
                poll.waiting[version] = look
        self._complete &= folders.keys()
        self._found = ready
        return poll

    def _missing_versions(self, policy: VersionPolicy, folders: dict[int, str]) -> list[str]:
        """What to say of specific versions that there are no folders for."""
        if not policy.versions:
            return [f"No specific versions requested for servable {self.model}."]
        return [
            f"Version {version} of servable {self.model}, which was requested to be served as a "
            "'specific' version in the servable's version policy, was not found in the file system"
            for version in policy.versions
            if version not in folders
        ]

    def _look(self, version: int, path: str) -> Found | str:
        """The version, if it is complete; else what it still lacks.

        A version that was complete goes on being what it was while its files change: as in
        TensorFlow Serving, only a folder that is gone takes its version away.
        """
        known = self._found.get(version)
        if known is not None and known.path != path:
            known = None
        try:
            look = self._look_now(version, path)
        except OSError as error:
            look = f"it cannot be read: {error.strerror}"
            if isinstance(error, PermissionError):
                look = f"{error.filename} cannot be read: {error.strerror}. {_cure(error)}"
            if known is not None:
                self._unreadable[version] = look
        return known if isinstance(look, str) and known is not None else look

    def _look_now(self, version: int, path: str) -> Found | str:
        """Raises OSError: some of it cannot be read."""
        fingerprint, size, newest = _measure(path)
        missing = None if version in self._complete else _missing(path)
        now = time.monotonic()
        # A folder that was here before us need not be watched where its files are old. From then
        # on its rest is measured by a clock that nobody sets.
        before, since = self._seen.get(path, (fingerprint, now - max(0.0, time.time() - newest)))
        if before != fingerprint:
            since = now
        self._seen[path] = fingerprint, since
        if missing is not None:
            return missing
        if version not in self._complete and now - since < SETTLE_SECONDS:
            return "its files are still changing"
        return Found(version, path, fingerprint, size)


def _told(error: OSError) -> str:
    """What TensorFlow says, with its status, of what the file system says."""
    if isinstance(error, FileNotFoundError):
        return f"NOT_FOUND: {error.filename} not found"
    code = Code.PERMISSION_DENIED if isinstance(error, PermissionError) else Code.UNKNOWN
    return f"{code.name}: {error.filename}; {error.strerror}"


def _cure(error: OSError) -> str:
    """What a person can do about a path that cannot be read."""
    if not isinstance(error, PermissionError):
        return "Create it, or correct the model's base path."
    return f"Let {_user()}, as whom the server runs, read it and enter the folders above it."


def _user() -> str:
    try:
        return f"user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"user {os.geteuid()}"


def _measure(path: str) -> tuple[int, int, float]:
    """Fingerprint, size in bytes and time of the last change (epoch seconds) of a tree.

    It is the inode's change time, which a copy that keeps modification times cannot set. The
    fingerprint knows also who may read the files: a version that failed for that is tried again.
    """
    if not stat.S_ISDIR(os.stat(path).st_mode):
        raise NotADirectoryError(0, "it is not a folder", path)
    entries: list[tuple[str | int, ...]] = []
    newest = 0.0
    total = 0
    for folder, subfolders, files in os.walk(path, onerror=_raise_unless_gone):
        subfolders.sort()
        for name in files:
            file = os.path.join(folder, name)
            try:
                now = os.stat(file)
            except FileNotFoundError:
                continue
            readable = (now.st_mode, now.st_uid, now.st_gid)
            entries.append((file, now.st_size, now.st_mtime_ns, *readable))
            total += now.st_size
            newest = max(newest, now.st_ctime)
    entries.sort()
    return hash(tuple(entries)), total, newest


def _raise_unless_gone(error: OSError) -> None:
    """A folder that cannot be read must not look like an empty one; one that has just been
    removed is no loss."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _missing(path: str) -> str | None:
    """What this folder lacks to be a complete SavedModel, in words; None if nothing.

    A folder that holds something else altogether is complete: loading it will say what it is.
    """
    names = os.listdir(path)
    if not names:
        return "the folder is empty"
    if "saved_model.pb" not in names:
        if "saved_model.pbtxt" in names or "export.meta" in names:
            return None
        return "saved_model.pb is missing"
    try:
        outline = read_outline(os.path.join(path, "saved_model.pb"))
    except TruncatedFile:
        return "saved_model.pb is incomplete"
    except NotSavedModel:
        return None
    for asset in outline.assets:
        if not os.path.exists(os.path.join(path, "assets", asset)):
            return f"assets/{asset} is missing"
        require_readable(os.path.join(path, "assets", asset))
    if outline.has_variables:
        return missing_data(os.path.join(path, "variables"))
    return None
