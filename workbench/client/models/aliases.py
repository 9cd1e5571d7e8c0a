"""Aliases for inputs whose names TensorFlow does not accept.

A table's column may have any name (``sepal length (cm)``, ``1st``); a signature's input may not.
Such an input is served under a clean alias, and its original name is recorded.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Sequence

_SERVED_AS_IT_IS = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*\Z")


class Aliases:
    """The aliases of one version: an original name has the same alias in each signature.

    Attributes:
        columns: the original names by alias, if the two differ.
    """

    def __init__(self) -> None:
        self.columns: dict[str, str] = {}
        self._aliases: dict[str, str] = {}
        # TensorFlow does not distinguish names of nodes by upper and lower case.
        self._taken: set[str] = set()

    def add(self, originals: Sequence[str]) -> None:
        """Reserve the names of a signature's inputs that need no alias. Call it for all signatures
        before `of`: then no alias takes the name of another input."""
        for name in originals:
            if can_be_served(name) and name.lower() not in self._taken:
                self._taken.add(name.lower())
                self._aliases[name] = name

    def of(self, originals: Sequence[str]) -> list[str]:
        """The aliases of a signature's inputs, valid and unique."""
        found: list[str] = []
        for name in originals:
            alias = self._aliases.get(name)
            if alias is None:
                alias = self._aliases[name] = self._free(clean(name))
                self.columns[alias] = name
            # If two inputs share a name, the original name stands for the first.
            found.append(self._free(clean(name)) if alias in found else alias)
        return found

    def _free(self, name: str) -> str:
        alias, number = name, 1
        while alias.lower() in self._taken:
            number += 1
            alias = f"{name}_{number}"
        self._taken.add(alias.lower())
        return alias


def can_be_served(name: str) -> bool:
    """Whether TensorFlow accepts this name for a signature's input."""
    return (
        _SERVED_AS_IT_IS.match(name) is not None and not keyword.iskeyword(name) and name != "self"
    )


def clean(name: str) -> str:
    """The closest valid Python identifier to a name."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    text = re.sub(r"[^A-Za-z0-9]+", "_", plain).strip("_") or "input"
    if text[0].isdigit():
        text = f"x_{text}"
    return text if can_be_served(text) else f"{text}_"
