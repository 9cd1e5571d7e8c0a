"""What a version's folder still lacks before it can be loaded."""

from __future__ import annotations

CHANGING = "changing"
"""The kind of a folder whose files are complete and were changed a moment ago."""


class Lack(str):
    """What a folder lacks, in words.

    Attributes:
        kind: one of a few short names, for metrics.
        stalls: whether an interrupted copy leaves this: it is damage once nothing changes.
    """

    kind: str
    stalls: bool

    def __new__(cls, text: str, kind: str, stalls: bool = False) -> Lack:
        """`text` with the attributes that programs look at."""
        lack = super().__new__(cls, text)
        lack.kind, lack.stalls = kind, stalls
        return lack


def missing(name: str, stalls: bool = True) -> Lack:
    """A file is not there."""
    return Lack(f"{name} is missing", "missing file", stalls)


def incomplete(text: str) -> Lack:
    """A file is there in part."""
    return Lack(text, "incomplete file", stalls=True)
