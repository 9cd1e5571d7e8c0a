"""TensorFlow Serving's REST API, row by row, from a real server process over real sockets."""

from __future__ import annotations

import gzip
import http.client
import math
import socket
from typing import Any

import numpy as np
import pytest

from tests.conformance.process import Process
from tests.servers import Server
from workbench.server.front.access import AccessPolicy
from workbench.server.front.codec.converter import CodecProcess
from workbench.server.front.http.listener import HttpServer
from workbench.server.front.rest.rest import RestApi

PAGE = (
    b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD>"
    b"<BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
)
DEEP = "[" * 100_000 + "]" * 100_000


# URLs.


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("HEAD", "/v1/models/two"),
        ("PUT", "/v1/models/two"),
        ("DELETE", "/v1/models/two"),
        ("PATCH", "/v1/models/two"),
        ("POST", "/v1/models/two:predict?x=1"),
        ("POST", "/v1/models/two:Predict"),
        ("POST", "/v1/models/two"),
        ("POST", "/v1/foo"),
        ("GET", "/v1/models/two/"),
        ("GET", "/v1/models/two/version/1"),
        ("GET", "/v1/models/two/versions/abc"),
        ("GET", "/v1/models/two/versions/123/labels/stable"),
        ("GET", "/v1/models/two:predict"),
    ],
)
def test_malformed(process: Process, method: str, target: str) -> None:
    answer = process.ask(method, target)
    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/json")
    if method != "HEAD":
        assert answer.body == b'{\n    "error": "Malformed request: %b %b"\n}' % (
            method.encode(),
            target.encode(),
        )


@pytest.mark.parametrize(
    ("target", "version"),
    [
        ("/v1/models/two", 124),
        ("/v1/models/two/versions/123", 123),
        ("/v1/models/two/versions/00000123", 123),
        ("/v1/models/two/labels/stable", 123),
        ("/v1/models/two/labels/canary", 124),
        ("/V1/MODELS/two", 124),
        ("/v1/models/tw%6F/labels/c%61nary", 124),
    ],
)
def test_predict_urls(process: Process, target: str, version: int) -> None:
    answer = process.ask("POST", f"{target}:predict", {"instances": [1.0, 2.0, 5.0]})
    assert (answer.status, answer.json) == (200, {"predictions": [2.5, 3.0, 4.5]})
    metadata = process.ask("GET", f"{target}/metadata")
    assert metadata.json["model_spec"] == {
        "name": "two",
        "version": str(version),
        "signature_name": "",
    }


@pytest.mark.parametrize(
    ("method", "target", "status", "error"),
    [
        ("GET", "/v1/models/q", 404, "Could not find any versions of model q"),
        ("GET", "/v1/models/q%2F%3A+", 404, "Could not find any versions of model q/:+"),
        ("GET", "/v1/models/two?x=1", 404, "Could not find any versions of model two?x=1"),
        ("GET", "/v1/models/two/versions/5", 404, "Could not find version 5 of model two"),
        ("GET", "/v1/models/q/metadata", 404, "Servable not found for request: Latest(q)"),
        ("POST", "/v1/models/q:predict", 404, "Servable not found for request: Latest(q)"),
        (
            "POST",
            "/v1/models/two/versions/5:predict",
            404,
            "Servable not found for request: Specific(two, 5)",
        ),
        (
            "POST",
            "/v1/models/two/labels/gone:predict",
            404,
            "Servable not found for request: Specific(two, 5)",
        ),
        (
            "POST",
            "/v1/models/two/labels/q:predict",
            400,
            "Unrecognized servable version label: q",
        ),
        ("POST", "/v1/models/q/labels/l:predict", 400, "Unrecognized servable version label: l"),
        ("GET", "/v1/models/two/labels/q/metadata", 400, "Unrecognized servable version label: q"),
        ("GET", "/v1/models/versions/1", 400, "Missing model name in request."),
        (
            "GET",
            "/v1/models/metadata/metadata",
            404,
            "Servable not found for request: Latest(metadata)",
        ),
    ],
)
def test_what_is_not_there(
    process: Process, method: str, target: str, status: int, error: str
) -> None:
    body = {"instances": [1.0]} if method == "POST" else None
    answer = process.ask(method, target, body)
    assert (answer.status, answer.error) == (status, error)


def test_a_version_beyond_64_bits(process: Process) -> None:
    answer = process.ask("GET", f"/v1/models/two/versions/{2**63}")
    assert (answer.status, answer.body) == (400, b"")
    assert answer.headers["Content-Type"] == "application/json"


def test_outside_of_v1(process: Process) -> None:
    answer = process.ask("GET", "/v2/models")
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (404, PAGE, "text/html")


def test_verb_after_case(process: Process) -> None:
    # `/Metadata` is matched without regard to case, and then taken for a status request.
    assert "model_version_status" in process.ask("GET", "/v1/models/two/Metadata").json


def test_the_list_of_models_is_an_extension(process: Process) -> None:
    names = [entry["name"] for entry in process.ask("GET", "/v1/models").json["models"]]
    assert names == sorted(names)
    assert {"default", "two", "tf2"} <= set(names)


# Status lines and headers.


def test_headers(process: Process) -> None:
    answer = process.predict("default", {"instances": [1.0]})
    assert (answer.status, answer.reason) == (200, "OK")
    assert answer.headers["Content-Type"] == "application/json"
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    assert "Date" in answer.headers
    assert "Server" not in answer.headers
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_gzip(process: Process) -> None:
    packed = gzip.compress(b'{"instances": [1.0]}')
    headers = {"Content-Encoding": "gzip"}
    answer = process.ask("POST", "/v1/models/default:predict", packed, headers)
    assert answer.json == {"predictions": [2.5]}
    assert "Content-Encoding" not in answer.headers
    answer = process.ask("POST", "/v1/models/default:predict", b"no gzip", headers)
    assert (answer.status, answer.error) == (400, "JSON Parse error: The document is empty")


def test_any_content_type(process: Process) -> None:
    answer = process.ask(
        "POST", "/v1/models/default:predict", {"instances": [1.0]}, {"Content-Type": "image/png"}
    )
    assert answer.json == {"predictions": [2.5]}


# Status and metadata.


def test_status_lists_versions_in_descending_order(process: Process) -> None:
    answer = process.ask("GET", "/v1/models/two")
    expected = [
        {
            "version": str(version),
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
        for version in (124, 123)
    ]
    assert answer.json == {"model_version_status": expected}
    # A label is ignored here, even one that does not exist.
    assert process.ask("GET", "/v1/models/two/labels/q").json == answer.json


def test_status_of_a_version_that_failed(process: Process) -> None:
    (status,) = process.ask("GET", "/v1/models/bad").json["model_version_status"]
    assert status == {
        "version": "123",
        "state": "END",
        "status": {
            "error_code": "UNIMPLEMENTED",
            "error_message": "Session Bundle is deprecated and removed.",
        },
    }


def test_metadata_of_a_tensorflow_2_model(process: Process) -> None:
    signatures = process.ask("GET", "/v1/models/tf2/metadata").json["metadata"]["signature_def"][
        "signature_def"
    ]
    assert signatures["serving_default"]["defaults"]["x"]["dtype"] == "DT_FLOAT"
    init = signatures["__saved_model_init_op"]
    assert [o["dtype"] for o in init["outputs"].values()] == ["DT_INVALID"]


# The models.


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        ("default", {"instances": [1.0, 2.0]}, {"predictions": [2.5, 3.0]}),
        # Shapes are the graph's business: the signature says [-1, 1].
        ("default", {"inputs": 2.0}, {"outputs": 3.0}),
        ("default", {"inputs": [[1, 2], [3, 4]]}, {"outputs": [[2.5, 3.0], [3.5, 4.0]]}),
        ("default", {"inputs": {"x": [1.0]}}, {"outputs": [2.5]}),
        ("default", {"inputs": {"x": [1.0], "extra": 1}}, {"outputs": [2.5]}),
        ("default", {"instances": [{"x": 1.0}], "signature_name": ""}, {"predictions": [2.5]}),
        ("tf2", {"instances": [[1.0], [2.0]]}, {"predictions": [[2.5], [3.0]]}),
        ("three", {"instances": [1.0, 2.0]}, {"predictions": [3.5, 4.0]}),
        (
            "matrix",
            {"instances": [[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]},
            {"predictions": [[[2.5, 3.0, 3.5], [4.0, 4.5, 5.0], [5.5, 6.0, 6.5]]]},
        ),
        (
            "text",
            {"instances": ["ab", {"b64": "Yw=="}]},
            {"predictions": [{"upper": "AB", "length": 2}, {"upper": "C", "length": 1}]},
        ),
        (
            "text",
            {"inputs": {"x": ["ab"]}},
            {"outputs": {"upper": ["AB"], "length": [2]}},
        ),
        (
            "multi",
            {"instances": [{"a": [1, 2], "b": 3}]},
            {"predictions": [{"sum": [4.0, 5.0], "product": 3.0}]},
        ),
        ("lookup", {"instances": ["version", "q"]}, {"predictions": [2, -1]}),
    ],
)
def test_models(process: Process, model: str, body: Any, expected: Any) -> None:
    answer = process.predict(model, body)
    assert (answer.status, answer.json) == (200, expected)


def test_the_counter_keeps_its_state(process: Process) -> None:
    def by(delta: float) -> Any:
        body = {"signature_name": "incr_counter_by", "inputs": {"delta": delta}}
        return process.predict("counter", body).json

    first = by(1.0)["outputs"]
    assert by(2.5) == {"outputs": first + 2.5}


def test_a_signature_without_inputs(process: Process) -> None:
    """TensorFlow Serving refuses it over REST in either form."""
    body = {"signature_name": "get_counter", "instances": []}
    answer = process.predict("counter", body)
    assert (answer.status, answer.error) == (
        400,
        "Failed to get input map for signature: get_counter",
    )
    assert process.predict("counter", {"signature_name": "reset_counter", "inputs": {}}).json == {
        "outputs": 0.0
    }


# The order of checks, and their texts.


@pytest.mark.parametrize(
    ("model", "body", "status", "error"),
    [
        ("q", "", 400, "JSON Parse error: The document is empty"),
        ("q", " ", 400, "JSON Parse error: The document is empty. at offset: 1"),
        ("q", "{", 400, "JSON Parse error: Missing a name for object member. at offset: 1"),
        ("q", "[1]", 400, "JSON Value: [1] Is not object"),
        (
            "q",
            {"signature_name": 5},
            400,
            'JSON Value: {\n    "signature_name": 5\n} not formatted correctly. '
            "'signature_name' key must be a string value.",
        ),
        ("q", {"instances": []}, 404, "Servable not found for request: Latest(q)"),
        (
            "default",
            {"signature_name": "q", "instances": []},
            400,
            'Serving signature name: "q" not found in signature def',
        ),
        (
            "default",
            {"instances": [1], "inputs": [1]},
            400,
            'JSON Value: {\n    "instances": [1],\n    "inputs": [1]\n} Not formatted correctly '
            "expecting only one of 'inputs' or 'instances' keys to exist ",
        ),
        (
            "default",
            {"instances": 5},
            400,
            'JSON Value: {\n    "instances": 5\n} Expecting \'instances\' to be an list/array',
        ),
        (
            "default",
            {"instances": []},
            400,
            'JSON Value: {\n    "instances": []\n} No values in \'instances\' array',
        ),
        ("default", {}, 400, "Missing 'inputs' or 'instances' key"),
        ("default", {"inputs": {"y": 1}}, 400, "Missing named input: x in 'inputs' object."),
        (
            "multi",
            {"instances": [1, 2]},
            400,
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map",
        ),
        (
            "multi",
            {"inputs": [1]},
            400,
            "inputs is a plain value/list, but expecting an object as multiple input tensors "
            "required as per tensorinfo_map",
        ),
        (
            "default",
            {"instances": [1, "a"]},
            400,
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            'JSON Value: "a" Type: String is not of expected type: float',
        ),
        (
            "default",
            {"instances": [[1, 2], [3]]},
            400,
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            "Expecting tensor size: 2 but got: 1",
        ),
        (
            "default",
            {"instances": [{"x": 1}, 1]},
            400,
            "Expecting object but got list at item 1 of input list",
        ),
        (
            "default",
            {"instances": [1, {"x": 1}]},
            400,
            "Expecting value/list but got object at item 1 of input list",
        ),
        (
            "text",
            {"inputs": {"b64": "%"}},
            400,
            "Unable to base64 decode",
        ),
        (
            "identity",
            {"signature_name": "half", "inputs": [1]},
            501,
            "Conversion of JSON Value: 1 to type: half",
        ),
        (
            "identity",
            {"signature_name": "half", "instances": [1]},
            400,
            "Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: "
            "Conversion of JSON Value: 1 to type: half",
        ),
        ("identity", {"signature_name": "int32", "inputs": [1.0]}, 400,
         "JSON Value: 1.0 Type: Number is not of expected type: int32"),
    ],
)  # fmt: skip
def test_refusals(process: Process, model: str, body: Any, status: int, error: str) -> None:
    answer = process.predict(model, body)
    assert (answer.status, answer.error) == (status, error)


def test_trailing_garbage_and_depth(process: Process) -> None:
    assert process.predict("default", '{"instances": [1]} garbage').json == {"predictions": [2.5]}
    deep = f'{{"instances": [1], "nested": {DEEP}}}'
    assert process.predict("default", deep).json == {"predictions": [2.5]}


@pytest.mark.parametrize(
    ("signature", "body", "expected"),
    [
        ("float", "[1.79769e+308]", [math.inf]),
        ("float", "[-1.79769e+308]", [-math.inf]),
        ("float", "[2.22507e-308]", [0.0]),
        ("float", "[NaN, Infinity, -Infinity, Inf]", [math.nan, math.inf, -math.inf, math.inf]),
        ("double", "[0.1, 1e300]", [0.1, 1e300]),
        ("int64", "[9223372036854775807]", [9223372036854775807]),
        ("uint64", "[18446744073709551615]", [18446744073709551615]),
        ("bool", "[true, false]", [True, False]),
        ("uint8", "[300]", [44]),
    ],
)
def test_numbers(process: Process, signature: str, body: str, expected: list[Any]) -> None:
    text = f'{{"signature_name": "{signature}", "inputs": {body}}}'
    got = process.predict("identity", text).json["outputs"]
    assert [repr(v) for v in got] == [repr(v) for v in expected]


@pytest.mark.parametrize("numbers", [[9000000, 999999, 0.5, 0.0003, 0.00003, 555557.5, 2.16666675]])
def test_floats_round_trip(process: Process, numbers: list[float]) -> None:
    answer = process.predict("identity", {"signature_name": "float", "inputs": numbers})
    got = np.array(answer.json["outputs"], np.float32)
    assert np.array_equal(got, np.array(numbers, np.float32))


def test_an_input_dtype_that_json_lacks(process: Process) -> None:
    body = {"signature_name": "complex64", "inputs": [1]}
    answer = process.predict("identity", body)
    assert (answer.status, answer.error) == (
        501,
        "Conversion of JSON Value: 1 to type: complex64",
    )


# Classify and regress.


@pytest.mark.parametrize(
    ("verb", "signature", "examples", "expected"),
    [
        ("classify", "classify_x_to_y", [{"x": 2.0}, {"x": 80.0}], [[["", 3.0]], [["", 42.0]]]),
        ("regress", "regress_x_to_y", [{"x": 80.0}, {"x": 20.0}], [42.0, 12.0]),
        ("regress", "regress_x_to_y2", [{"x": [2.0]}], [4.0]),
    ],
)
def test_examples(
    process: Process, verb: str, signature: str, examples: Any, expected: Any
) -> None:
    body = {"signature_name": signature, "examples": examples}
    answer = process.ask("POST", f"/v1/models/two:{verb}", body)
    assert (answer.status, answer.json) == (200, {"results": expected})


def test_context_is_overridden_by_an_example(process: Process) -> None:
    body = {
        "signature_name": "regress_x_to_y",
        "context": {"x": 80.0},
        "examples": [{}, {"x": 2.0}],
    }
    answer = process.ask("POST", "/v1/models/two:regress", body)
    assert answer.json == {"results": [42.0, 3.0]}


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (
            {"y": 1},
            400,
            "JSON Value: {\n    \"y\": 1\n} When method is classify, key 'examples' is expected "
            "and was not found",
        ),
        (
            {"examples": 1},
            400,
            "JSON Value: {\n    \"examples\": 1\n} Expecting 'examples' value to be an list/array",
        ),
        (
            {"examples": []},
            400,
            "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array",
        ),
        ({"examples": [[1]]}, 400, "Example must be JSON object but got JSON Array"),
        (
            {"examples": [{"x": [1, None]}]},
            400,
            "Feature: x has element with unexpected JSON type: Null",
        ),
        (
            {"examples": [{"x": [1, 1.5]}]},
            400,
            "Unexpected element type in feature: x expecting type: int64",
        ),
        (
            {"examples": [{"x": 18446744073709551603}]},
            400,
            "Feature: x has uint64_t element. Only int64_t is supported.",
        ),
        ({"examples": [{"x": 1.0}]}, 404, "Servable not found for request: Latest(q)"),
    ],
)
def test_wrong_examples_come_before_a_missing_model(
    process: Process, body: Any, status: int, error: str
) -> None:
    answer = process.ask("POST", "/v1/models/q:regress", body)
    assert (answer.status, answer.error) == (status, error)


def test_an_integer_is_no_float(process: Process) -> None:
    body = {"signature_name": "regress_x_to_y", "examples": [{"x": 2}]}
    answer = process.ask("POST", "/v1/models/two:regress", body)
    assert answer.status == 400
    assert answer.error.startswith(
        "Name: <unknown>, Key: x, Index: 0.  Data types don't match. "
        "Data type: int64 but expected type: float"
    )


# Options, at a server of their own.


def test_cors(server: Server) -> None:
    core = server.core
    codec = server.run(_codec())
    rest = RestApi(core.manager, core.scheduler, codec, enable_cors=True)
    http_server = HttpServer(rest, access=AccessPolicy(allowed_origins={"*"}))
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    server.run(http_server.start(sock))
    expected = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "POST, GET",
        "Access-Control-Allow-Headers": "Content-Type",
    }
    try:
        for method, target, origin, status in (
            ("GET", "/v1/models/q", None, 404),
            ("GET", "/v1/models/", "https://lab.example", 400),
            ("OPTIONS", "/v1/models/q:predict", "https://lab.example", 200),
            ("OPTIONS", "/v1/models/q:predict", None, 400),
            ("OPTIONS", "/v1/models/q:predict", "lab.example", 400),
        ):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request(method, target, headers={"Origin": origin} if origin else {})
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            assert answer.status == status
            assert {k: answer.headers[k] for k in expected} == expected
            assert body == b"" or method == "GET"
        # As in the original, these are no answers of the API.
        for target, status in (
            ("/monitoring/prometheus/metrics", 200),
            ("/monitoring/prometheus/metrics?x", 400),
            ("/elsewhere", 404),
        ):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", target, headers={"Origin": "https://lab.example"})
            answer = connection.getresponse()
            answer.read()
            connection.close()
            assert answer.status == status
            assert [name for name in answer.headers if name.startswith("Access-Control")] == []
    finally:
        server.run(http_server.stop(0))
        server.run(codec.close())


async def _codec() -> CodecProcess:
    return CodecProcess()
