"""JSON exactly as TensorFlow Serving reads it: rapidjson 1.1.0's iterative parser in Python.

TensorFlow Serving parses with `kParseIterativeFlag | kParseNanAndInfFlag | kParseStopWhenDoneFlag`.
That differs from every JSON library for Python: ``NaN`` and ``Infinity`` are numbers, what
follows the top-level value is ignored, nesting has no limit, the first of several equal keys
counts, integers and decimals are different types, text need not be UTF-8, and errors have
rapidjson's texts and byte offsets. This module is the slow and exact reader: it decides every
request that `fast_reader` does not recognise, and words every refusal.

One deliberate difference: decimals are rounded correctly, where rapidjson's default may be off
in the last place of a double; and a zero with a huge exponent is zero, not an error.
"""

from __future__ import annotations

import contextlib
import enum
import math
import re
from collections.abc import Iterator
from json.encoder import encode_basestring
from typing import Any

import numpy as np

from workbench.server.front.json import text_runs
from workbench.server.front.json.json_value import Object, Value

_DEBUG_BYTES = 256  # as much of a value as messages show

_INT64_MIN, _UINT64_MAX = -(2**63), 2**64 - 1
_MAX_EXPONENT = 308
_FLOAT32_MAX = 3.4028234e38  # as rapidjson's IsFloat() writes it

_LIST_START, _LIST_END, _OBJECT_START, _OBJECT_END = b"[]{}"
_COMMA, _COLON, _QUOTE = b',:"'

_SPACE = re.compile(rb"[ \t\r\n]*")
_NUMBER = re.compile(
    rb"-?(?:(?P<int>0|[1-9][0-9]*)(?P<frac>\.[0-9]+)?(?P<exp>[eE][+-]?[0-9]+)?|NaN|Inf(?:inity)?)"
)
_STRING = re.compile(rb'"([^"\\\x00-\x1f]*)"')
_STRING_PART = re.compile(rb'[^"\\\x00-\x1f]*')
_HEX4 = re.compile(rb"[0-9a-fA-F]{4}")
_LITERALS = {b"n"[0]: (b"null", None), b"t"[0]: (b"true", True), b"f"[0]: (b"false", False)}
_ESCAPES = {
    b'"'[0]: b'"', b"\\"[0]: b"\\", b"/"[0]: b"/", b"b"[0]: b"\b",
    b"f"[0]: b"\f", b"n"[0]: b"\n", b"r"[0]: b"\r", b"t"[0]: b"\t",
}  # fmt: skip


class ParseError(ValueError):
    """`str()` of it is rapidjson's text and offset: ``Invalid value. at offset: 3``."""

    def __init__(self, text: str, offset: int) -> None:
        super().__init__(f"{text} at offset: {offset}")


class _State(enum.Enum):
    """Where the parser stands (rapidjson's `IterativeParsingState`), and the error when it cannot
    go on from there (`HandleError`)."""

    START = 0, "The document is empty."
    OBJECT_START = 1, "Missing a name for object member."
    MEMBER_COMMA = 2, "Missing a name for object member."
    NAME = 3, "Missing a colon after a name of object member."
    COLON = 4, "Invalid value."
    MEMBER = 5, "Missing a comma or '}' after an object member."
    ARRAY_START = 6, "Invalid value."
    ELEMENT_COMMA = 7, "Invalid value."
    ELEMENT = 8, "Missing a comma or ']' after an array element."


_BEFORE_ITEM = (_State.ARRAY_START, _State.ELEMENT_COMMA, _State.OBJECT_START, _State.MEMBER_COMMA)
_BEFORE_VALUE = (_State.START, _State.COLON, _State.ARRAY_START, _State.ELEMENT_COMMA)
_STRUCTURAL = b"],}:"
_TYPE_NAMES = {type(None): "Null", int: "Number", float: "Number", bytes: "String", list: "Array"}


def parse(body: bytes) -> Value:
    """The first JSON value in `body`; whatever follows it is ignored.

    Raises:
        ParseError: in rapidjson's words.
    """
    # rapidjson takes a NUL for the end of its input, and skips each byte of a byte order mark.
    end = body.find(b"\0")
    text = body if end < 0 else body[:end]
    position = 0
    for mark in (b"\xef", b"\xbb", b"\xbf"):
        position += text[position : position + 1] == mark
    position = _SPACE.match(text, position).end()  # type: ignore[union-attr]
    if text[position : position + 1] in (b"[", b"{") and text_runs.reads_alike(text):
        with contextlib.suppress(ValueError, RecursionError):
            return text_runs.read_value(text, position)
    return _parse_in_steps(text, position)


def _parse_in_steps(text: bytes, position: int) -> Value:
    """The value at `position`: rapidjson's state machine, which takes what it can in runs."""
    state = _State.START
    # The elements or members so far of each open container, and what it is.
    contents: list[list[Any]] = []
    are_lists: list[bool] = []
    names: list[bytes] = []  # one for each object that awaits the value of a member
    while True:
        if state in _BEFORE_ITEM:
            end = text_runs.read_run(text, position, contents[-1], are_lists[-1])
            if end > position:
                position = end
                state = _State.ELEMENT_COMMA if are_lists[-1] else _State.MEMBER_COMMA
        position = _SPACE.match(text, position).end()  # type: ignore[union-attr]
        if position == len(text):
            raise ParseError(state.value[1], position)
        char = text[position]

        if state in _BEFORE_VALUE and not (char == _LIST_END and state == _State.ARRAY_START):
            if char in _STRUCTURAL:
                raise ParseError(state.value[1], position)
            if char in (_LIST_START, _OBJECT_START):
                position += 1
                contents.append([])
                are_lists.append(char == _LIST_START)
                state = _State.ARRAY_START if char == _LIST_START else _State.OBJECT_START
                while are_lists[-1] and text.startswith(b"[", position):  # lists that nest deeply
                    position += 1
                    contents.append([])
                    are_lists.append(True)
                continue
            value, position = _parse_scalar(text, position)
        elif char == _QUOTE and state in (_State.OBJECT_START, _State.MEMBER_COMMA):
            name, position = _parse_string(text, position)
            names.append(name)
            state = _State.NAME
            continue
        elif char == _COLON and state == _State.NAME:
            position += 1
            state = _State.COLON
            continue
        elif char == _COMMA and state in (_State.MEMBER, _State.ELEMENT):
            position += 1
            state = _State.MEMBER_COMMA if state == _State.MEMBER else _State.ELEMENT_COMMA
            continue
        elif (char == _OBJECT_END and state in (_State.OBJECT_START, _State.MEMBER)) or (
            char == _LIST_END and state in (_State.ARRAY_START, _State.ELEMENT)
        ):
            position += 1
            closed = contents.pop()
            value = closed if are_lists.pop() else Object(closed)
            while are_lists and are_lists[-1] and text.startswith(b"]", position):
                position += 1
                contents[-1].append(value)
                value = contents.pop()
                are_lists.pop()
        else:
            raise ParseError(state.value[1], position)

        # A value is complete.
        if not contents:
            return value
        if are_lists[-1]:
            contents[-1].append(value)
            state = _State.ELEMENT
        else:
            contents[-1].append((names.pop(), value))
            state = _State.MEMBER


def _parse_scalar(text: bytes, position: int) -> tuple[Value, int]:
    char = text[position]
    if char == _QUOTE:
        return _parse_string(text, position)
    if char not in _LITERALS:
        return _parse_number(text, position)
    literal, value = _LITERALS[char]
    end = position + _common_prefix(text[position : position + len(literal)], literal)
    if end < position + len(literal):
        raise ParseError("Invalid value.", end)
    return value, end


def _parse_number(text: bytes, start: int) -> tuple[int | float, int]:
    match = _NUMBER.match(text, start)
    if match is None:
        raise ParseError("Invalid value.", _end_of_bad_number(text, start))
    end = match.end()
    follower = text[end : end + 1]
    integer, fraction, exponent = match.group("int", "frac", "exp")
    if integer is None:  # NaN, Inf, Infinity: Python's float() reads all three
        if follower == b"i" and match.group().endswith(b"Inf"):
            raise ParseError("Invalid value.", end + _common_prefix(text[end:], b"inity"))
        return float(match.group()), end
    if follower == b"." and fraction is None and exponent is None:
        raise ParseError("Miss fraction part in number.", end + 1)
    if follower in (b"e", b"E") and exponent is None:
        sign = text[end + 1 : end + 2] in (b"+", b"-")
        raise ParseError("Miss exponent in number.", end + 1 + sign)
    if fraction is None and exponent is None and len(integer) <= 20:
        number = int(match.group())
        if _INT64_MIN <= number <= _UINT64_MAX:
            return number, end
    number_or_inf = float(match.group())
    if math.isinf(number_or_inf):
        # Too long an integer or too large an exponent is refused; an overflow that only their
        # product causes is not, and gives infinity.
        power = int(exponent[1:]) if exponent is not None and len(exponent) < 12 else math.inf
        too_large = exponent is not None and power > _MAX_EXPONENT + len(fraction or b".") - 1
        if too_large or math.isinf(float(integer)):
            raise ParseError("Number too big to be stored in double.", start)
    return number_or_inf, end


def _end_of_bad_number(text: bytes, start: int) -> int:
    """Where rapidjson stops in an invalid number: after the part that it has accepted."""
    position = start + (text[start : start + 1] == b"-")
    return position + max(_common_prefix(text[position:], word) for word in (b"NaN", b"Inf"))


def _common_prefix(text: bytes, word: bytes) -> int:
    return next((i for i, char in enumerate(word) if text[i : i + 1] != bytes((char,))), len(word))


def _parse_string(text: bytes, start: int) -> tuple[bytes, int]:
    match = _STRING.match(text, start)
    if match is not None:
        return match.group(1), match.end()
    parts = []
    position = start + 1
    while True:
        part = _STRING_PART.match(text, position)
        assert part is not None
        parts.append(part.group())
        position = part.end()
        if position == len(text):
            raise ParseError("Missing a closing quotation mark in string.", position)
        if text[position] == _QUOTE:
            return b"".join(parts), position + 1
        if text[position] != b"\\"[0]:  # a control character
            raise ParseError("Invalid escape character in string.", position)
        part_of_escape, position = _parse_escape(text, position)
        parts.append(part_of_escape)


def _parse_escape(text: bytes, start: int) -> tuple[bytes, int]:
    """The bytes that the escape at `start` stands for; errors name the backslash's offset."""
    letter = text[start + 1 : start + 2]
    if letter == b"u":
        code, position = _parse_hex4(text, start + 2, start)
        if 0xD800 <= code <= 0xDBFF:
            if text[position : position + 2] != b"\\u":
                raise ParseError("The surrogate pair in string is invalid.", start)
            low, position = _parse_hex4(text, position + 2, start)
            if not 0xDC00 <= low <= 0xDFFF:
                raise ParseError("The surrogate pair in string is invalid.", start)
            code = ((code - 0xD800) << 10 | (low - 0xDC00)) + 0x10000
        # A lone low surrogate is encoded like any other code point.
        return chr(code).encode("utf-8", "surrogatepass"), position
    if not letter or letter[0] not in _ESCAPES:
        raise ParseError("Invalid escape character in string.", start)
    return _ESCAPES[letter[0]], start + 2


def _parse_hex4(text: bytes, position: int, escape: int) -> tuple[int, int]:
    match = _HEX4.match(text, position)
    if match is None:
        raise ParseError("Incorrect hex digit after \\u escape in string.", escape)
    return int(match.group(), 16), position + 4


def type_name(value: Value) -> str:
    """The value's JSON type as messages name it: ``Null``, ``True``, ``Array``, ``Number`` ..."""
    return str(value) if isinstance(value, bool) else _TYPE_NAMES.get(type(value), "Object")


def debug_text(value: Value) -> str:
    """`value` as TensorFlow Serving's messages show it.

    rapidjson's PrettyWriter with arrays on one line and objects indented by 4 spaces, cut off
    after 256 bytes.
    """
    written = b""
    for token in _tokens(value):
        written += token.encode()
        if len(written) >= _DEBUG_BYTES:
            break
    return written[:_DEBUG_BYTES].decode("utf-8", "ignore")


def _tokens(value: Value) -> Iterator[str]:
    """The pretty-printed text of `value`, in the steps that the writer takes; not recursive."""
    # Each open container: what is left of it, whether it is an array, whether it is still empty.
    stack: list[tuple[Iterator[Value | tuple[bytes, Value]], bool, bool]] = []
    current: Value = value
    prefix = ""
    while True:
        if isinstance(current, (list, Object)):
            is_list = isinstance(current, list)
            yield prefix + ("[" if is_list else "{")
            stack.append((iter(current), is_list, True))
        else:
            yield prefix + _scalar_text(current)
        while stack:
            children, is_list, empty = stack[-1]
            child = next(children, _END)
            if child is not _END:
                break
            stack.pop()
            close = "]" if is_list else "}"
            yield close if is_list or empty else "\n" + "    " * len(stack) + close
        else:
            return
        stack[-1] = (children, is_list, False)
        if is_list:
            prefix, current = "" if empty else ", ", child  # type: ignore[assignment]
        else:
            name, current = child  # type: ignore[misc,assignment,unused-ignore]
            yield ("" if empty else ",") + "\n" + "    " * len(stack) + _scalar_text(name)
            prefix = ": "


_END: Value = Object()  # no value of a document is this very object


def _scalar_text(value: Value) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, bytes):
        return encode_basestring(value.decode("utf-8", "replace"))
    if isinstance(value, float):
        return decimal_text(value)
    return str(value)


def decimal_text(value: float) -> str:
    """A decimal as TensorFlow Serving's `WriteDecimal` has it: float32 where it is in range.

    Six digits where these give the same number back, else 9 (float32) or 17 (double) digits;
    always with a point or an exponent.
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "-Infinity" if value < 0 else "Infinity"
    narrow = abs(value) <= _FLOAT32_MAX
    exact = float(np.float32(value)) if narrow else value
    text = f"{exact:.6g}"
    if (float(np.float32(text)) if narrow else float(text)) != exact:
        text = f"{exact:.9g}" if narrow else f"{exact:.17g}"
    return text if "." in text or "e" in text else text + ".0"
