import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.server.front.json.rapidjson import (
    Object,
    ParseError,
    Value,
    debug_text,
    decimal_text,
    parse,
    type_name,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"null", None),
        (b" \t\r\n true", True),
        (b"false", False),
        (b'"text"', b"text"),
        (b"[]", []),
        (b"{}", Object()),
        (b"[1, [2.5, []], {}]", [1, [2.5, []], Object()]),
        (b'{"a": 1, "b": {"c": [true, null]}}',
         Object([(b"a", 1), (b"b", Object([(b"c", [True, None])]))])),
        (b'{"a": 1, "a": 2}', Object([(b"a", 1), (b"a", 2)])),
        # integers and decimals
        (b"18446744073709551615", 2**64 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"18446744073709551616", 2.0**64),
        (b"-9223372036854775809", -(2.0**63)),
        (b"1.0", 1.0),
        (b"1e3", 1000.0),
        (b"1E+2", 100.0),
        (b"25e-1", 2.5),
        (b"1e-400", 0.0),
        (b"1.8e308", math.inf),
        (b"-Infinity", -math.inf),
        (b"[Inf,-Inf,Infinity]", [math.inf, -math.inf, math.inf]),
        # what follows the value is not looked at
        (b"{} trailing garbage", Object()),
        (b"01", 0),
        (b"Infx", math.inf),
        (b"[1]]", [1]),
        (b"{}\0{", Object()),
        # a byte order mark, even a partial one
        (b"\xef\xbb\xbf[1]", [1]),
        (b"\xbb[1]", [1]),
        # strings
        (rb'"\"\\\/\b\f\n\r\t"', b'"\\/\b\f\n\r\t'),
        (rb'"\u00e9\u20AC"', "é€".encode()),
        (rb'"\ud83d\ude00"', "😀".encode()),
        (rb'"\udc00"', b"\xed\xb0\x80"),
        (rb'"a\u0000b"', b"a\0b"),
        (b'"\xff\x7f"', b"\xff\x7f"),
    ],
)  # fmt: skip
def test_reads(text: bytes, value: Value) -> None:
    parsed = parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_reads_nan() -> None:
    value = parse(b"[NaN, -NaN]")
    assert isinstance(value, list)
    assert [type(item) is float and math.isnan(item) for item in value] == [True, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"  ", "The document is empty. at offset: 2"),
        (b"]", "The document is empty. at offset: 0"),
        (b"\0{}", "The document is empty. at offset: 0"),
        (b"nul", "Invalid value. at offset: 3"),
        (b"[trux]", "Invalid value. at offset: 4"),
        (b"x", "Invalid value. at offset: 0"),
        (b"[-]", "Invalid value. at offset: 2"),
        (b"+1", "Invalid value. at offset: 0"),
        (b"Nan", "Invalid value. at offset: 2"),
        (b"-Ix", "Invalid value. at offset: 2"),
        (b"Infinix", "Invalid value. at offset: 6"),
        (b"[", "Invalid value. at offset: 1"),
        (b"[1,", "Invalid value. at offset: 3"),
        (b"[1,]", "Invalid value. at offset: 3"),
        (b"[,", "Invalid value. at offset: 1"),
        (b'{"a":', "Invalid value. at offset: 5"),
        (b'{"a":}', "Invalid value. at offset: 5"),
        (b"{", "Missing a name for object member. at offset: 1"),
        (b"{1", "Missing a name for object member. at offset: 1"),
        (b'{"a":1,}', "Missing a name for object member. at offset: 7"),
        (b'{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
        (b'{"a":1 "b"', "Missing a comma or '}' after an object member. at offset: 7"),
        (b"[1 2]", "Missing a comma or ']' after an array element. at offset: 3"),
        (b"[01]", "Missing a comma or ']' after an array element. at offset: 2"),
        (b"[[1}", "Missing a comma or ']' after an array element. at offset: 3"),
        (rb'"\u12g4"', "Incorrect hex digit after \\u escape in string. at offset: 1"),
        (rb'"\ud800x"', "The surrogate pair in string is invalid. at offset: 1"),
        (rb'"a\ud800\u0041"', "The surrogate pair in string is invalid. at offset: 2"),
        (rb'"\x"', "Invalid escape character in string. at offset: 1"),
        (b'"\\', "Invalid escape character in string. at offset: 1"),
        (b'"a\tb"', "Invalid escape character in string. at offset: 2"),
        (b'"abc', "Missing a closing quotation mark in string. at offset: 4"),
        (b'"a\0"', "Missing a closing quotation mark in string. at offset: 2"),
        (b"[1e400]", "Number too big to be stored in double. at offset: 1"),
        (b"[1e99999999999999]", "Number too big to be stored in double. at offset: 1"),
        (b"9" * 400, "Number too big to be stored in double. at offset: 0"),
        (b"9" * 5000, "Number too big to be stored in double. at offset: 0"),
        (b"[1.]", "Miss fraction part in number. at offset: 3"),
        (b"1.e5", "Miss fraction part in number. at offset: 2"),
        (b"1e", "Miss exponent in number. at offset: 2"),
        (b"2.5E+", "Miss exponent in number. at offset: 5"),
    ],
)
def test_refuses(text: bytes, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert str(caught.value) == message


def test_nests_without_limit() -> None:
    depth = 500_000
    value = parse(b"[" * depth + b"]" * depth)
    levels = 1
    while isinstance(value, list) and value:
        (value,) = value
        levels += 1
    assert levels == depth


@pytest.mark.parametrize(
    ("value", "name"),
    [(None, "Null"), (True, "True"), (False, "False"), (1, "Number"), (1.5, "Number"),
     (b"", "String"), ([], "Array"), (Object(), "Object")],
)  # fmt: skip
def test_type_name(value: Value, name: str) -> None:
    assert type_name(value) == name


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"[1, 2.0, NaN, -Infinity, null, true]", "[1, 2.0, NaN, -Infinity, null, true]"),
        (b"{}", "{}"),
        (b'{"a":[],"b":{}}', '{\n    "a": [],\n    "b": {}\n}'),
        (b'{"a":{"b":[1,2]}}', '{\n    "a": {\n        "b": [1, 2]\n    }\n}'),
        (b'[{"a":1},2]', '[{\n        "a": 1\n    }, 2]'),
        (rb'"\"\n\u00e9"', '"\\"\\né"'),
    ],
)
def test_debug_text(text: bytes, shown: str) -> None:
    assert debug_text(parse(text)) == shown


def test_debug_text_ends_after_256_bytes() -> None:
    assert debug_text([1] * 1000) == ("[" + "1, " * 85)[:256]
    assert debug_text("é".encode() * 1000) == '"' + "é" * 127


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9000000.0, "9e+06"),
        (999999.0, "999999.0"),
        (0.5, "0.5"),
        (0.0003, "0.0003"),
        (0.00003, "3e-05"),
        (555557.5, "555557.5"),
        (2.1666667, "2.16666675"),
        (1.79769e308, "1.79769e+308"),
        (0.1, "0.1"),
        (-0.0, "-0.0"),
    ],
)
def test_decimal_text(value: float, text: str) -> None:
    assert decimal_text(value) == text


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text()
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


def _plain(value: Value) -> object:
    if isinstance(value, Object):
        return {name.decode(): _plain(member) for name, member in value}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


@settings(deadline=None, derandomize=True)
@given(_JSON, st.booleans(), st.sampled_from([None, 1]))
def test_reads_what_json_dumps_writes(value: object, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert _plain(parse(text.encode())) == value


@settings(deadline=None, derandomize=True)
@given(st.binary(max_size=40))
def test_any_bytes_are_a_value_or_a_parse_error(text: bytes) -> None:
    try:
        value = parse(text)
    except ParseError as error:
        offset = int(str(error).rpartition(" ")[2])
        assert 0 <= offset <= len(text)
    else:
        assert debug_text(value)
