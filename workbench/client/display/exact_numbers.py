"""Numbers on their way to a page and back: JavaScript rounds whole ones beyond 2^53 - 1.

A version's number may have 63 bits. On its way to a page one that JavaScript would round becomes
text, and each number has one form only; on its way back digits are a number again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from workbench.core.status import invalid_argument
from workbench.core.versions.version_policy import is_version

_SAFE = 2**53 - 1
_DIGITS = 19


def exact(data: Any) -> Any:
    """`data` (plain, as JSON has it) with text in place of whole numbers that a page would round.

    The same object where there are none, which is nearly always.
    """
    try:
        orjson.dumps(data, option=orjson.OPT_STRICT_INTEGER)
    except TypeError:
        return _exact(data)
    return data


def _exact(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {name: _exact(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_exact(value) for value in data]
    if type(data) is int and abs(data) > _SAFE:
        return str(data)
    return data


def version_of(value: Any, name: str = "version") -> int:
    """The version that a page means: a number, or the digits of one that it would round.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the field `name` and the value.
    """
    number = value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _DIGITS:
        number = int(value) if int(value) > _SAFE else None
    if not is_version(number):
        raise invalid_argument(f"{name!r} must be a version's number; was {value!r}")
    return int(number)
