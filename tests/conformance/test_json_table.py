"""TensorFlow Serving's `json_tensor_test.cc`, case by case, over the wire of a real server.

The cases are numbered as in the table of facts they were taken from. Where the original's test
looks at tensors, a model hands them back; where it looks for a part of an error text, so do we.

Three cannot be reached from outside, and are in `tests/server/front/json/test_responses.py`: the
empty map
of 34 (a graph cannot be run for no output at all) and both of 51 (no answer has fewer results
than the request has examples, of which there is one at least).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.model_server import ModelServer

_DEEP = "[" * 500_000 + "]" * 500_000
_INTS = "[[1,2],[3,4],[5,6]]"
_MORE = "[[7,8],[9,0],[1,2]]"
_HELLO, _WORLD = '{"b64":"aGVsbG8="}', '{"b64":"d29ybGQ="}'


@pytest.fixture
def server(all_models: tuple[ModelServer, Path]) -> ModelServer:
    return all_models[0]


def predict(
    server: ModelServer, signature: str, rest: str, model: str = "tables"
) -> tuple[int, str]:
    """A request whose body names the signature first, then goes on with `rest`."""
    return server.rest(f"/v1/models/{model}:predict", f'{{"signature_name": "{signature}", {rest}')


@pytest.mark.parametrize(
    ("case", "signature", "rest", "expected"),
    [
        (1, "int32", f'"instances": {_INTS}}}', {"predictions": [[1, 2], [3, 4], [5, 6]]}),
        (2, "int32", f'"instances": [1], "nested": {_DEEP}}}', {"predictions": [1]}),
        (4, "float", '"instances": [1, 2.0, 3, 4, 5.003, 0.007, 0.0]}',
         {"predictions": [1.0, 2.0, 3.0, 4.0, 5.003, 0.007, 0.0]}),
        (5, "double", '"instances": [1.0, 2, 3, 4, 0.662, 0, 0.0]}',
         {"predictions": [1.0, 2.0, 3.0, 4.0, 0.662, 0.0, 0.0]}),
        (6, "float", '"instances": [1435774380]}', {"predictions": [1435774300.0]}),
        (6, "float", '"instances": [1435774380.0]}', {"predictions": [1435774300.0]}),
        (7, "float", '"instances": [1.79769e+308, -1.79769e+308]}',
         {"predictions": [math.inf, -math.inf]}),
        (8, "float", '"instances": [2.22507e-308]}', {"predictions": [0.0]}),
        (9, "int32", '"instances": [[1,2]]}', {"predictions": [[1, 2]]}),
        (10, "int32", f'"instances": {_INTS}}}X', {"predictions": [[1, 2], [3, 4], [5, 6]]}),
        (11, "string", f'"instances": [{_HELLO},{_WORLD}]}}',
         {"predictions": [{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}]}),
        (12, "string", f'"instances": [[{_HELLO}],[{_WORLD}]]}}',
         {"predictions": [[{"b64": "aGVsbG8="}], [{"b64": "d29ybGQ="}]]}),
        (13, "string", f'"instances": [{{"default": [[{_HELLO}],[{_WORLD}]]}}]}}',
         {"predictions": [[[{"b64": "aGVsbG8="}], [{"b64": "d29ybGQ="}]]]}),
        (14, "four",
         f'"instances": [{{"int_tensor": {_INTS}, "str_tensor": ["foo", "bar"], '
         '"float_tensor": [1.0, NaN], "dbl_tensor": [NaN]}, '
         f'{{"int_tensor": {_MORE}, "str_tensor": ["baz", "bat"], '
         '"float_tensor": [2.0, Infinity], "dbl_tensor": [2.0]}]}',
         {"predictions": [
             {"int_tensor": [[1, 2], [3, 4], [5, 6]], "str_tensor": ["foo", "bar"],
              "float_tensor": [1.0, math.nan], "dbl_tensor": [math.nan]},
             {"int_tensor": [[7, 8], [9, 0], [1, 2]], "str_tensor": ["baz", "bat"],
              "float_tensor": [2.0, math.inf], "dbl_tensor": [2.0]},
         ]}),
        (15, "int32", f'"inputs": {{"int_tensor": [{_INTS}]}}}}',
         {"outputs": [[[1, 2], [3, 4], [5, 6]]]}),
        (16, "int32", f'"inputs": [{_INTS}]}}', {"outputs": [[[1, 2], [3, 4], [5, 6]]]}),
        (17, "three",
         f'"inputs": {{"int_tensor": [{_INTS}], "str_tensor": ["foo","bar"], '
         f'"bin_tensor": {_HELLO}}}}}',
         {"outputs": {"int_tensor": [[[1, 2], [3, 4], [5, 6]]], "str_tensor": ["foo", "bar"],
                      "bin_tensor": "hello"}}),
        (29, "int32", f'"instances": [{_INTS},{_MORE}]}}',
         {"predictions": [[[1, 2], [3, 4], [5, 6]], [[7, 8], [9, 0], [1, 2]]]}),
        (29, "int32", f'"inputs": [{_INTS},{_MORE}]}}',
         {"outputs": [[[1, 2], [3, 4], [5, 6]], [[7, 8], [9, 0], [1, 2]]]}),
        (30, "int32", '"instances": [1,2,3,4,5]}', {"predictions": [1, 2, 3, 4, 5]}),
        (30, "int32", '"inputs": [1,2,3,4,5]}', {"outputs": [1, 2, 3, 4, 5]}),
        (31, "string", '"inputs": [["hello","world"],["tf","serving"]]}',
         {"outputs": [[{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}],
                      [{"b64": "dGY="}, {"b64": "c2VydmluZw=="}]]}),
        (35, "five",
         '"inputs": {"int_tensor": [1], "str_tensor": ["a"], "bin_tensor": ["b"], '
         '"float_tensor": [0.5], "dbl_tensor": [0.25]}}',
         {"outputs": {"int_tensor": [1], "str_tensor": ["a"], "bin_tensor": ["b"],
                      "float_tensor": [0.5], "dbl_tensor": [0.25]}}),
        (35, "five",
         '"instances": [{"int_tensor": 1, "str_tensor": "a", "bin_tensor": "b", '
         '"float_tensor": 0.5, "dbl_tensor": 0.25}]}',
         {"predictions": [{"int_tensor": 1, "str_tensor": "a", "bin_tensor": "b",
                           "float_tensor": 0.5, "dbl_tensor": 0.25}]}),
        (37, "rows_0", '"instances": [1]}', {"predictions": []}),
        (37, "rows_0_0", '"instances": [1]}', {"predictions": []}),
    ],
)  # fmt: skip
def test_answers(
    server: ModelServer, case: int, signature: str, rest: str, expected: dict[str, Any]
) -> None:
    status, body = predict(server, signature, rest)
    assert (status, read(body)) == (200, json.dumps(expected, sort_keys=True)), (
        f"case {case}: {body}"
    )


def read(body: str) -> str:
    """As text, in which NaN equals NaN."""
    return json.dumps(json.loads(body), sort_keys=True)


@pytest.mark.parametrize(
    ("case", "signature", "rest", "expected"),
    [
        (20, "int32", '"instances": [1], "inputs": [1]}', "Not formatted correctly"),
        (21, "int32", '"instances": [[1,2],[3,4],[5,6,7]]}', "Expecting tensor size"),
        (22, "int32", '"instances": [[1,2],[3,4],[[5,6]]]}', "Expecting shape"),
        (23, "int32", '"instances": [1, [1]]}', "Expecting shape"),
        (24, "int32", '"instances": [[1,2],["a","b"]]}', "not of expected type"),
        (25, "two",
         f'"instances": [{{"int_tensor": {_INTS}, "str_tensor": ["foo"]}}, '
         f'{{"int_tensor": [{_MORE}], "str_tensor": ["bar"]}}]}}', "Expecting shape"),
        (26, "two",
         '"instances": [{"int_tensor": [[1,2],[3,4],[5,6],[7,8]], "str_tensor": ["foo"]}, '
         f'{{"int_tensor": {_INTS}, "str_tensor": ["bar"]}}]}}', "Expecting tensor size"),
        (27, "two", '"instances": [{"int_tensor": 1, "str_tensor": "a"}, [1,20,30]]}',
         "Expecting object but got list"),
        (28, "string", '"instances": [["baz","bar"], {"default": ["foo"]}]}',
         "Expecting value/list but got object"),
        (34, "complex64_out", '"inputs": [1.0]}',
         "Failed to write JSON value for tensor type: complex64"),
        (34, "half_out", '"inputs": [1.0]}', "Failed to write JSON value for tensor type: half"),
        (34, "scalar_out", '"instances": [1.0]}', "Tensor name: y has no shape information "),
        (36, "rows_2_1", '"instances": [1]}', "inconsistent batch size"),
        (38, "rows_0_1", '"instances": [1]}', "inconsistent batch size"),
    ],
)  # fmt: skip
def test_refusals(server: ModelServer, case: int, signature: str, rest: str, expected: str) -> None:
    status, body = predict(server, signature, rest)
    assert status == 400, f"case {case}: {body}"
    assert expected in body


@pytest.mark.parametrize(
    ("case", "path", "body", "expected"),
    [
        (3, "tables:predict", f'{{"signature_name": {_DEEP}}}', "key must be a string value"),
        (18, "tables:predict", "", "document is empty"),
        (19, "tables:predict", '{"signature_name": 5, "instances": [1]}',
         "must be a string value"),
        (41, "half_plus_two:classify", '{"signature_name": ["hello"], "examples": [{"x": 1.0}]}',
         "'signature_name' key must be a string"),
        (42, "half_plus_two:classify", '{"context": [{"x": 1.0}], "examples": [{"x": 1.0}]}',
         "Example must be JSON object"),
        (43, "half_plus_two:classify", '{"examples": {"x": 1.0}}', "list/array"),
        (44, "half_plus_two:classify", '{"examples": [[{"x": 1.0}]]}',
         "Example must be JSON object"),
        (45, "half_plus_two:classify", '{"examples": [{"names": [10, null]}]}',
         "names has element with unexpected JSON type: Null"),
        (46, "half_plus_two:classify", '{"examples": [{"names": [10, 10.0]}]}',
         "feature: names expecting type: int64"),
        (47, "half_plus_two:classify", '{"examples": [{"names": [10, {"test": 10}]}]}',
         "type: Object"),
        (47, "half_plus_two:classify", '{"examples": [{"names": [[10], 20]}]}', "type: Array"),
        (48, "half_plus_two:classify", '{"examples": [{"names": [20, 18446744073709551603]}]}',
         "Only int64_t is supported"),
    ],
)  # fmt: skip
def test_bodies_that_cannot_be_read(
    server: ModelServer, case: int, path: str, body: str, expected: str
) -> None:
    status, answer = server.rest(f"/v1/models/{path}", body)
    assert status == 400, f"case {case}: {answer}"
    assert expected in answer


def test_numbers_as_they_are_written(server: ModelServer) -> None:
    """Cases 32 and 33; any spelling of the same number is as good."""
    _, body = predict(
        server, "float", '"inputs": [9000000, 999999, 0.5, 0.0003, 0.00003, 555557.5]}'
    )
    assert read(body) == json.dumps({"outputs": [9e06, 999999.0, 0.5, 0.0003, 3e-05, 555557.5]})
    _, body = predict(server, "float", '"inputs": [NaN, Infinity, 3, -Infinity]}')
    assert "".join(body.split()) == '{"outputs":[NaN,Infinity,3.0,-Infinity]}'


@pytest.mark.parametrize(
    ("case", "action", "body", "expected"),
    [
        (39, "regress", '{"signature_name": "regress_x_to_y", "examples": [{"x": [8.0], '
         '"names": ["foo", "bar"], "age": 20}, {"names": ["baz"], "x": 6.0}]}', [6.0, 5.0]),
        (40, "regress", '{"signature_name": "regress_x_to_y", "context": {"x": 2.0, '
         f'"mix": [1, true, false], "b": [{_HELLO}], "n": [NaN, Infinity, -Infinity]}}, '
         '"examples": [{}, {"x": 4.0}]}', [3.0, 4.0]),
        (50, "regress", '{"signature_name": "regress_x_to_y", "examples": [{"x": Infinity}, '
         '{"x": -Infinity}]}', [math.inf, -math.inf]),
    ],
)  # fmt: skip
def test_examples(
    server: ModelServer, case: int, action: str, body: str, expected: list[Any]
) -> None:
    status, answer = server.rest(f"/v1/models/half_plus_two:{action}", body)
    assert (status, read(answer)) == (200, json.dumps({"results": expected})), (
        f"case {case}: {answer}"
    )


def test_labels_and_scores(server: ModelServer) -> None:
    """Case 49, and the same without labels."""
    rows = [[["car", 0.2], ["bike", 0.7], ["bus", 0.1]], [["car", 0.7], ["bike", 0.3], ["bus", 0]]]
    examples = [
        {"labels": [label for label, _ in row], "scores": [float(score) for _, score in row]}
        for row in rows
    ]
    body = json.dumps({"signature_name": "labelled", "examples": examples})
    status, answer = server.rest("/v1/models/tables:classify", body)
    assert (status, json.loads(answer)) == (200, {"results": rows})
    status, answer = server.rest(
        "/v1/models/half_plus_two:classify",
        '{"signature_name": "classify_x_to_y", "examples": [{"x": 2.0}]}',
    )
    assert (status, json.loads(answer)) == (200, {"results": [[["", 3.0]]]})


@pytest.mark.parametrize(
    ("action", "signature", "message"),
    [
        ("classify", "scores_of_doubles", "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
        ("classify", "scores_of_rank_3",
         "Expected Tensor shape: [batch_size num_classes] but got [2,3,1]"),
        ("regress", "regress_to_doubles", "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE"),
        ("regress", "regress_to_matrix",
         "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
         "[2,3]"),
    ],
)  # fmt: skip
def test_outputs_that_are_no_results(
    server: ModelServer, action: str, signature: str, message: str
) -> None:
    example = {"labels": ["a", "b", "c"], "scores": [0.5, 0.25, 0.125]}
    body = json.dumps({"signature_name": signature, "examples": [example, example]})
    status, answer = server.rest(f"/v1/models/tables:{action}", body)
    assert (status, json.loads(answer)) == (400, {"error": message})


def test_an_error_is_quoted(server: ModelServer) -> None:
    """Case 52: quotes and line breaks of a text are escaped."""
    status, body = server.rest("/v1/models/tables:predict", '{"signature_name": "a\\"b"}')
    assert status == 400
    assert '"error": "Serving signature name: \\"a\\"b\\" not found in signature def"' in body
