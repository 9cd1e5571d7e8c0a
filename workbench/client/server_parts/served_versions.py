"""The versions of a model: publishing one, going back to an earlier one, undoing that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workbench.client.control_answers import VersionDescription
from workbench.client.display.views import Versions, versions_of
from workbench.client.models.servable import servable
from workbench.client.outcomes import Published, differences
from workbench.client.publishing import fingerprint, interface, saving
from workbench.client.server_parts import waiting
from workbench.client.server_parts.named_server import NamedServer
from workbench.client.server_parts.waiting import LOAD_TIMEOUT_SECONDS
from workbench.client.warmup_recording import WarmupRecording
from workbench.core.status import (
    Code,
    Reason,
    ServingError,
    failed_precondition,
    invalid_argument,
)
from workbench.core.versions.version_policy import VersionPolicy, check_version


class ServedVersions(NamedServer):
    """Changes the folders of the model's versions, and waits until the server has followed."""

    @property
    def versions(self) -> Versions:
        """The model's versions now, highest first, with their measured memory."""
        return versions_of(self.describe(), self.control.memory())

    @property
    def base_path(self) -> Path:
        """The folder whose numbered subfolders are the model's versions."""
        return Path(self.describe()["base_path"])

    def publish(
        self,
        model: Any,
        *,
        version: int | None = None,
        wait: bool = True,
        timeout: float = LOAD_TIMEOUT_SECONDS,
        allow_signature_change: bool = False,
    ) -> int:
        """Make `model` the next version. It is written to a temporary folder, then renamed.
        Afterwards `outcome` lists what has changed.

        Args:
            model: as `serve` takes it, except a folder of numbered versions.
            version: its number; by default one above all that the server ever had.
            wait: until it is available.
            allow_signature_change: also if it breaks the callers of the version that serves: a
                signature, an input or an output is gone, or has another dtype or shape.

        Returns:
            The version's number.

        Raises:
            SignatureChange: FAILED_PRECONDITION, it would break them; nothing was published.
            ServingError: RESOURCE_EXHAUSTED with the reason `NO_MEMORY`, the version does not fit
                now; it is loaded by itself when it does, unless it is rolled back.
            ServingError: the reason why it could not be saved or loaded. The versions that served
                before go on serving.
        """
        model = servable(model)
        # A model that cannot be saved takes no number.
        model.prepare()
        about = self.describe()
        base = Path(about["base_path"])
        known = {each["version"]: each for each in about["versions"]}
        if version is None:
            # Above every number that the server ever had: answers of an earlier one may be cached,
            # or it may still serve although its folder is gone.
            published = fingerprint.numbers(self.control.entry().folder, self.model)
            version = saving.next_version(base, [*known, *published])
        number = check_version(version)
        if number in known and known[number]["error"] is None:
            raise invalid_argument(
                f"Version {number} of {self.model} was served already, though its folder is "
                "gone: a version never changes its contents; publish the next one"
            )
        check = None if allow_signature_change else interface.check_against(about, number)
        path = saving.put_version(model, base, number, check)
        self.control.poll(self.model, [number])
        saving.remember_version(self.control.entry().folder, self.model, model, number, path)
        self.outcome = Published(self.model, self.url, number)
        if wait:
            try:
                waiting.until_available(self.control, self.model, number, timeout, written=True)
            except ServingError as error:
                raise _with_prospect(error, number) from None
            self._compare(about["versions"], number)
        return number

    def _compare(self, before: Sequence[VersionDescription], published: int) -> None:
        """Say in the outcome what a version has changed."""
        served = [v for v in before if v["state"] == "AVAILABLE"]
        after = self.describe_versions().get(published)
        if served and after is not None and "signatures" in after:
            changes = differences(served[0], after)
            self.outcome = Published(self.model, self.url, published, changes)

    def wait_for(self, version: int, timeout: float = LOAD_TIMEOUT_SECONDS) -> None:
        """Wait until a version is available.

        Raises:
            ServingError: the version's own error, it failed; DEADLINE_EXCEEDED, it took too long;
                CANCELLED, its folder was removed meanwhile.
        """
        written = version in saving.version_folders(self.base_path)
        waiting.until_available(self.control, self.model, version, timeout, written)

    def wait_gone(self, version: int, timeout: float = LOAD_TIMEOUT_SECONDS) -> None:
        """Wait until a version is unloaded and, where its successor loads only then, until the
        successor is available or has failed.

        Raises:
            ServingError: DEADLINE_EXCEEDED, the version still serves.
        """
        waiting.until_gone(self.control, self.model, version, timeout)

    def rollback(
        self,
        version: int | None = None,
        timeout: float = LOAD_TIMEOUT_SECONDS,
        *,
        to: int | None = None,
    ) -> int:
        """Go back to an earlier version: move the folder of `version` (the latest) aside, which
        unloads it; or the folders of all versions after `to`. `undo` brings back one at a time,
        the latest first.

        Returns:
            The version that serves now.

        Raises:
            ServingError: FAILED_PRECONDITION, no earlier version is left to go back to;
                INVALID_ARGUMENT, there is no version `to`, or none after it.
        """
        base = self.base_path
        there = set(saving.version_folders(base))
        if to is None:
            leaving = {max(there, default=0) if version is None else version}
            if not there - leaving:
                raise failed_precondition(
                    f"{self.model} has no other version than {max(leaving)} in {base}, so there "
                    "is nothing to roll back to"
                )
        else:
            leaving = self._later_than(to, version, base, there)
        # The latest goes last, so that none between is loaded for a moment.
        for each in sorted(leaving):
            saving.roll_back(base, each)
        self.outcome = None
        self.control.poll(self.model, sorted(there - leaving))
        for each in sorted(leaving):
            self.wait_gone(each, timeout)
        return self._latest_available()

    def _later_than(self, to: int, version: int | None, base: Path, there: set[int]) -> set[int]:
        if version is not None:
            raise invalid_argument("Name either the version to move aside or the one to go back to")
        if to not in there:
            raise invalid_argument(f"There is no version {to} in {base} to go back to")
        later = {v for v in there if v > to}
        if not later:
            raise invalid_argument(f"Version {to} of {self.model} is the latest already")
        return later

    def undo(self, timeout: float = LOAD_TIMEOUT_SECONDS) -> int:
        """Bring back the version that was rolled back last, and wait until it is available if the
        version policy wants it. (A policy of the latest version alone does not want one that is
        older than another.)"""
        version = saving.undo_roll_back(self.base_path)
        self.outcome = None
        self.control.poll(self.model, [version])
        about = self.describe()
        policy = VersionPolicy.parse(about["version_policy"])
        if version in policy.aspired(saving.version_folders(Path(about["base_path"]))):
            waiting.until_available(self.control, self.model, version, timeout, written=True)
        return version

    def _latest_available(self) -> int:
        about = self.describe_versions()
        available = [v for v, each in about.items() if each["state"] == "AVAILABLE"]
        if not available:
            raise ServingError(Code.NOT_FOUND, f"No version of {self.model} is available")
        return max(available)

    def record_warmup(self, n: int, version: int | None = None) -> WarmupRecording:
        """Record the next `n` requests that a version (the highest) answers without an error, and
        write them into its folder. The version runs them whenever it is loaded, before it becomes
        available.

        Raises:
            ServingError: INVALID_ARGUMENT, `n` is not between 1 and 1000; NOT_FOUND, there is no
                such version.
        """
        self.control.record_warmup(self.model, n, version)
        return WarmupRecording(self.control, self.model)


def _with_prospect(error: ServingError, version: int) -> ServingError:
    """The error of a version that could not be loaded, with what becomes of it."""
    if error.reason is not Reason.NO_MEMORY:
        return error
    return ServingError(
        error.code,
        f"{error.message}. It is loaded by itself when it fits; withdraw it with "
        f"server.rollback({version})",
        error.reason,
    )
