"""Bodies that are long, odd or hostile: read in runs, in blocks and by their text, and yet as the
step-by-step reader of `rapidjson` and the leaf-by-leaf one of `json_tensors` read them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.front.json.test_requests import (
    _bodies,
    _nests,
    assert_same,
    assert_tensors,
    signature,
)
from workbench.core.signature import Signature
from workbench.core.status import ServingError, not_found
from workbench.server.front.json import dense_tensors, fast_reader, rapidjson, text_runs
from workbench.server.front.json.requests import (
    _decode_predict_exactly,
    decode_examples,
    decode_plain,
    decode_predict,
)

MANY = 12_000


def outcome(work: Callable[[], object]) -> str:
    """The value, type by type, or the error's text."""
    try:
        return repr(work())
    except (rapidjson.ParseError, ServingError) as error:
        return f"{type(error).__name__}: {error}"


@contextmanager
def step_by_step() -> Iterator[None]:
    """`rapidjson` reads each byte by itself."""
    with (
        mock.patch.object(text_runs, "reads_alike", return_value=False),
        mock.patch.object(text_runs, "read_run", lambda text, position, *_: position),
    ):
        yield


@contextmanager
def leaf_by_leaf() -> Iterator[None]:
    """`json_tensors` looks at each value by itself."""
    with (
        mock.patch.object(dense_tensors, "_leaves", dense_tensors._leaves_of_deep),
        mock.patch.object(dense_tensors._Column, "add_alike", return_value=False),
    ):
        yield


_PIECES = [
    *(b"[", b"]", b"{", b"}", b",", b":", b" ", b"\n", b'"', b"\\", b"\0", b"\xff", b"\x1f"),
    *(b'"a"', b'"a":', b'"\\n"', b'"\\u0041"', b'"\\u00e9"', b'"\\ud83d\\ude00"', b'"\\ud800"'),
    *(b'"\\udc00"', b'"\xc3\xa9"', b'"\xff"', b'"\\u12"', b'"\\x"', b'"\x01"', b'""'),
    *(b"0", b"-0", b"-0.0", b"1", b"-1", b"01", b"1.5", b"1.", b"1e5", b"1e", b"1E+2", b"-"),
    *(b"1e308", b"1e309", b"1e400", b"1.8e308", b"1e-400", b"0e999", b"9" * 18, b"9" * 19),
    *(b"18446744073709551615", b"18446744073709551616", b"-9223372036854775809", b"9" * 400),
    *(b"0." + b"3" * 30, b"true", b"false", b"null", b"nul", b"NaN", b"-NaN", b"Inf", b"-Inf"),
    *(b"Infinity", b"-Infinity", b"Infi", b"[]", b"{}", b"[1,2]", b'{"a":1}', b"[1,]", b'{"a":}'),
    *(b"[[[[1],2],3],4]", b'{"a":{"a":{"a":{"a":1}}}}', b"\xef\xbb\xbf", b"1e5.5", b"1.5.5"),
]


@st.composite
def _texts(draw: st.DrawFn) -> bytes:
    """Something like JSON: pieces in a list or an object, or in no order at all."""
    pieces = draw(st.lists(st.sampled_from(_PIECES), max_size=12))
    kind = draw(st.sampled_from(["list", "object", "nested", "soup", "long"]))
    if kind == "list":
        return b"[" + b",".join(pieces) + draw(st.sampled_from([b"]", b"", b",]", b"]]"]))
    if kind == "object":
        keys = draw(st.lists(st.sampled_from([b'"a"', b'"\\u0061"', b"1"]), min_size=12))
        members = [key + b" : " + piece for key, piece in zip(keys, pieces, strict=False)]
        return b"{" + b" , ".join(members) + draw(st.sampled_from([b"}", b"", b",}"]))
    if kind == "nested":
        return b"[[1],[" + b",".join(b'{"a": [%b, 1]}' % piece for piece in pieces) + b"], 2]"
    if kind == "long":  # longer than what is taken at a time
        return b"[" + b",".join(pieces[:2] * 700) + b"]"
    return b"".join(pieces)


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(_texts() | _bodies())
def test_text_in_runs_reads_as_step_by_step(text: bytes) -> None:
    with step_by_step():
        expected = outcome(lambda: rapidjson.parse(text))
    assert outcome(lambda: rapidjson.parse(text)) == expected
    # The runs alone, where the whole text is not left to the interpreter's scanner.
    with mock.patch.object(text_runs, "reads_alike", return_value=False):
        assert outcome(lambda: rapidjson.parse(text)) == expected


_LEAVES = st.sampled_from(
    [1, 1.5, 300, 2**31, 2**63, -1, True, None, "a", {"b64": "aGk="}, {"b64": "?"}, {"b64": 1}, {}]
)
_DTYPES = st.sampled_from(["float", "int8", "int64", "uint32", "uint64", "bool", "string", "half"])


@st.composite
def _instances(draw: st.DrawFn) -> list[Any]:
    """Rows that are mostly alike: values, or objects of them."""
    cell = draw(st.sampled_from([1, 2.5, "a", {"b64": "aGk="}, True]))
    shape = draw(st.sampled_from([[], [2], [2, 2], [0], [1, 0, 2]]))
    for size in reversed(shape):
        cell = [cell] * size
    odd = _nests() | _LEAVES | st.lists(_LEAVES, max_size=3)
    rows: list[Any] = [cell] * draw(st.integers(1, 6))
    if draw(st.booleans()):
        rows = [
            {"x": row, "y": row} if draw(st.booleans()) else {"y": row, "x": row} for row in rows
        ]
        odd = st.dictionaries(st.sampled_from(["x", "y", "b64", "z"]), odd) | odd
    for at in draw(st.lists(st.integers(0, len(rows) - 1), max_size=2)):
        rows[at] = draw(odd)
    return rows


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(
    _instances(), _DTYPES, st.sampled_from([None, "float", "string"]), st.sampled_from([1, 2, 9])
)
def test_blocks_of_rows_read_as_leaf_by_leaf(
    rows: list[Any], x: str, y: str | None, block: int
) -> None:
    dtypes = {"x": x} if y is None else {"x": x, "y": y}
    for key in ("instances", "inputs"):
        # A key that comes twice cannot be made with a dictionary.
        body = json.dumps({key: rows}).replace('"z"', '"x"').encode()

        def read(body: bytes = body) -> Any:
            request = _decode_predict_exactly(body, signature(**dtypes))
            return {name: (t.dtype, t.shape, t.tolist()) for name, t in request.inputs.items()}

        with leaf_by_leaf():
            expected = outcome(read)
        with mock.patch.object(dense_tensors, "_BLOCK", block):
            assert outcome(read) == expected


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(_bodies(), st.sampled_from(["float", "int64", "string"]), st.sampled_from([None, "float"]))
def test_many_members_and_rows_read_as_few(body: bytes, x: str, y: str | None) -> None:
    dtypes = {"x": x} if y is None else {"x": x, "y": y}
    with mock.patch.multiple(fast_reader, _MANY=1, _LARGE_BYTES=0):
        fast = outcome(lambda: fast_reader.decode_plain(body, signature(**dtypes)))
        if fast == "None":
            return
        if fast.startswith("ServingError"):
            assert outcome(lambda: _decode_predict_exactly(body, signature(**dtypes))) == fast
            return
        request = fast_reader.decode_plain(body, signature(**dtypes))
    assert request is not None
    assert_same(request, _decode_predict_exactly(body, signature(**dtypes)))


def members(count: int, suffix: str = "") -> str:
    return ",".join(f'"{i}":1' for i in range(count)) + suffix


def rows(unit: str, count: int = MANY) -> str:
    return ",".join([unit] * count)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{" + members(MANY) + "}", "Missing 'inputs' or 'instances' key"),
        ('{"inputs":{' + members(MANY) + "}}", "Missing named input: x in 'inputs' object."),
        (
            '{"instances":[{' + members(MANY) + "}]}",
            "Failed to process element: 0 key: 0 of 'instances' list. Error: INVALID_ARGUMENT: "
            "JSON object: does not have named input: 0",
        ),
        (
            '{"instances":[{"x":[1,true],' + members(MANY) + "}]}",
            "Failed to process element: 0 key: x of 'instances' list. Error: INVALID_ARGUMENT: "
            "JSON Value: true Type: True is not of expected type: float",
        ),
        (
            '{"instances":[{"x":1},' + rows('{"x":1}') + ',{"y":1}]}',
            f"Failed to process element: {MANY + 1} key: y of 'instances' list. Error: "
            "INVALID_ARGUMENT: JSON object: does not have named input: y",
        ),
        (
            '{"instances":[' + rows('{"x":1}') + ",[1]]}",
            f"Expecting object but got list at item {MANY} of input list",
        ),
        (
            '{"instances":[' + rows("[1,2]") + ",[1,2,3]]}",
            f"Failed to process element: {MANY} of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting tensor size: 2 but got: 3",
        ),
        (
            '{"instances":[' + rows("1") + ',"1"]}',
            f"Failed to process element: {MANY} of 'instances' list. Error: INVALID_ARGUMENT: "
            'JSON Value: "1" Type: String is not of expected type: float',
        ),
        (
            '{"inputs":[' + rows("[[1],[2]]") + ",[[1],[2,3]]]}",
            "Encountered list at unexpected size: 2 at level: 2 expected size: 1",
        ),
        (
            '{"inputs":[' + rows("1") + ",[1]]}",
            "Encountered list at unexpected level: 1 expected < 1",
        ),
        (
            '{"instances":[' + rows("1", 10),
            "JSON Parse error: Missing a comma or ']' after an array element. at offset: 33",
        ),
        (
            "{" + members(MANY, ","),
            f"JSON Parse error: Missing a name for object member. at offset: "
            f"{len(members(MANY, ',')) + 1}",
        ),
        (
            "{" + members(MANY, ',"last"}'),
            "JSON Parse error: Missing a colon after a name of object member. at offset: "
            f"{len(members(MANY)) + 8}",
        ),
    ],
    ids=range(13),
)
def test_what_is_wrong_is_told_as_ever(body: str, message: str) -> None:
    with pytest.raises(ServingError) as refused:
        decode_predict(body.encode(), signature(x="float"))
    assert refused.value.message == message
    with step_by_step(), leaf_by_leaf(), pytest.raises(ServingError) as slowly:
        _decode_predict_exactly(body.encode(), signature(x="float"))
    assert slowly.value == refused.value


@pytest.mark.parametrize(
    ("body", "dtype", "expected"),
    [
        ('{"inputs":{' + members(MANY, ',"x":[[1],[2]]') + "}}", "float", [[1], [2]]),
        ('{"inputs":{"x":7,"x":8,' + members(MANY) + "}}", "int32", 7),
        ("{" + members(MANY, ',"instances":[3]') + "}", "float", [3]),
        ('{"inputs":{' + members(MANY, ',"x":["a"]') + "}}", "string", [b"a"]),
        ('{"instances":[{' + rows('"x":1') + "}]}", "float", [1]),
        ('{"instances":[' + rows('{"x":1.5}') + "]}", "float", [1.5] * MANY),
        ('{"instances":[' + rows('{ "x" : [1, 2] }') + "]}", "int64", [[1, 2]] * MANY),
        ('{"instances":[' + rows('{"x":1}') + ',{"x":-Inf}]}', "float", [1] * MANY + [-np.inf]),
        ('{"instances":[' + rows("[]") + "]}", "float", [[]] * MANY),
        ('{"instances":[' + rows('{"b64":"aGk="}') + "]}", "string", [b"hi"] * MANY),
        ('{"instances":["' + "\\n" * MANY + '"],"z":NaN}', "string", [b"\n" * MANY]),
        ('{"instances":["' + "\\u00e9" * MANY + '"],"z":NaN}', "string", ["é".encode() * MANY]),
        ('{"instances":[0.' + "3" * MANY + "]}", "double", [1 / 3]),
        ("{" + rows('"instances":[1]') + "}", "float", [1]),
    ],
    ids=range(14),
)  # fmt: skip
def test_odd_and_large_is_read_right(body: str, dtype: str, expected: Any) -> None:
    request = decode_predict(body.encode(), signature(x=dtype))
    with step_by_step(), leaf_by_leaf():
        assert_same(request, _decode_predict_exactly(body.encode(), signature(x=dtype)))
    np.testing.assert_array_equal(request.inputs["x"].tolist(), expected)


@pytest.mark.parametrize(
    "body",
    [
        "{" + members(MANY) + "}",
        '{"inputs":{' + members(MANY) + "}}",
        '{"inputs":{' + members(MANY, ',"x":[1]') + "}}",
        '{"instances":[{"x":[1.5],' + members(MANY) + "}]}",
        '{"instances":[' + rows('{"x":1}') + "]}",
    ],
    ids=["top", "inputs", "inputs with the input", "instance", "rows"],
)
def test_objects_do_without_the_slow_reader(body: str) -> None:
    with mock.patch.object(rapidjson, "_parse_in_steps") as steps:
        try:
            assert decode_plain(body.encode(), signature(x="float")) is not None
        except ServingError:
            pass  # refused, and so answered
        else:
            assert "x" in body
    steps.assert_not_called()


@pytest.mark.parametrize("names", [("x", "y"), ("a/b", "c-1"), ("e1", "e2")])
def test_many_rows_of_several_inputs(names: tuple[str, str]) -> None:
    first, second = names
    dtypes = {first: "float", second: "double"}
    rows = [{second: i + 0.5, first: [i, -i]} for i in range(200)]
    body = json.dumps({"instances": rows}).encode()
    request = fast_reader.decode_plain(body, signature(**dtypes))
    assert request is not None
    expected = {
        first: np.array([[i, -i] for i in range(200)], np.float32),
        second: np.array([i + 0.5 for i in range(200)]),
    }
    assert_tensors(request.inputs, expected)
    assert all(tensor.flags.c_contiguous for tensor in request.inputs.values())


@pytest.mark.parametrize(
    "odd",
    ['{"x":1,"y":2,"x":3}', '{"x":1}', '{"y":1,"x":2}', '{"x":1,"y":[2]}', '{"x":1,"y":"2"}',
     '{"x":1,"y":"x"}', '{"x":{"y":2}}', '{"x":1, "y" :2,"z":3}', '{"x":1,"y":true}',
     '{"x ":1,"y":2}', '{"x":1,"y":2},3', '{"x":1,"y":2},[]'],
)  # fmt: skip
def test_a_row_unlike_the_others_is_left_to_the_exact_reader(odd: str) -> None:
    alike = rows('{"x":1,"y":2}', 100)
    body = f'{{"instances": [{alike},{odd}]}}'
    assert fast_reader.decode_plain(body.encode(), signature(x="float", y="float")) is None


def test_a_list_longer_than_simdjson_counts() -> None:
    count = fast_reader._LONGEST + 10
    body = b'{"instances":[' + b"1," * (count - 1) + b"2]}"
    request = fast_reader.decode_plain(body, signature(x="uint8"))
    assert request is not None
    assert request.inputs["x"].shape == (count,)
    assert (request.inputs["x"][0], request.inputs["x"][-1]) == (1, 2)


def test_examples_of_many_kinds() -> None:
    features: dict[str, Any] = {
        **{
            f"i{i}": value for i, value in enumerate([0, 127, 128, -1, 2**63 - 1, True, [1, False]])
        },
        **{f"f{i}": value for i, value in enumerate([1.5, 1e300, [0.5, -2.5]])},
        **{"text": "a", "raw": {"b64": base64.b64encode(b"\0").decode()}, "none": []},
    }
    body = json.dumps({"examples": [features] * 2}).encode()
    tf_example = pytest.importorskip("tensorflow").train.Example
    first, second = decode_examples(body).examples
    assert first == second
    read = tf_example.FromString(first).features.feature
    assert read["i3"].int64_list.value == [-1]
    assert read["i4"].int64_list.value == [2**63 - 1]
    assert read["i6"].int64_list.value == [1, 0]
    assert read["f1"].float_list.value == [float("inf")]
    assert read["raw"].bytes_list.value == [b"\0"]
    assert read["none"].WhichOneof("kind") is None
    assert set(read) == set(features)


def test_a_signature_is_looked_up_before_many_members_are_refused() -> None:
    def signature_of(name: str) -> Signature:
        raise not_found("no such model")

    with pytest.raises(ServingError, match="no such model"):
        decode_predict(("{" + members(MANY) + "}").encode(), signature_of)
