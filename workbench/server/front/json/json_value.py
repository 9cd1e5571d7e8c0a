"""JSON values of the exact reader, including duplicate keys and bytes that are not text."""

from __future__ import annotations

from typing import Any, TypeAlias


class Object(tuple[Any, ...]):
    """A JSON object: its members in order, duplicates included; keys are UTF-8 bytes.

    A tuple of pairs, because that is what an interpreter makes in the least time: bodies of
    millions of small objects are common.
    """

    __slots__ = ()

    def __contains__(self, key: object) -> bool:
        return any(name == key for name, _ in self)

    def get(self, key: bytes, default: Value = None) -> Value:
        """The value of the first member called `key`."""
        return next((value for name, value in self if name == key), default)


# A string is `bytes`; an integer literal that fits int64 or uint64 is `int`, any other number
# `float`; an array is `list`.
Value: TypeAlias = "bool | int | float | bytes | list[Value] | Object | None"
