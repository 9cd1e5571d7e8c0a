"""What the REST API refuses, and in which words; and the corners of what it accepts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.model_server import ModelServer
from tests.conformance.process import Answer, ask

PAGE = (
    b"<HTML><HEAD>\n<TITLE>501 Not Implemented</TITLE>\n</HEAD>"
    b"<BODY>\n<H1>Not Implemented</H1>\n</BODY></HTML>\n"
)
_ELEMENT = "Failed to process element: {} of 'instances' list. "
_INVALID = _ELEMENT + "Error: INVALID_ARGUMENT: "


class Rest:
    """Requests to the one server of all models."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(
        self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        return ask(self._port, method, target, body, headers)

    def post(self, target: str, body: Any) -> Answer:
        return self.ask("POST", f"/v1/models/{target}", body)

    def predict(self, model: str, body: Any, signature: str = "") -> Answer:
        if signature:
            body = {"signature_name": signature, **body}
        return self.post(f"{model}:predict", body)


@pytest.fixture
def rest(all_models: tuple[ModelServer, Path]) -> Rest:
    return Rest(all_models[0].rest_port)


# Methods, status lines.


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_methods_that_libevent_does_not_know(rest: Rest, method: str) -> None:
    answer = rest.ask(method, "/v1/models/half")
    assert (answer.status, answer.reason, answer.body) == (501, "Not Implemented", PAGE)
    assert answer.headers["Content-Type"] == "text/html"


@pytest.mark.parametrize(
    ("target", "body", "status", "reason"),
    [
        ("half:predict", {"instances": [1.0]}, 200, "OK"),
        ("half:predict", "", 400, "Bad Request"),
        ("none:predict", {"instances": [1.0]}, 404, "Not Found"),
        (
            "identity:predict",
            {"signature_name": "half", "inputs": [1]},
            501,
            "Not Implemented",
        ),
    ],
)
def test_status_lines(rest: Rest, target: str, body: Any, status: int, reason: str) -> None:
    answer = rest.post(target, body)
    assert (answer.status, answer.reason) == (status, reason)


# Parsing: each text of rapidjson, with the offset that it tells.


@pytest.mark.parametrize(
    ("body", "text", "offset"),
    [
        ("   ", "The document is empty.", 3),
        ('{"a": nul}', "Invalid value.", 9),
        ("{,", "Missing a name for object member.", 1),
        ('{"a" 1}', "Missing a colon after a name of object member.", 5),
        ('{"a": 1 2}', "Missing a comma or '}' after an object member.", 8),
        ('{"a": [1 2]}', "Missing a comma or ']' after an array element.", 9),
        ('{"a": "\\u12g4"}', "Incorrect hex digit after \\u escape in string.", 7),
        ('{"a": "\\ud800x"}', "The surrogate pair in string is invalid.", 7),
        ('{"a": "\\q"}', "Invalid escape character in string.", 7),
        ('{"a": "b', "Missing a closing quotation mark in string.", 8),
        ('{"a": 1e400}', "Number too big to be stored in double.", 6),
        ('{"a": 1.}', "Miss fraction part in number.", 8),
        ('{"a": 1e}', "Miss exponent in number.", 8),
    ],
)
@pytest.mark.parametrize("verb", ["predict", "regress"])
def test_parse_errors(rest: Rest, verb: str, body: str, text: str, offset: int) -> None:
    answer = rest.post(f"none:{verb}", body)
    assert (answer.status, answer.error) == (400, f"JSON Parse error: {text} at offset: {offset}")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # A byte order mark is skipped; NaN and Infinity have several spellings.
        (b'\xef\xbb\xbf{"instances": [1.0]}', "[3.5]"),
        ('{"instances": [NaN, Inf, -Inf, -Infinity]}', "[NaN,Infinity,-Infinity,-Infinity]"),
        # The first of two equal keys counts; in a row's object the first value does.
        ('{"instances": [1.0], "instances": [5.0]}', "[3.5]"),
        ('{"instances": [{"x": 1.0, "x": 5.0}]}', "[3.5]"),
        ('{"signature_name": "serving_default", "instances": [1], "any": {}}', "[3.5]"),
    ],
)
def test_what_parses(rest: Rest, body: str | bytes, expected: str) -> None:
    answer = rest.predict("half", body)
    text = "".join(answer.body.decode().split())
    assert (answer.status, text) == (200, f'{{"predictions":{expected}}}')


@pytest.mark.parametrize("word", ["nan", "inf", "infinity", "-NAN"])
def test_words_for_numbers_have_their_case(rest: Rest, word: str) -> None:
    answer = rest.predict("half", f'{{"instances": [{word}]}}')
    assert answer.status == 400
    assert answer.error.startswith("JSON Parse error: Invalid value. at offset: ")


def test_a_shown_value_ends_after_256_bytes(rest: Rest) -> None:
    shown = '{\n    "signature_name": [' + ", ".join(["1"] * 200)
    answer = rest.predict("none", {"signature_name": [1] * 200})
    assert (answer.status, answer.error) == (
        400,
        f"JSON Value: {shown[:256]} not formatted correctly. "
        "'signature_name' key must be a string value.",
    )


# Row and column format.


@pytest.mark.parametrize(
    ("model", "body", "error"),
    [
        (
            "multi",
            {"instances": [{"a": [1, 2]}]},
            _ELEMENT.format(0) + 'JSON object: {\n    "a": [1, 2]\n} keys must be equal to: a,b',
        ),
        (
            "multi",
            {"instances": [{"a": [1, 2], "b": 3, "q": 4}]},
            _INVALID.format("0 key: q") + "JSON object: does not have named input: q",
        ),
        (
            "multi",
            {"instances": [{"a": [1, 2], "b": 3}, {"a": [1, 2], "b": 1.5}]},
            _INVALID.format("1 key: b")
            + "JSON Value: 1.5 Type: Number is not of expected type: int32",
        ),
        (
            "multi",
            {"inputs": {"a": [[1, 2]]}},
            "Missing named input: b in 'inputs' object.",
        ),
        (
            # Defaults cannot be used over REST.
            "defaults",
            {"inputs": {"a": [[1, 2]]}},
            "Missing named input: b in 'inputs' object.",
        ),
        (
            "half",
            {"inputs": [[1, 2], [3, 4, 5]]},
            "Encountered list at unexpected size: 3 at level: 1 expected size: 2",
        ),
        (
            "half",
            {"inputs": [[1, 2], [[3], 4]]},
            "Encountered list at unexpected level: 2 expected < 2",
        ),
        (
            "half",
            {"inputs": [[1], 2]},
            "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
        (
            "half",
            {"instances": [[1, [2]]]},
            _INVALID.format(0) + "Encountered list at unexpected level: 1 expected < 1",
        ),
        (
            "half",
            {"instances": [[1, 2], [[3, 4]]]},
            _INVALID.format(1) + "Expecting shape [2] but got: [1,2]",
        ),
        (
            "half",
            {"instances": [[1, 2], [3, 4, 5]]},
            _INVALID.format(1) + "Expecting tensor size: 2 but got: 3",
        ),
        (
            # A scalar output has no row for each instance.
            "rows",
            {"signature_name": "total", "instances": [1.0, 2.0]},
            "Tensor name: y has no shape information ",
        ),
    ],
)
def test_shapes_and_names(rest: Rest, model: str, body: Any, error: str) -> None:
    answer = rest.predict(model, body)
    assert (answer.status, answer.error) == (400, error)


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_lists_may_be_empty(rest: Rest, key: str) -> None:
    answer = rest.predict("half", {key: [[], []]})
    said = {"instances": "predictions", "inputs": "outputs"}[key]
    assert (answer.status, answer.json) == (200, {said: [[], []]})


# Values and dtypes.


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        ("uint32", "[4294967295, 0]", [4294967295, 0]),
        ("int8", "[-128, 127, 300]", [-128, 127, 44]),
        ("int16", "[-32768, 32767, 65537]", [-32768, 32767, 1]),
        ("uint8", "[255, 256, -1]", [255, 0, 255]),
        ("int32", "[-2147483648, 2147483647]", [-2147483648, 2147483647]),
        ("int64", "[-9223372036854775808]", [-9223372036854775808]),
        ("float", "[-2.22507e-308, 2.22507e-308]", [-0.0, 0.0]),
        ("float", "[1.79769e+308, -1.79769e+308]", [math.inf, -math.inf]),
        ("double", "[-2.22507e-308]", [-2.22507e-308]),
    ],
)
def test_values(rest: Rest, dtype: str, values: str, expected: list[Any]) -> None:
    answer = rest.predict("identity", f'{{"signature_name": "{dtype}", "inputs": {values}}}')
    assert (answer.status, [repr(v) for v in answer.json["outputs"]]) == (
        200,
        [repr(v) for v in expected],
    )


@pytest.mark.parametrize(
    ("dtype", "value", "shown", "kind"),
    [
        ("int32", "2147483648", "2147483648", "Number"),
        ("int8", "2147483648", "2147483648", "Number"),
        ("int16", "-2147483649", "-2147483649", "Number"),
        ("uint8", "1.0", "1.0", "Number"),
        ("int64", "9223372036854775808", "9223372036854775808", "Number"),
        ("uint32", "-1", "-1", "Number"),
        ("uint32", "4294967296", "4294967296", "Number"),
        ("uint64", "-1", "-1", "Number"),
        ("uint64", "18446744073709551616", "1.84467441e+19", "Number"),
        ("bool", "1", "1", "Number"),
        ("bool", '"true"', '"true"', "String"),
        ("float", "true", "true", "True"),
        ("float", "false", "false", "False"),
        ("double", "null", "null", "Null"),
        ("string", "1", "1", "Number"),
    ],
)
def test_values_of_another_type(rest: Rest, dtype: str, value: str, shown: str, kind: str) -> None:
    answer = rest.predict("identity", f'{{"signature_name": "{dtype}", "inputs": [{value}]}}')
    assert (answer.status, answer.error) == (
        400,
        f"JSON Value: {shown} Type: {kind} is not of expected type: {dtype}",
    )


@pytest.mark.parametrize("dtype", ["half", "bfloat16", "uint16", "complex64", "complex128"])
def test_dtypes_that_json_does_not_carry(rest: Rest, dtype: str) -> None:
    text = f"Conversion of JSON Value: 1 to type: {dtype}"
    answer = rest.predict("identity", {"inputs": [1]}, dtype)
    assert (answer.status, answer.error) == (501, text)
    answer = rest.predict("identity", {"instances": [1]}, dtype)
    assert (answer.status, answer.error) == (
        400,
        _ELEMENT.format(0) + f"Error: UNIMPLEMENTED: {text}",
    )


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"b64": 5}, 'JSON Value: {\n    "b64": 5\n} not formatted correctly for base64 data'),
        (
            {"b64": "YQ==", "more": 1},
            'JSON Value: {\n    "b64": "YQ==",\n    "more": 1\n} not formatted correctly for '
            "base64 data",
        ),
        ({"b64": "YQ="}, "Unable to base64 decode"),
        ({"b64": "Y-_="}, "Unable to base64 decode"),
    ],
)
def test_base64_that_is_none(rest: Rest, value: Any, error: str) -> None:
    answer = rest.predict("identity", {"inputs": [value]}, "string")
    assert (answer.status, answer.error) == (400, error)


def test_base64_in(rest: Rest) -> None:
    """Padding may be left out, and white space is skipped."""
    given = [{"b64": "YQ=="}, {"b64": "YQ"}, {"b64": "Y Q\n=="}, "a"]
    answer = rest.predict("identity", {"inputs": given}, "string")
    assert (answer.status, answer.json) == (200, {"outputs": ["a", "a", "a", "a"]})


def test_bytes_out(rest: Rest) -> None:
    """Only an output whose name says so is written as base64; others are as they are."""
    value = {"b64": "/w=="}
    answer = rest.predict("tables", {"inputs": [value]}, "string")
    assert (answer.status, answer.json) == (200, {"outputs": [value]})
    answer = rest.predict("identity", {"inputs": [value]}, "string")
    assert (answer.status, b"".join(answer.body.split())) == (200, b'{"outputs":["\xff"]}')


# Classify and regress.


@pytest.mark.parametrize(
    ("verb", "signature", "examples", "expected"),
    [
        (
            "classify",
            "labelled",
            [{"x": 1.0}, {}],
            [[["car", 0.2], ["bike", 0.7], ["bus", 0.1]]] * 2,
        ),
        ("classify", "labels", [{}], [[["car", 0.0], ["bike", 0.0], ["bus", 0.0]]]),
        ("classify", "as_predict_scores", [{}], [[["", 0.2], ["", 0.7], ["", 0.1]]]),
        ("regress", "column", [{"x": 1.5}, {"x": [2.5]}], [1.5, 2.5]),
        ("regress", "as_predict_outputs", [{"x": 0.2}], [0.2]),
    ],
)
def test_examples(rest: Rest, verb: str, signature: str, examples: Any, expected: Any) -> None:
    answer = rest.post(f"shapes:{verb}", {"signature_name": signature, "examples": examples})
    assert (answer.status, answer.json) == (200, {"results": expected})


def test_results_that_are_no_finite_numbers(rest: Rest) -> None:
    body = (
        '{"signature_name": "column", "examples": [{"x": 0.2}, {"x": Infinity}, {"x": 1.0}, '
        '{"x": -Infinity}, {"x": NaN}]}'
    )
    answer = rest.post("shapes:regress", body)
    assert (answer.status, "".join(answer.body.decode().split())) == (
        200,
        '{"results":[0.2,Infinity,1.0,-Infinity,NaN]}',
    )


@pytest.mark.parametrize("verb", ["classify", "regress"])
@pytest.mark.parametrize(
    ("target", "signature", "status", "error"),
    [
        ("half", "no", 400, "No signature was found with the name: no"),
        ("none", "no", 404, "Servable not found for request: Latest(none)"),
        ("half/versions/7", "no", 404, "Servable not found for request: Specific(half, 7)"),
        ("half/labels/no", "no", 400, "Unrecognized servable version label: no"),
        ("counter", "get_counter", 400, "Expected one input Tensor."),
    ],
)
def test_examples_for_nobody(
    rest: Rest, verb: str, target: str, signature: str, status: int, error: str
) -> None:
    body = {"signature_name": signature, "examples": [{"x": 1.0}]}
    answer = rest.post(f"{target}:{verb}", body)
    assert (answer.status, answer.error) == (status, error)


@pytest.mark.parametrize(
    ("examples", "error"),
    [
        ([{"x": True}], None),
        ([{"x": "a"}], "string"),
        ([{"x": {"b64": "YQ=="}}], "string"),
    ],
)
def test_kinds_of_features(rest: Rest, examples: Any, error: str | None) -> None:
    """true is an integer, text and base64 are bytes; none of them fits a float feature."""
    body = {"signature_name": "regress_x_to_y", "examples": examples}
    answer = rest.post("half:regress", body)
    assert answer.status == 400
    assert answer.error.startswith(
        "Name: <unknown>, Key: x, Index: 0.  Data types don't match. "
        f"Data type: {error or 'int64'} but expected type: float"
    )


@pytest.mark.parametrize(
    ("element", "kind"), [(None, "Null"), ([1], "Array"), ({"test": 1}, "Object")]
)
def test_elements_that_are_no_values(rest: Rest, element: Any, kind: str) -> None:
    answer = rest.post("half:classify", {"examples": [{"f": [element]}]})
    assert (answer.status, answer.error) == (
        400,
        f"Feature: f has element with unexpected JSON type: {kind}",
    )


def test_the_example_of_a_context_must_be_an_object(rest: Rest) -> None:
    body = json.dumps({"context": [{"x": 1.0}], "examples": [{"x": 1.0}]})
    answer = rest.post("half:regress", body)
    assert (answer.status, answer.error) == (400, "Example must be JSON object but got JSON Array")
