"""Reads a model's folder: which versions are there, and which of them are complete.

The rules for version numbers are TensorFlow Serving's (`core.versions.version_policy`). Three
things are better on purpose. Each model is polled on its own, so one wrong path harms no other
model. A version whose files are still being copied is waited for, and never half loaded. And only
folders that may be served are read, so thousands of old ones cost no more than their names.

Links are followed again at each look. Everything here blocks on the file system, so it is called
from a thread. The entry types in a folder's listing are not used: some file systems have none.
"""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from workbench.core.status import Code, ServingError
from workbench.core.versions.version_policy import VersionPolicy, parse_version
from workbench.formats.saved_model.lack import CHANGING, Lack
from workbench.server.engine.versions.version_folder import Found, Place, lack, measure, stalled

# A folder that changed this recently may still be growing, however complete it looks.
SETTLE_SECONDS = 1.0
STALLED_SECONDS = 60.0
"""An incomplete version counts as damaged this long after its last change, until it changes
again."""


@dataclass(slots=True)
class Poll:
    """What one look at a model's folder found.

    Attributes:
        aspired: the versions to serve; None if the base path cannot be read, and then the served
            versions stay.
        waiting: versions that would be aspired but are not complete yet, with the reason.
        damaged: versions that would be aspired and cannot be loaded as they are.
        warnings: for people, in words.
        replaced: versions that the policy would choose and that were avoided for others.
        present: every version that there is.
        empty: the folder can be read, and there is no version in it, complete or not.
    """

    aspired: list[Found] | None
    waiting: dict[int, Lack] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    replaced: frozenset[int] = frozenset()
    present: frozenset[int] = frozenset()
    empty: bool = False
    damaged: dict[int, Found] = field(default_factory=dict)


class _Listing:
    """The numbered names in a base path; read again only where the names have changed.

    Attributes:
        names: the folder's name of each version.
        versions: the versions, ascending.
        warnings: of versions that several names stand for.
    """

    def __init__(self, entries: list[str]) -> None:
        self.entries = entries
        self.names: dict[int, str] = {}
        self.warnings: list[str] = []
        for name in sorted(entries):
            version = parse_version(name)
            if version is None:
                continue
            if version in self.names:
                self.warnings.append(
                    f"Duplicate version directories detected. Version {version} will be loaded "
                    f"from {name}, {self.names[version]} will be ignored."
                )
            self.names[version] = name
        self.versions = sorted(self.names)
        self.present = frozenset(self.versions)


class FolderSource:
    """A model's folder, and how it looked before, to tell whether it still changes."""

    def __init__(self, model: str, base_path: str) -> None:
        self.model = model
        self.base_path = base_path
        self._listing = _Listing([])
        # For each version its real path and its fingerprint, and since when (monotonic seconds) the
        # fingerprint has been that.
        self._seen: dict[int, tuple[str, int, float]] = {}
        # Versions that are complete without a look, and which folder each was when it was looked at
        # first.
        self._trusted: dict[int, Place | None] = {}
        # Versions as they were when they were complete and at rest.
        self._found: dict[int, Found] = {}
        # What the last look at each version gave.
        self._looks: dict[int, Found | Lack] = {}
        # Versions of `_found` of which the last look says something else, and what.
        self._otherwise: dict[int, str] = {}

    def trust(self, version: int) -> None:
        """This version was put in place by a rename: it is complete, no need to watch it."""
        self._trusted[version] = None

    def knows_others(self, version: int) -> bool:
        """Whether there are other versions that may be complete, as far as they were looked at."""
        return any(
            other != version and _may_load(self._looks.get(other))
            for other in self._listing.versions
        )

    def chosen_without(self, policy: VersionPolicy, versions: Set[int]) -> list[int]:
        """The versions that may be complete and that `policy` would choose without these."""
        return policy.aspired(
            {
                other
                for other in self._listing.versions
                if other not in versions and _may_load(self._looks.get(other))
            }
        )

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
            probation: versions that are served only together with those that would be chosen
                without them.
        """
        try:
            # Followed once, so that all of this look is about one and the same folder.
            real_base = os.path.realpath(self.base_path, strict=True)
            entries = os.listdir(real_base)
        except OSError as error:
            return Poll(
                None,
                warnings=[
                    f"Could not find base path {self.base_path} for servable {self.model} with "
                    f"error {_status_text(error, self.base_path)}. {_cure(error, self.base_path)}"
                ],
            )
        if entries != self._listing.entries:
            self._listing = _Listing(entries)
        listing = self._listing
        poll = Poll([], warnings=list(listing.warnings), present=listing.present)
        poll.empty = not listing.versions
        if policy.kind == "specific":
            poll.warnings += self._missing_versions(policy, listing.present)
        wanted = policy.aspired(listing.versions)
        if not wanted:
            poll.warnings.append(
                f"No versions of servable {self.model} found under base path {self.base_path}. "
                "Did you forget to name your leaf directory as a number (eg. '/1/')?"
            )
        self._forget(listing.present)
        # Incomplete and damaged versions are left out before the policy chooses: while a new
        # version is being copied, the one before it stays the latest.
        ready: dict[int, Found] = {}
        good: set[int] = set()
        # Only versions that may be served are read, until enough of them are good.
        latest = policy.kind == "latest"
        for version in reversed(listing.versions) if latest else wanted:
            look = self._look(version, real_base, listing.names[version])
            self._looks[version] = look
            if not isinstance(look, Found):
                continue
            ready[version] = look
            if look.damage is None and avoid.get(version) != look.fingerprint:
                good.add(version)
                if latest and len(good - probation) == policy.num_versions:
                    break
        chosen = set(policy.aspired(good) or policy.aspired(ready))
        if chosen & probation:
            chosen |= set(policy.aspired(good - probation))
        poll.aspired = [ready[v] for v in sorted(chosen)]
        poll.warnings += [
            f"Version {v} of servable {self.model} stays as it is: {self._otherwise[v]}"
            for v in sorted(chosen & self._otherwise.keys())
        ]
        poll.replaced = frozenset(policy.aspired(ready)) - chosen
        for version in wanted:
            look = self._looks[version]
            if not isinstance(look, Found):
                poll.waiting[version] = look
            elif look.damage is not None:
                poll.damaged[version] = look
        self._found |= ready
        return poll

    def _forget(self, present: Set[int]) -> None:
        """Forget versions that are not there any more."""
        known: dict[int, Any]
        for known in (self._trusted, self._found, self._looks, self._seen):
            for version in known.keys() - present:
                del known[version]
        self._otherwise = {}

    def _missing_versions(self, policy: VersionPolicy, present: Set[int]) -> list[str]:
        """What to say of specific versions that there are no folders for."""
        if not policy.versions:
            return [f"No specific versions requested for servable {self.model}."]
        return [
            f"Version {version} of servable {self.model}, which was requested to be served as a "
            "'specific' version in the servable's version policy, was not found in the file system"
            for version in policy.versions
            if version not in present
        ]

    def _look(self, version: int, real_base: str, name: str) -> Found | Lack:
        """The version, if it is complete; else what it still lacks.

        A version that was complete goes on being what it was while its files change: as in
        TensorFlow Serving, only a folder that is gone takes its version away.
        """
        path = os.path.join(self.base_path, name)
        known = self._found.get(version)
        if known is not None and (known.path != path or known.damage is not None):
            known = None
        real = path
        try:
            real = os.path.realpath(os.path.join(real_base, name), strict=True)
            look = self._look_now(version, path, real, known)
        except OSError as error:
            text = f"it cannot be read: {error.strerror}"
            if isinstance(error, PermissionError):
                text = f"{error.filename} cannot be read: {error.strerror}. {_cure(error)}"
            look = Lack(text, "unreadable")
        if isinstance(look, Found) or known is None:
            return look
        if look.kind != CHANGING:
            where = "" if real == known.place.path else f"its folder is {real} now, where "
            self._otherwise[version] = where + look
        return known

    def _look_now(self, version: int, path: str, real: str, known: Found | None) -> Found | Lack:
        """Raises OSError: some of it cannot be read."""
        found, newest = measure(version, path, real)
        now = time.monotonic()
        # A folder that was there first need not be watched if its files are old. From then on the
        # monotonic clock measures how long it has not changed.
        first = real, found.fingerprint, now - max(0.0, time.time() - newest)
        where, before, since = self._seen.get(version, first)
        if where != real:
            since = first[2]
        elif before != found.fingerprint:
            since = now
        self._seen[version] = real, found.fingerprint, since
        if known is not None and known.fingerprint == found.fingerprint:
            return known
        trusted = self._is_trusted(version, found.place)
        rests = now - since
        try:
            what = None if trusted else lack(real)
        except ServingError as error:
            # No more of it would make it a model, so it is complete.
            what = None
            found = replace(found, damage=error)
        if what is None and (trusted or rests >= SETTLE_SECONDS):
            return found
        if what is None:
            return Lack("its files are still changing", CHANGING)
        if what.stalls and rests >= STALLED_SECONDS:
            return stalled(found, what, STALLED_SECONDS)
        return what

    def _is_trusted(self, version: int, place: Place) -> bool:
        """Whether a version was put in place by a rename, and is still that folder."""
        if version not in self._trusted:
            return False
        first = self._trusted[version]
        if first is not None and first != place:
            del self._trusted[version]
            return False
        self._trusted[version] = place
        return True


def _may_load(look: Found | Lack | None) -> bool:
    return look is None or (isinstance(look, Found) and look.damage is None)


def _status_text(error: OSError, path: str) -> str:
    """An error of the file system in TensorFlow's words, with its status."""
    if isinstance(error, FileNotFoundError):
        return f"NOT_FOUND: {path} not found"
    code = Code.PERMISSION_DENIED if isinstance(error, PermissionError) else Code.UNKNOWN
    return f"{code.name}: {error.filename}; {error.strerror}"


def _cure(error: OSError, base_path: str = "") -> str:
    """What a person can do about a path that cannot be read."""
    if not isinstance(error, PermissionError):
        if base_path and os.path.islink(base_path):
            return f"It is a link to {os.readlink(base_path)}: point it to an existing folder."
        return "Create it, or correct the model's base path."
    return f"Let {_user()}, who runs the server, read it and enter the folders above it."


def _user() -> str:
    try:
        return f"user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"user {os.geteuid()}"
