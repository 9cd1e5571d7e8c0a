"""Chooses which versions in a model's folder are aspired: latest(n), all, or specific ones.

TensorFlow Serving's rules decide whether a folder name is a version number
(`file_system_storage_path_source.cc`): the whole name must be a 64-bit integer, with or without
leading zeros. So `1.tmp` is a safe name while copying.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.core.status import invalid_argument

_NUMBER = re.compile(r"\s*[+-]?\d+\s*\Z", re.ASCII)
_VERSIONS = range(2**63)
_UINT32_MAX = 2**32 - 1


def is_version(value: Any) -> bool:
    """Whether `value` is a version number: a whole one from 0 to 2^63 - 1, and no boolean."""
    return type(value) is int and value in _VERSIONS


def parse_version(folder_name: str) -> int | None:
    """The version number that a folder name stands for; None if it is not one, or is negative."""
    if not _NUMBER.match(folder_name):
        return None
    number = int(folder_name)
    return number if number in _VERSIONS else None


def check_version(value: Any) -> int:
    """Check a version number, and return it.

    Raises:
        ServingError: INVALID_ARGUMENT, it is not a whole number from 0 to 2^63 - 1.
    """
    if not is_version(value):
        raise invalid_argument(
            f"A version must be a whole number, at least 0 and at most {_VERSIONS[-1]}; was "
            f"{value!r}"
        )
    return int(value)


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """`latest` with a number, `all`, or `specific` with a list; the default is latest 1."""

    kind: str = "latest"
    num_versions: int = 1
    versions: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ("latest", "all", "specific"):
            raise invalid_argument(
                f"Unknown version policy {self.kind!r}: use 'latest', 'all' or 'specific'"
            )
        if self.kind == "latest" and self.num_versions < 1:
            raise invalid_argument(
                f"Version policy latest({self.num_versions}): at least 1 version must be aspired"
            )
        if self.num_versions > _UINT32_MAX:
            raise invalid_argument(
                f"Version policy latest({self.num_versions}): at most {_UINT32_MAX} versions can "
                "be aspired; use 'all' for all of them"
            )
        for version in self.versions:
            if not is_version(version):
                raise invalid_argument(
                    f"Version policy specific: version {version!r} is not a whole number from 0 to "
                    "2^63 - 1"
                )

    def aspired(self, found: Iterable[int]) -> list[int]:
        """The versions to serve out of those found, in ascending order, without repeats."""
        ordered = sorted(set(found))
        if self.kind == "all":
            return ordered
        if self.kind == "latest":
            return ordered[-self.num_versions :]
        return [v for v in ordered if v in self.versions]

    def to_json(self) -> dict[str, Any]:
        """The dictionary that the control plane uses, for `parse`."""
        if self.kind == "latest":
            return {"latest": self.num_versions}
        if self.kind == "all":
            return {"all": True}
        return {"specific": list(self.versions)}

    @classmethod
    def parse(
        cls, value: VersionPolicy | Mapping[str, Any] | str | int | list[int] | None
    ) -> VersionPolicy:
        """Read a policy from what a person writes.

        ``None`` or ``"latest"``: the newest; ``2``: the two newest; ``"all"``; ``[1, 3]``:
        these; or the dictionary that `to_json` makes.

        Raises:
            ServingError: INVALID_ARGUMENT, naming the value.
        """
        if value is None or value == "latest":
            return cls()
        if isinstance(value, VersionPolicy):
            return value
        if value == "all":
            return cls("all")
        if isinstance(value, int) and not isinstance(value, bool):
            return cls("latest", num_versions=value)
        if isinstance(value, (list, tuple)) and all(type(v) is int for v in value):
            return cls("specific", versions=tuple(value))
        if isinstance(value, Mapping) and len(value) == 1:
            ((key, arg),) = value.items()
            if key == "latest" and type(arg) is int:
                return cls("latest", num_versions=arg)
            if key == "all" and arg is True:
                return cls("all")
            if key == "specific" and isinstance(arg, (list, tuple)):
                return cls("specific", versions=tuple(arg))
        raise invalid_argument(
            f"Version policy {value!r} is not understood: use 'latest', a number of versions, "
            "'all', or a list of version numbers"
        )

    def __str__(self) -> str:
        if self.kind == "latest":
            return f"latest({self.num_versions})"
        if self.kind == "all":
            return "all"
        return f"specific({', '.join(map(str, self.versions))})"
