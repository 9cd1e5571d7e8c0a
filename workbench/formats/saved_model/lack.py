"""What a version's folder still lacks before it can be loaded."""

from __future__ import annotations

CHANGING = "changing"
"""The kind of what lacks nothing but a moment's rest."""


class Lack(str):
    """What a folder lacks, in words.

    Attributes:
        kind: the same in a word or two out of a few, for metrics.
        stalls: whether a copy that does not go on leaves this, so that at rest it is damage.
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
