"""Integers for JavaScript, which rounds those beyond 2^53 - 1.

A version's number may have 63 bits. A number that JavaScript would round is sent to a page as text,
and text from a page becomes a number again. Each number has only one form.
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
    """`data` (plain, as for JSON) with text in place of the integers that JavaScript would round.

    Almost always there are none; then the same object is returned.
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
    """The version that a page sent: a number, or the digits of one that JavaScript would round.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the field `name` and the value.
    """
    number = value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _DIGITS:
        number = int(value) if int(value) > _SAFE else None
    if not is_version(number):
        raise invalid_argument(f"{name!r} must be a version's number; was {value!r}")
    return int(number)
