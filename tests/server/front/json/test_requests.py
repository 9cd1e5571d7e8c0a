import base64
import contextlib
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import Code, ServingError, not_found
from workbench.formats.dtypes import numpy_dtype
from workbench.formats.wire.tf_example import Feature, encode_example
from workbench.server.front.json import fast_reader
from workbench.server.front.json.requests import (
    ExamplesRequest,
    PredictRequest,
    _decode_predict_exactly,
    decode_examples,
    decode_predict,
)
from workbench.server.front.json.responses import encode_predict

DEEP = b"[" * 500_000 + b"]" * 500_000


def signature(**dtypes: str) -> Callable[[str], Signature]:
    found = Signature({name: TensorInfo(dtype, None) for name, dtype in dtypes.items()}, {})
    return lambda name: found


def decode(body: bytes | str, **dtypes: str) -> PredictRequest:
    return decode_predict(body.encode() if isinstance(body, str) else body, signature(**dtypes))


def refusal(body: bytes | str, **dtypes: str) -> ServingError:
    with pytest.raises(ServingError) as caught:
        decode(body, **dtypes)
    return caught.value


def assert_same(request: PredictRequest, other: PredictRequest) -> None:
    assert (request.signature_name, request.row_format) == (other.signature_name, other.row_format)
    assert_tensors(request.inputs, other.inputs)


def assert_tensors(inputs: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert inputs.keys() == expected.keys()
    for name, tensor in inputs.items():
        assert tensor.dtype == expected[name].dtype
        np.testing.assert_array_equal(tensor, expected[name], strict=True)
        if tensor.dtype.kind == "f":
            signed = ~np.isnan(tensor)  # JSON has zeros of both signs, but one NaN
            np.testing.assert_array_equal(
                np.signbit(tensor[signed]), np.signbit(expected[name][signed])
            )


def strings(values: Any) -> np.ndarray:
    return np.array(values, object)


INT, FLOAT, DOUBLE = np.int32, np.float32, np.float64

# TensorFlow Serving's json_tensor_test.cc: body, dtypes of the inputs, row format, tensors.
ACCEPTED: list[tuple[str | bytes, dict[str, str], bool, dict[str, np.ndarray]]] = [
    ('{"instances": [[1,2],[3,4],[5,6]]}', {"default": "int32"}, True,
     {"default": np.array([[1, 2], [3, 4], [5, 6]], INT)}),
    (b'{"instances":[1], "nested": ' + DEEP + b"}", {"default": "int32"}, True,
     {"default": np.array([1], INT)}),
    ('{"instances": [1, 2.0, 3, 4, 5.003, 0.007, 0.0]}', {"x": "float"}, True,
     {"x": np.array([1, 2, 3, 4, 5.003, 0.007, 0], FLOAT)}),
    ('{"instances": [1.0, 2, 3, 4, 0.662, 0, 0.0]}', {"x": "double"}, True,
     {"x": np.array([1, 2, 3, 4, 0.662, 0, 0], DOUBLE)}),
    ('{"instances": [1435774380]}', {"x": "float"}, True, {"x": np.array([1435774380], FLOAT)}),
    ('{"instances": [1435774380.0]}', {"x": "float"}, True, {"x": np.array([1435774380], FLOAT)}),
    ('{"instances": [1.79769e+308, -1.79769e+308]}', {"x": "float"}, True,
     {"x": np.array([np.inf, -np.inf], FLOAT)}),
    ('{"instances": [2.22507e-308, -2.22507e-308]}', {"x": "float"}, True,
     {"x": np.array([0.0, -0.0], FLOAT)}),
    ('{"instances": [[1,2],[3,4],[5,6]]}X', {"x": "int32"}, True,
     {"x": np.array([[1, 2], [3, 4], [5, 6]], INT)}),
    ('{"instances":[{"b64":"aGVsbG8="},{"b64":"d29ybGQ="}]}', {"x": "string"}, True,
     {"x": strings([b"hello", b"world"])}),
    ('{"instances":[[{"b64":"aGVsbG8="}],[{"b64":"d29ybGQ="}]]}', {"x": "string"}, True,
     {"x": strings([[b"hello"], [b"world"]])}),
    ('{"instances":[{"default": [[{"b64":"aGVsbG8="}],[{"b64":"d29ybGQ="}]]}]}',
     {"default": "string"}, True, {"default": strings([[[b"hello"], [b"world"]]])}),
    ('{"instances": [{"i": [[1,2],[3,4],[5,6]], "s": ["foo","bar"], "f": [1.0, NaN], "d": [NaN]},'
     '{"i": [[7,8],[9,0],[1,2]], "s": ["baz","bat"], "f": [2.0, Infinity], "d": [2.0]}]}',
     {"i": "int32", "s": "string", "f": "float", "d": "double"}, True,
     {"i": np.array([[[1, 2], [3, 4], [5, 6]], [[7, 8], [9, 0], [1, 2]]], INT),
      "s": strings([[b"foo", b"bar"], [b"baz", b"bat"]]),
      "f": np.array([[1, np.nan], [2, np.inf]], FLOAT), "d": np.array([[np.nan], [2]], DOUBLE)}),
    ('{"inputs": {"i": [[[1,2],[3,4],[5,6]]]}}', {"i": "int32"}, False,
     {"i": np.array([[[1, 2], [3, 4], [5, 6]]], INT)}),
    ('{"inputs": [[[1,2],[3,4],[5,6]]]}', {"i": "int32"}, False,
     {"i": np.array([[[1, 2], [3, 4], [5, 6]]], INT)}),
    ('{"inputs": {"i": [[[1,2]]], "s": ["foo","bar"], "b": {"b64":"aGVsbG8="}}}',
     {"i": "int32", "s": "string", "b": "string"}, False,
     {"i": np.array([[[1, 2]]], INT), "s": strings([b"foo", b"bar"]),
      "b": strings(b"hello")}),
    # beyond that test
    ('{"inputs": 2.5}', {"x": "float"}, False, {"x": np.array(2.5, FLOAT)}),
    ('{"inputs": {"b64": "aGVsbG8"}}', {"x": "string"}, False, {"x": strings(b"hello")}),
    ('{"inputs": {"x": [1], "extra": [[1], 2]}}', {"x": "int32"}, False,
     {"x": np.array([1], INT)}),
    ('{"instances": [[], []]}', {"x": "float"}, True, {"x": np.zeros((2, 0), FLOAT)}),
    ('{"instances": [1], "instances": 5}', {"x": "int32"}, True, {"x": np.array([1], INT)}),
    ('{"instances": [{"x": 1, "x": 2}, {"x": 3, "x": 4}]}', {"x": "int32"}, True,
     {"x": np.array([1, 2], INT)}),
    ('{"instances": [[[1.5],[2]],[[3],[-0]]]}', {"x": "float"}, True,
     {"x": np.array([[[1.5], [2]], [[3], [0]]], FLOAT)}),
    ('{"instances": [{"a": 1, "b": [1.5]}, {"a": 2, "b": [2.5]}]}', {"a": "int64", "b": "double"},
     True, {"a": np.array([1, 2], np.int64), "b": np.array([[1.5], [2.5]], DOUBLE)}),
    ('{"inputs": {"a": 1, "b": [[1.5]]}}', {"b": "float", "a": "uint8"}, False,
     {"a": np.array(1, np.uint8), "b": np.array([[1.5]], FLOAT)}),
    ('{"instances": [{"b64": "aGk="}]}', {"x": "string", "y": "int32"}, True,
     {"x": strings([b"hi"])}),
    ('{"instances": [300, -1]}', {"x": "uint8"}, True, {"x": np.array([44, 255], np.uint8)}),
    ('{"instances": [200, -40000]}', {"x": "int8"}, True, {"x": np.array([-56, -64], np.int8)}),
    ('{"instances": [40000]}', {"x": "int16"}, True, {"x": np.array([-25536], np.int16)}),
    ('{"instances": [4294967295]}', {"x": "uint32"}, True, {"x": np.array([2**32 - 1], np.uint32)}),
    ('{"instances": [9223372036854775807, -9223372036854775808]}', {"x": "int64"}, True,
     {"x": np.array([2**63 - 1, -(2**63)], np.int64)}),
    ('{"instances": [18446744073709551615]}', {"x": "uint64"}, True,
     {"x": np.array([2**64 - 1], np.uint64)}),
    ('{"instances": [18446744073709551616]}', {"x": "float"}, True,
     {"x": np.array([2**64], FLOAT)}),
    ('{"instances": [true, false]}', {"x": "bool"}, True, {"x": np.array([True, False])}),
    (b'{"instances": ["\xff", "\\u00e9"]}', {"x": "string"}, True,
     {"x": strings([b"\xff", "é".encode()])}),
    (b"\xef\xbb\xbf" + b' {"instances":[1]}', {"x": "int32"}, True, {"x": np.array([1], INT)}),
]  # fmt: skip


@pytest.mark.parametrize(("body", "dtypes", "row_format", "tensors"), ACCEPTED)
def test_accepts(
    body: str | bytes, dtypes: dict[str, str], row_format: bool, tensors: dict[str, np.ndarray]
) -> None:
    request = decode(body, **dtypes)
    assert_same(request, PredictRequest("serving_default", tensors, row_format))


ONE_ELEMENT = "Failed to process element: {} of 'instances' list. Error: INVALID_ARGUMENT: {}"
BOTH_KEYS = (
    'JSON Value: {\n    "instances": [1],\n    "inputs": 1\n} Not formatted correctly expecting '
    "only one of 'inputs' or 'instances' keys to exist "
)
REFUSED: list[tuple[str | bytes, dict[str, str], str]] = [
    ("", {"x": "int32"}, "JSON Parse error: The document is empty"),
    (" ", {"x": "int32"}, "JSON Parse error: The document is empty. at offset: 1"),
    ('{"instances": [1,]}', {"x": "int32"}, "JSON Parse error: Invalid value. at offset: 17"),
    ('{"instances": [1e400]}', {"x": "float"},
     "JSON Parse error: Number too big to be stored in double. at offset: 15"),
    ("[1, 2]", {"x": "int32"}, "JSON Value: [1, 2] Is not object"),
    ("5", {"x": "int32"}, "JSON Value: 5 Is not object"),
    ('{"signature_name": 5, "instances": [1]}', {"x": "int32"},
     'JSON Value: {\n    "signature_name": 5,\n    "instances": [1]\n} not formatted correctly. '
     "'signature_name' key must be a string value."),
    (b'{"signature_name": ' + DEEP + b"}", {"x": "int32"},
     'JSON Value: {\n    "signature_name": ' + "[" * 232 + " not formatted correctly. "
     "'signature_name' key must be a string value."),
    ('{"instances": [1], "inputs": 1}', {"x": "int32"}, BOTH_KEYS),
    ('{"instances": 1}', {"x": "int32"},
     'JSON Value: {\n    "instances": 1\n} Expecting \'instances\' to be an list/array'),
    ('{"instances": []}', {"x": "int32"},
     'JSON Value: {\n    "instances": []\n} No values in \'instances\' array'),
    ("{}", {"x": "int32"}, "Missing 'inputs' or 'instances' key"),
    # json_tensor_test.cc
    ('{"instances": [[1,2],[3,4],[5,6,7]]}', {"x": "int32"},
     ONE_ELEMENT.format(2, "Expecting tensor size: 2 but got: 3")),
    ('{"instances": [[1,2],[3,4],[[5,6]]]}', {"x": "int32"},
     ONE_ELEMENT.format(2, "Expecting shape [2] but got: [1,2]")),
    ('{"instances": [1, [1]]}', {"x": "int32"},
     ONE_ELEMENT.format(1, "Expecting shape [] but got: [1]")),
    ('{"instances": [[1,2],["a","b"]]}', {"x": "int32"},
     ONE_ELEMENT.format(1, 'JSON Value: "a" Type: String is not of expected type: int32')),
    ('{"instances": [{"i": [[1,2],[3,4],[5,6]], "s": "a"}, '
     '{"s": "b", "i": [[[7,8],[9,0],[1,2]]]}]}', {"i": "int32", "s": "string"},
     ONE_ELEMENT.format("1 key: i", "Expecting shape [3,2] but got: [1,3,2]")),
    ('{"instances": [{"i": [[1,2],[3,4],[5,6],[7,8]], "s": "a"}, '
     '{"s": "b", "i": [[7,8],[9,0],[1,2]]}]}', {"i": "int32", "s": "string"},
     ONE_ELEMENT.format("1 key: i", "Expecting tensor size: 8 but got: 6")),
    ('{"instances": [{"i": 1}, [1,20,30]]}', {"i": "int32"},
     "Expecting object but got list at item 1 of input list"),
    ('{"instances": ["baz", "bar", {"s": "a"}]}', {"s": "string"},
     "Expecting value/list but got object at item 2 of input list"),
    # shapes
    ('{"instances": [[[1,2],[3,4,5]]]}', {"x": "int32"},
     ONE_ELEMENT.format(0, "Encountered list at unexpected size: 3 at level: 1 expected size: 2")),
    ('{"instances": [[1,[2]]]}', {"x": "int32"},
     ONE_ELEMENT.format(0, "Encountered list at unexpected level: 1 expected < 1")),
    ('{"instances": [[[1],2]]}', {"x": "int32"},
     ONE_ELEMENT.format(
         0, "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2")),
    ('{"inputs": [[1,2],[3]]}', {"x": "int32"},
     "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
    ('{"inputs": ' + "[" * 70 + "1" + "]" * 70 + "}", {"x": "int32"}, "tensor parsing error: x"),
    # dtypes
    ('{"inputs": [1.0]}', {"x": "int32"},
     "JSON Value: 1.0 Type: Number is not of expected type: int32"),
    ('{"inputs": 2147483648}', {"x": "uint8"},
     "JSON Value: 2147483648 Type: Number is not of expected type: uint8"),
    ('{"inputs": [-1]}', {"x": "uint32"},
     "JSON Value: -1 Type: Number is not of expected type: uint32"),
    ('{"inputs": [-1]}', {"x": "uint64"},
     "JSON Value: -1 Type: Number is not of expected type: uint64"),
    ('{"inputs": [9223372036854775808]}', {"x": "int64"},
     "JSON Value: 9223372036854775808 Type: Number is not of expected type: int64"),
    ('{"inputs": [true]}', {"x": "float"},
     "JSON Value: true Type: True is not of expected type: float"),
    ('{"inputs": [null]}', {"x": "double"},
     "JSON Value: null Type: Null is not of expected type: double"),
    ('{"inputs": [1]}', {"x": "bool"}, "JSON Value: 1 Type: Number is not of expected type: bool"),
    ('{"inputs": [1]}', {"x": "string"},
     "JSON Value: 1 Type: Number is not of expected type: string"),
    ('{"inputs": [{}]}', {"x": "int64"},
     "JSON Value: {} Type: Object is not of expected type: int64"),
    ('{"inputs": [{"b64": 1}]}', {"x": "string"},
     'JSON Value: {\n    "b64": 1\n} not formatted correctly for base64 data'),
    ('{"inputs": [{"b64": "a"}]}', {"x": "string"}, "Unable to base64 decode"),
    ('{"instances": [1]}', {"x": "half"},
     "Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: "
     "Conversion of JSON Value: 1 to type: half"),
    # names
    ('{"instances": [1]}', {"x": "int32", "y": "int32"},
     "instances is a plain list, but expecting list of objects as multiple input tensors "
     "required as per tensorinfo_map"),
    ('{"inputs": [1]}', {"x": "int32", "y": "int32"},
     "inputs is a plain value/list, but expecting an object as multiple input tensors "
     "required as per tensorinfo_map"),
    ('{"instances": [{"y": 1}]}', {"y": "int32", "x": "int32"},
     "Failed to process element: 0 of 'instances' list. JSON object: "
     '{\n    "y": 1\n} keys must be equal to: x,y'),
    ('{"instances": [{"q": 1}]}', {"x": "int32"},
     ONE_ELEMENT.format("0 key: q", "JSON object: does not have named input: q")),
    ('{"inputs": {"y": 1}}', {"x": "int32"}, "Missing named input: x in 'inputs' object."),
    ('{"instances": [1]}', {}, "Failed to get input map for signature: DEFAULT"),
    ('{"instances": [1], "signature_name": "s"}', {}, "Failed to get input map for signature: s"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "dtypes", "message"), REFUSED)
def test_refuses(body: str | bytes, dtypes: dict[str, str], message: str) -> None:
    assert refusal(body, **dtypes) == ServingError(Code.INVALID_ARGUMENT, message)


def test_columns_of_a_dtype_that_json_lacks_are_unimplemented() -> None:
    message = "Conversion of JSON Value: 1.5 to type: half"
    assert refusal('{"inputs": [1.5]}', x="half") == ServingError(Code.UNIMPLEMENTED, message)


@pytest.mark.parametrize(
    ("encoded", "decoded"),
    [("", b""), ("aGk=", b"hi"), ("aGk", b"hi"), (" aG\nk = ", b"hi"), ("aA==", b"h"),
     ("aA", b"h"), ("aGk.", b"hi"), ("+/+/", b"\xfb\xff\xbf"), ("aA=", None), ("aGk==", None),
     ("aGVs=", None), ("a", None), ("a-_b", None), ("aG=k", None), ("é", None)],
)  # fmt: skip
def test_base64(encoded: str, decoded: bytes | None) -> None:
    body = json.dumps({"inputs": {"b64": encoded}})
    if decoded is None:
        assert refusal(body, x="string").message == "Unable to base64 decode"
    else:
        assert decode(body, x="string").inputs["x"].item() == decoded


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_any_buffer_is_a_body(wrap: Callable[[bytes], Any]) -> None:
    request = decode_predict(wrap(b'{"instances": [1, 2]}'), signature(x="int32"))
    assert_tensors(request.inputs, {"x": np.array([1, 2], np.int32)})


class TestLookUp:
    @pytest.mark.parametrize(
        ("given", "name"), [("", "serving_default"), ('"signature_name": "",', "serving_default"),
                            ('"signature_name": "predict_images",', "predict_images")],
    )  # fmt: skip
    @pytest.mark.parametrize("instances", ["[[1, 2]]", "[[1, 2], [3]]", "[NaN]", '["a"]', "7"])
    def test_happens_once_with_the_effective_name(
        self, given: str, name: str, instances: str
    ) -> None:
        calls = []

        def signature_of(asked: str) -> Signature:
            calls.append(asked)
            return Signature({"x": TensorInfo("int32", None)}, {})

        body = f'{{{given} "instances": {instances}}}'.encode()
        with contextlib.suppress(ServingError):
            assert decode_predict(body, signature_of).signature_name == name
        assert calls == [name]

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"{", "JSON Parse error: Missing a name for object member. at offset: 1"),
            (b"[]", "JSON Value: [] Is not object"),
            (b'{"signature_name": null}',
             'JSON Value: {\n    "signature_name": null\n} not formatted correctly. '
             "'signature_name' key must be a string value."),
            (b'{"instances": [1], "inputs": [1]}', "no such model"),
            (b'{"instances": [[1], [2, 3]]}', "no such model"),
            (b'{"instances": [1]}', "no such model"),
            (b"{}", "no such model"),
        ],
    )  # fmt: skip
    def test_comes_after_the_document_and_before_its_tensors(
        self, body: bytes, message: str
    ) -> None:
        def signature_of(name: str) -> Signature:
            raise not_found("no such model")

        with pytest.raises(ServingError) as caught:
            decode_predict(body, signature_of)
        assert caught.value.message == message


class TestFastPath:
    @pytest.mark.parametrize(
        ("body", "dtypes"),
        [
            (b'{"instances": [[1.5, 2], [3, 4]]}', {"x": "float"}),
            (b'{"instances": [1, 2], "signature_name": "s"}', {"x": "uint8"}),
            (b'{"instances": [[[[1]], [[2]]]]}', {"x": "double"}),
            (b'{"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}', {"x": "int64"}),
            (b'{"instances": [{"y": 1, "x": [1]}, {"y": 2, "x": [3]}]}',
             {"x": "float", "y": "uint64"}),
            (b'{"inputs": [[1, 2]]}', {"x": "uint32"}),
            (b'{"inputs": {"a": [[1, 2]], "b": 3.5}}', {"a": "float", "b": "double"}),
            ('{"instances": ["a", "\u00e9\\n\\u0000", ""]}'.encode(), {"x": "string"}),
            (b'{"instances": [[["a"], ["b"]]], "signature_name": "s"}', {"x": "string"}),
            (b'{"instances": [[true, false], [false, true]]}', {"x": "bool"}),
            (b'{"instances": [{"b64": "aGk="}, "plain", {"b64": ""}]}', {"x": "string"}),
            (b'{"inputs": [[{"b64": "aGk="}]]}', {"x": "string"}),
            (b'{"instances": [{"s": "a", "x": [1, 2.5], "b": true, "n": -0}, '
             b'{"n": 7, "b": false, "x": [3, -0], "s": {"b64": "aGk"}}]}',
             {"s": "string", "x": "float", "b": "bool", "n": "int64"}),
            (b'{"inputs": {"s": ["a"], "x": 18446744073709551615}}',
             {"s": "string", "x": "uint64"}),
        ],
    )  # fmt: skip
    def test_takes_plain_requests(self, body: bytes, dtypes: dict[str, str]) -> None:
        fast = fast_reader.decode_plain(body, signature(**dtypes))
        assert fast is not None
        assert_same(fast, _decode_predict_exactly(body, signature(**dtypes)))

    @pytest.mark.parametrize(
        "instances",
        ["[[1, 2], [3], [4, 5, 6]]", "[[1, 2], [3, [4]]]", "[[1], []]", "[[], [1]]", "[1, [2]]",
         "[[[1], [2, 3]], [[4, 5], [6]]]", "[1, true]", "[null]", '["1"]', "[]", "[{}]", "{}",
         "[[1, {}]]", "[1e400]", "[18446744073709551616]", '[1], "a": "]"', '[1], "a": [2]'],
    )  # fmt: skip
    def test_leaves_the_rest_to_the_exact_reader(self, instances: str) -> None:
        body = f'{{"instances": {instances}}}'.encode()
        assert fast_reader.decode_plain(body, signature(x="float")) is None

    @pytest.mark.parametrize(
        "body",
        [
            b'{"instances": [{"x": [1, 2]}, {"x": [1, [2]]}]}',
            b'{"instances": [{"x": [1, 2]}, {"x": [1]}, {"x": [1, 2, 3]}]}',
            b'{"instances": [{"x": [1]}, {"x": 1}]}',
            b'{"instances": [{"x": 1}, {"x": "1"}]}',
            b'{"instances": [{"x": 1}, {"x": true}]}',
            b'{"instances": [{"x": 1}, {"y": 1}]}',
            b'{"instances": [{"x": 1, "x": 2}]}',
            b'{"instances": [{"x": 1}, 1]}',
            b'{"instances": [{"\\u0078": [1]}]}',
            b'{"inputs": {"x": [1, [2]]}}',
            b'{"inputs": {"x": [1], "y": 1}}',
            b'{"inputs": {"x": [1]}, "a": {}}',
            b'{"inputs": 1}',
        ],
    )
    def test_leaves_irregular_members_to_the_exact_reader(self, body: bytes) -> None:
        assert fast_reader.decode_plain(body, signature(x="float")) is None

    @pytest.mark.parametrize(
        ("body", "dtypes"),
        [
            (b'{"instances": [["a", "b"], ["c"]]}', {"x": "string"}),
            (b'{"instances": ["a", ["b"]]}', {"x": "string"}),
            (b'{"instances": ["a", 1]}', {"x": "string"}),
            (b'{"instances": ["a", null]}', {"x": "string"}),
            (b'{"instances": ["\xff"]}', {"x": "string"}),
            (b'{"instances": ["\\ud800"]}', {"x": "string"}),
            (b'{"instances": ["a"], "inputs": ["a"]}', {"x": "string"}),
            (b'{"instances": "a"}', {"x": "string"}),
            (b'{"instances": ["a"]}', {"x": "string", "y": "string"}),
            (b'{"instances": [true, 1]}', {"x": "bool"}),
            (b'{"instances": [0, 1]}', {"x": "bool"}),
            (b'{"instances": [{"b64": "?"}]}', {"x": "string"}),
            (b'{"instances": [{"b64": 1}]}', {"x": "string"}),
            (b'{"instances": [{"b64": "aGk=", "b64": "aGk="}]}', {"x": "string"}),
            (b'{"instances": [{"b64": "aGk=", "b6\\u0034": "aGk="}]}', {"x": "string"}),
            (b'{"instances": [{"x": "a"}, {"b64": "aGk="}]}', {"x": "string"}),
            (b'{"instances": [{"x": "a", "x": "b"}]}', {"x": "string"}),
            (b'{"instances": [{"x": "a", "x": "b"}]}', {"x": "string", "y": "string"}),
            (b'{"instances": [{"x": "a", "y": 1.5}]}', {"x": "string", "y": "int32"}),
            (b'{"instances": [{"x": "a", "y": 300}, {"x": "b", "y": 2147483648}]}',
             {"x": "string", "y": "uint8"}),
            (b'{"instances": [{"x": "a", "y": -1}]}', {"x": "string", "y": "uint64"}),
            (b'{"instances": [{"x": "a", "y": 1}]}', {"x": "string", "y": "half"}),
            (b'{"inputs": {"x": ["a"], "more": 1}}', {"x": "string"}),
        ],
    )  # fmt: skip
    def test_leaves_odd_strings_and_booleans_to_the_exact_reader(
        self, body: bytes, dtypes: dict[str, str]
    ) -> None:
        assert fast_reader.decode_plain(body, signature(**dtypes)) is None

    def test_leaves_repeated_members_to_the_exact_reader(self) -> None:
        body = b'{"instances": [{"x": 1, "x": 2}]}'
        assert fast_reader.decode_plain(body, signature(x="float", y="float")) is None

    def test_leaves_names_that_json_may_escape_to_the_exact_reader(self) -> None:
        body = b'{"inputs": {"a[]": [1]}}'
        assert fast_reader.decode_plain(body, signature(**{"a[]": "float"})) is None
        assert_tensors(decode(body, **{"a[]": "float"}).inputs, {"a[]": np.ones(1, FLOAT)})

    def test_keeps_no_parser_that_has_seen_a_huge_body(self) -> None:
        fast_reader._parsers.clear()
        decode('{"instances": [1]}', x="int32")
        assert len(fast_reader._parsers) == 1
        decode('{"instances": [1' + ", 1" * 200_000 + "]}", x="int32")
        assert len(fast_reader._parsers) == 0

    def test_tensors_outlive_the_parser(self) -> None:
        first = decode('{"instances": [1, 2, 3]}', x="double").inputs["x"]
        for _ in range(20):
            decode('{"instances": [7, 8, 9]}', x="double")
        np.testing.assert_array_equal(first, [1, 2, 3])


DTYPES = ["float", "double", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"]
_NUMBERS = st.one_of(
    st.integers(-3, 300),
    st.sampled_from([2**31 - 1, 2**31, 2**32, 2**63, 2**64 - 1, 2**64, -(2**31), -(2**63)]),
    st.floats(width=32),
    st.floats(),
)
_ODD = st.sampled_from([None, True, "a", {}, {"b64": "aGk="}, {"x": 1}, [], [1]])


@st.composite
def _nests(draw: st.DrawFn) -> Any:
    """A regular nest of numbers, of which now and then a part is something else."""
    shape = draw(st.lists(st.integers(1, 3), min_size=0, max_size=3))
    leaves = draw(st.sampled_from([_NUMBERS, st.integers(0, 9), st.floats(-1, 1)]))
    odd = draw(st.integers(0, 40))

    def nest(level: int) -> Any:
        if odd < 4 and draw(st.integers(0, 5)) == 0:
            return draw(_ODD | _NUMBERS)
        if level == len(shape):
            return draw(leaves)
        return [nest(level + 1) for _ in range(shape[level])]

    return nest(0)


@st.composite
def _bodies(draw: st.DrawFn) -> bytes:
    nest = _nests()
    rows = st.lists(nest, min_size=1, max_size=3)
    named = st.fixed_dictionaries({"x": nest}, optional={"y": nest})
    one = draw(nest)
    key, value = draw(
        st.one_of(
            st.tuples(st.just("instances"), rows | st.just([one] * 3)),
            st.tuples(st.just("instances"), st.lists(named, max_size=3)),
            st.tuples(st.just("inputs"), nest | named),
        )
    )
    document = {key: value, **draw(st.sampled_from([{}, {"signature_name": "s"}, {"a": [1]}]))}
    text = json.dumps(document, indent=draw(st.sampled_from([None, 1]))).encode()
    if draw(st.integers(0, 3)) == 0:  # damage it
        at = draw(st.integers(0, len(text)))
        text = (
            text[:at]
            + draw(st.sampled_from([b"", b"[", b"]", b",", b"1", b"e5", b'"', b"}"]))
            + (text[at + draw(st.integers(0, 2)) :])
        )
    return text


@settings(max_examples=400, deadline=None, derandomize=True)
@given(_bodies(), st.sampled_from(DTYPES), st.sampled_from([None, "float", "int64"]))
def test_both_readers_agree(body: bytes, x: str, y: str | None) -> None:
    dtypes = {"x": x} if y is None else {"x": x, "y": y}
    fast = fast_reader.decode_plain(body, signature(**dtypes))
    if fast is not None:
        assert_same(fast, _decode_predict_exactly(body, signature(**dtypes)))


_TEXTS = st.one_of(
    st.text(max_size=4),
    st.binary(max_size=4).map(lambda raw: {"b64": base64.b64encode(raw).decode()}),
    st.sampled_from(["b64", {"b64": "?"}, {"b64": "aGk"}, {"x": "a"}, True, False, 1, None, []]),
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.data(), st.sampled_from(["string", "bool"]), st.sampled_from([None, *DTYPES, "bool"]))
def test_both_readers_agree_on_strings_and_booleans(
    data: st.DataObject, x: str, y: str | None
) -> None:
    texts = st.booleans() if x == "bool" and data.draw(st.booleans()) else _TEXTS
    cell = st.one_of(texts, st.lists(texts, min_size=1, max_size=2))
    if y is None:
        value = st.one_of(st.lists(cell, max_size=3), st.lists(st.lists(texts, max_size=2)))
    else:
        row = st.fixed_dictionaries({"x": cell, "y": _NUMBERS | st.booleans()})
        value = st.one_of(st.lists(row, max_size=3), row)
    key = data.draw(st.sampled_from(["instances", "inputs"]))
    body = json.dumps({key: data.draw(value)}, ensure_ascii=data.draw(st.booleans()))
    dtypes = {"x": x} if y is None else {"x": x, "y": y}
    try:
        encoded = body.encode()
    except UnicodeEncodeError:
        return  # a lone surrogate, which is no text
    fast = fast_reader.decode_plain(encoded, signature(**dtypes))
    if fast is not None:
        assert_same(fast, _decode_predict_exactly(encoded, signature(**dtypes)))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.data(), st.sampled_from([*DTYPES, "bool", "string"]), st.booleans())
def test_what_was_encoded_decodes_to_the_same(
    data: st.DataObject, dtype: str, row_format: bool
) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=int(row_format), max_size=3)))
    elements = {
        "float": st.floats(width=32),
        "double": st.floats(),
        "bool": st.booleans(),
        "string": st.binary(max_size=6),
    }.get(dtype)
    if elements is None:
        bounds = np.iinfo(numpy_dtype(dtype))
        elements = st.integers(int(bounds.min), int(bounds.max))
    count = math.prod(shape)
    tensor = np.empty(count, numpy_dtype(dtype))
    tensor[:] = data.draw(st.lists(elements, min_size=count, max_size=count))
    tensor = tensor.reshape(shape)

    answer = encode_predict({"x_bytes": tensor}, row_format)
    body = answer.replace(b'"predictions"', b'"instances"').replace(b'"outputs"', b'"inputs"')
    assert_tensors(decode(body, x_bytes=dtype).inputs, {"x_bytes": tensor})


class TestExamples:
    def test_features_of_each_kind(self) -> None:
        body = """{"signature_name": "s", "examples": [
            {"names": ["foo", "bar"], "ratings": [8.0, 9.0], "age": 20},
            {"names": "baz", "ratings": 6.0, "mix": [1, true, false], "raw": [{"b64": "aGk="}]}]}"""
        assert decode_examples(body.encode()) == ExamplesRequest(
            "s",
            [
                encode_example({
                    b"names": Feature("bytes", [b"foo", b"bar"]),
                    b"ratings": Feature("float", [8.0, 9.0]),
                    b"age": Feature("int64", [20]),
                }),
                encode_example({
                    b"names": Feature("bytes", [b"baz"]),
                    b"ratings": Feature("float", [6.0]),
                    b"mix": Feature("int64", [1, 1, 0]),
                    b"raw": Feature("bytes", [b"hi"]),
                }),
            ],
        )  # fmt: skip

    def test_context_comes_first_in_each_example(self) -> None:
        body = b'{"context": {"c": [NaN, -Infinity]}, "examples": [{"a": 1}, {}]}'
        context = encode_example({b"c": Feature("float", [math.nan, -math.inf])})
        assert decode_examples(body) == ExamplesRequest(
            "serving_default",
            [
                context + encode_example({b"a": Feature("int64", [1])}),
                context + encode_example({}),
            ],
        )

    def test_the_last_of_equal_feature_names_counts(self) -> None:
        request = decode_examples(b'{"examples": [{"a": 1, "a": [2.5]}]}')
        assert request.examples == [encode_example({b"a": Feature("float", [2.5])})]

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("", "JSON Parse error: The document is empty"),
            ("[]", "JSON Value: [] Is not object"),
            ('{"signature_name": ["hello"]}',
             'JSON Value: {\n    "signature_name": ["hello"]\n} not formatted correctly. '
             "'signature_name' key must be a string value."),
            ('{"context": [{}], "examples": 1}', "Example must be JSON object but got JSON Array"),
            ("{}", "JSON Value: {} When method is classify, key 'examples' is expected and was "
             "not found"),
            ('{"examples": {}}', 'JSON Value: {\n    "examples": {}\n} '
             "Expecting 'examples' value to be an list/array"),
            ('{"examples": []}', 'JSON Value: {\n    "examples": []\n} '
             "'examples' value is an empty array"),
            ('{"examples": [[{}]]}', "Example must be JSON object but got JSON Array"),
            ('{"examples": [{"names": [10, null]}]}',
             "Feature: names has element with unexpected JSON type: Null"),
            ('{"examples": [{"names": [10, {"test": 10}]}]}',
             "Feature: names has element with unexpected JSON type: Object"),
            ('{"examples": [{"names": [[10], 20]}]}',
             "Feature: names has element with unexpected JSON type: Array"),
            ('{"examples": [{"names": [10, 10.0]}]}',
             "Unexpected element type in feature: names expecting type: int64"),
            ('{"examples": [{"names": [10.0, "a"]}]}',
             "Unexpected element type in feature: names expecting type: float"),
            ('{"examples": [{"names": ["a", true]}]}',
             "Unexpected element type in feature: names expecting type: bytes"),
            ('{"examples": [{"names": [20, 18446744073709551603]}]}',
             "Feature: names has uint64_t element. Only int64_t is supported."),
            ('{"examples": [{"names": {"b64": "?"}}]}', "Unable to base64 decode"),
        ],
    )  # fmt: skip
    def test_refuses(self, body: str, message: str) -> None:
        with pytest.raises(ServingError) as caught:
            decode_examples(body.encode())
        assert caught.value == ServingError(Code.INVALID_ARGUMENT, message)
