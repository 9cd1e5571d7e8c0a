"""Reads runs of plain JSON at the speed of the interpreter's own scanner.

`rapidjson` reads text step by step, at up to a microsecond a byte. This module makes that bearable
for large bodies. A regular expression finds how far the text is plain (a grammar without recursion,
of values that nest at most three levels deep), and the standard library's scanner, which is written
in C, makes values of it. Both readers make the same values of plain text; a test compares them.

The scanner gets the text as Latin-1, a character for each byte: strings that are not UTF-8 come
back as they were.
"""

from __future__ import annotations

import json
import re
from typing import Any

from workbench.server.front.json.json_value import Object, Value

_RUN = 1024
"""Elements or members that are taken at a time: what bounds the memory that a run needs."""
_NESTED = 256
"""Elements of a container within a run. A longer one is entered, and is then a run of its own."""

_SPACE = rb"[ \t\r\n]*"
# Escapes that stand for one byte below 128.
_STRING = (
    rb'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u00[0-7][0-9a-fA-F])[^"\\\x00-\x1f]*){0,%d}"' % _NESTED
)
# Up to 18 digits fit an int64; up to two digits of exponent keep a decimal finite.
_NUMBER = rb"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?(?![0-9.eE])"
_SCALAR = rb"%b|%b|true|false|null|NaN|-?Infinity" % (_NUMBER, _STRING)
_MEMBER = _STRING + _SPACE + rb":" + _SPACE + rb"(?:%b)"


def _container(opening: bytes, item: bytes, closing: bytes) -> bytes:
    """A pattern of a list or an object; a comma in it is followed by an item."""
    follows = rb"(?:,(?!%b%b)%b|(?=%b))" % (_SPACE, closing, _SPACE, closing)
    return rb"%b%b(?:%b%b%b){0,%d}%b" % (
        opening, _SPACE, item, _SPACE, follows, _NESTED, closing
    )  # fmt: skip


def _with_containers(value: bytes) -> bytes:
    """A pattern of scalars, and of containers of what `value` matches."""
    elements = _container(rb"\[", rb"(?:%b)" % value, rb"\]")
    members = _container(rb"\{", _MEMBER % value, rb"\}")
    return rb"%b|%b|%b" % (_SCALAR, elements, members)


def _run(item: bytes) -> re.Pattern[bytes]:
    """Items, each with the comma that shows that it is complete."""
    return re.compile(rb"(?:%b%b%b,){1,%d}" % (_SPACE, item, _SPACE, _RUN))


_VALUE = _with_containers(_with_containers(_SCALAR))
_ELEMENTS = _run(rb"(?:%b)" % _VALUE)
_MEMBERS = _run(_MEMBER % _VALUE)

# Digits are `0` here, an `e` of either case is `e`, and all else but signs is a blank.
_DIGITS_AND_EXPONENTS = bytes(
    48 if 48 <= byte <= 57 else 101 if byte in b"eE" else 32 for byte in range(256)
)


def reads_alike(text: bytes) -> bool:
    """False for every text that the standard library and rapidjson may read as different values:
    halves of surrogate pairs, integers beyond 64 bits, decimals that are infinite."""
    if b"\\u" in text:
        return False
    digits = text.translate(_DIGITS_AND_EXPONENTS, b"+-")
    return b"0" * 19 not in digits and b"e000" not in digits


def read_value(text: bytes, position: int) -> Value:
    """The list or object at `position`, in text of which `reads_alike` is true.

    Raises:
        ValueError: this is not JSON, or only rapidjson's.
        RecursionError: it nests deeply.
    """
    decoded = text.decode("latin-1")
    value: Value = _converted(_DECODER.raw_decode(decoded, position)[0])
    return value


def read_run(text: bytes, position: int, items: list[Any], of_list: bool) -> int:
    """Append the elements of a list, or the members of an object, that are plain from `position`
    on, where one is expected.

    Returns:
        Where the run ends: after a comma, or at `position` if there is none.
    """
    run = (_ELEMENTS if of_list else _MEMBERS).match(text, position)
    if run is None:
        return position
    plain = text[position : run.end() - 1].decode("latin-1")
    items += _converted(_DECODER.raw_decode(f"[{plain}]" if of_list else f"{{{plain}}}")[0])
    return run.end()


def _object(pairs: list[tuple[str, Any]]) -> Any:
    return Object([(name.encode("latin-1"), _converted(value)) for name, value in pairs])


def _converted(value: Any) -> Any:
    """`value` with its strings as bytes; objects are so already."""
    if type(value) is str:
        return value.encode("latin-1")
    if type(value) is list:
        kinds = set(map(type, value))
        if str in kinds:
            value = [v.encode("latin-1") if type(v) is str else v for v in value]
        if list in kinds:
            value = [_converted(v) if type(v) is list else v for v in value]
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object)
