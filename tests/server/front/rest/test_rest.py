"""The REST API over a real core: real models, real sockets."""

from __future__ import annotations

import gzip
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from tests.server.conftest import TOKEN, Planes
from tests.servers import Server
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.signature import Signature, TensorInfo
from workbench.ipc import TENSORS
from workbench.ipc.frames import decode_message, encode_message
from workbench.server.front.access import NEEDS_TOKEN
from workbench.server.front.http.message import NOT_FOUND_PAGE
from workbench.server.front.rest import examples as examples_module
from workbench.server.front.rest import predict as predict_module

pytestmark = pytest.mark.usefixtures("catalog")

JSON = {"Content-Type": "application/json"}
# Longer than a body that is read on the event loop may be.
MANY = [i / 4 for i in range(20_000)]


def pretty(data: Any) -> bytes:
    return json.dumps(data, indent=1).encode() + b"\n"


def status_entry(version: int, state: str, code: str = "OK", message: str = "") -> dict[str, Any]:
    return {
        "version": str(version),
        "state": state,
        "status": {"error_code": code, "error_message": message},
    }


# Status and metadata.


@pytest.mark.parametrize(
    ("target", "versions"),
    [
        ("/v1/models/half", [2, 1]),
        ("/v1/models/half/versions/1", [1]),
        # A label is ignored, known or not.
        ("/v1/models/half/labels/stable", [2, 1]),
        ("/v1/models/half/labels/unheard-of", [2, 1]),
    ],
)
def test_status(planes: Planes, target: str, versions: list[int]) -> None:
    answer = planes.ask("GET", target)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    listed = [status_entry(v, "AVAILABLE") for v in versions]
    assert answer.body == pretty({"model_version_status": listed})


def test_status_tells_why_a_version_is_not_served(planes: Planes) -> None:
    answer = planes.ask("GET", "/v1/models/broken")
    failed, serving = answer.json["model_version_status"]
    message = failed["status"].pop("error_message")
    assert message.startswith("Op type not registered 'NoSuchOperation' in binary running on ")
    assert failed == {"version": "2", "state": "END", "status": {"error_code": "NOT_FOUND"}}
    assert serving == status_entry(1, "AVAILABLE")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/v1/models/none", "Could not find any versions of model none"),
        ("/v1/models/none/versions/1", "Could not find version 1 of model none"),
        ("/v1/models/half?x=1", "Could not find any versions of model half?x=1"),
        ("/v1/models/half/versions/7", "Could not find version 7 of model half"),
        ("/v1/models/none/metadata", "Servable not found for request: Latest(none)"),
        ("/v1/models/half/versions/7/metadata",
         "Servable not found for request: Specific(half, 7)"),
        ("/v1/models/half/labels/future/metadata",
         "Servable not found for request: Specific(half, 3)"),
    ],
)  # fmt: skip
def test_status_and_metadata_of_what_is_not_there(
    planes: Planes, target: str, message: str
) -> None:
    answer = planes.ask("GET", target)
    assert (answer.status, answer.error) == (404, message)


@pytest.mark.parametrize(
    ("target", "version"),
    [
        ("/v1/models/half/metadata", 2),
        ("/v1/models/half/versions/1/metadata", 1),
        ("/v1/models/half/labels/stable/metadata", 1),
        ("/v1/models/digits/metadata", 1),
    ],
)
def test_metadata_is_what_protobufs_own_json_writer_says(
    planes: Planes, models: Path, definitions: dict[str, Any], target: str, version: int
) -> None:
    answer = planes.ask("GET", target)
    name = target.split("/")[3]
    export = {("half", 1): "half_plus_two", ("half", 2): "half_plus_three"}.get(
        (name, version), name
    )
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json == {
        "model_spec": {"name": name, "version": str(version), "signature_name": ""},
        "metadata": {"signature_def": {"signature_def": definitions[export]}},
    }


@pytest.fixture(scope="module")
def definitions(models: Path) -> dict[str, Any]:
    """The signatures of some exports, by protobuf's `json_format`."""
    script = """
import json, sys
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2
told = {}
for path in sys.argv[1:]:
    message = saved_model_pb2.SavedModel()
    with open(path + "/saved_model.pb", "rb") as file:
        message.ParseFromString(file.read())
    told[path] = json.loads(json_format.MessageToJson(
        message.meta_graphs[0], always_print_fields_with_no_presence=True,
        preserving_proto_field_name=True))["signature_def"]
print(json.dumps(told))
"""
    names = ("half_plus_two", "half_plus_three", "digits")
    done = subprocess.run(
        [sys.executable, "-c", script, *names],
        cwd=models,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_list_of_models(planes: Planes) -> None:
    names = ["broken", "counter", "digits", "half", "identity", "multi", "rows", "slow", "text"]
    answer = planes.ask("GET", "/v1/models")
    assert (answer.status, answer.json) == (200, {"models": [{"name": n} for n in names]})


# Predict.


@pytest.mark.parametrize(
    ("model", "body", "answered"),
    [
        ("half", {"instances": [1.0, 2.0]}, b'{"predictions":[3.5,4.0]}'),
        ("half", {"instances": [{"x": 1.0}]}, b'{"predictions":[3.5]}'),
        ("half", {"inputs": [1.0, 2.0]}, b'{"outputs":[3.5,4.0]}'),
        ("half", {"inputs": {"x": [1.0]}, "signature_name": ""}, b'{"outputs":[3.5]}'),
        ("half", {"inputs": []}, b'{"outputs":[]}'),
        # NaN is no number of JSON, and is one of TensorFlow Serving's.
        ("half", b'{"instances":[NaN,-Infinity]}', b'{"predictions":[NaN,-Infinity]}'),
        ("half", b'{"instances":[1]} and what follows', b'{"predictions":[3.5]}'),
        ("multi", {"instances": [{"a": [1, 2], "b": 3}]},
         b'{"predictions":[{"product":3.0,"sum":[4.0,5.0]}]}'),
        ("multi", {"inputs": {"a": [[1, 2]], "b": [3]}},
         b'{"outputs":{"product":[3.0],"sum":[[4.0,5.0]]}}'),
        ("text", {"instances": ["abc", {"b64": "w6k="}]},
         '{"predictions":[{"length":3,"upper":"ABC"},{"length":2,"upper":"é"}]}'.encode()),
        ("identity", {"signature_name": "int64", "instances": [2**53 + 1]},
         b'{"predictions":[9007199254740993]}'),
        ("identity", {"signature_name": "bool", "inputs": [True]}, b'{"outputs":[true]}'),
        ("identity", {"signature_name": "anything", "inputs": 2.5}, b'{"outputs":2.5}'),
        ("counter", {"signature_name": "incr_counter_by", "inputs": 0.0}, b'{"outputs":0.0}'),
    ],
)  # fmt: skip
def test_predict(planes: Planes, model: str, body: Any, answered: bytes) -> None:
    answer = planes.ask("POST", f"/v1/models/{model}:predict", body)
    assert (answer.status, answer.body) == (200, answered)
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("place", "outputs", "version"),
    [
        ("", [3.5], "2"),
        ("/versions/1", [2.5], "1"),
        ("/versions/002", [3.5], "2"),
        ("/labels/stable", [2.5], "1"),
        ("/labels/new", [3.5], "2"),
    ],
)
def test_the_version_that_is_asked_for_answers(
    planes: Planes, place: str, outputs: list[float], version: str
) -> None:
    answer = planes.ask("POST", f"/v1/models/half{place}:predict", {"inputs": [1.0]})
    assert (answer.status, answer.json) == (200, {"outputs": outputs})
    assert answer.headers["X-Workbench-Version"] == version


@pytest.mark.parametrize(
    ("place", "status", "message"),
    [
        ("none", 404, "Servable not found for request: Latest(none)"),
        ("none/versions/1", 404, "Servable not found for request: Specific(none, 1)"),
        ("none/labels/stable", 400, "Unrecognized servable version label: stable"),
        ("half/versions/7", 404, "Servable not found for request: Specific(half, 7)"),
        ("half/labels/old", 400, "Unrecognized servable version label: old"),
        ("half/labels/future", 404, "Servable not found for request: Specific(half, 3)"),
        # A version that failed is not served; the one before it is.
        ("broken/versions/2", 404, "Servable not found for request: Specific(broken, 2)"),
    ],
)
@pytest.mark.parametrize("method", ["predict", "regress", "classify"])
def test_what_is_not_served(
    planes: Planes, place: str, method: str, status: int, message: str
) -> None:
    body = {"instances": [1.0], "examples": [{"x": 1.0}]}
    answer = planes.ask("POST", f"/v1/models/{place}:{method}", body)
    assert (answer.status, answer.error) == (status, message)
    assert answer.headers["Content-Type"] == "application/json"


def test_a_model_whose_newest_version_failed_goes_on_serving(planes: Planes) -> None:
    answer = planes.ask("POST", "/v1/models/broken:predict", {"inputs": [1.0]})
    assert (answer.status, answer.body) == (200, b'{"outputs":[2.5]}')


ELEMENT = "Failed to process element: {} of 'instances' list. Error: {}: "


@pytest.mark.parametrize(
    ("model", "body", "message"),
    [
        ("half", b"", "JSON Parse error: The document is empty"),
        ("half", b"{", "JSON Parse error: Missing a name for object member. at offset: 1"),
        ("half", {"instances": [1.0], "signature_name": "nope"},
         'Serving signature name: "nope" not found in signature def'),
        ("half", {}, "Missing 'inputs' or 'instances' key"),
        ("half", {"inputs": {"z": [1.0]}}, "Missing named input: x in 'inputs' object."),
        ("half", {"instances": [[1.0, 2.0], [3.0]]},
         ELEMENT.format(1, "INVALID_ARGUMENT") + "Expecting tensor size: 2 but got: 1"),
        ("half", {"instances": ["a"]},
         ELEMENT.format(0, "INVALID_ARGUMENT")
         + 'JSON Value: "a" Type: String is not of expected type: float'),
        ("identity", {"signature_name": "int32", "instances": [1.5]},
         ELEMENT.format(0, "INVALID_ARGUMENT")
         + "JSON Value: 1.5 Type: Number is not of expected type: int32"),
        ("identity", {"signature_name": "half", "instances": [1.5]},
         ELEMENT.format(0, "UNIMPLEMENTED") + "Conversion of JSON Value: 1.5 to type: half"),
        # What only the model can refuse, in TensorFlow's own words.
        ("rows", {"signature_name": "picky", "instances": [-1.0]},
         "assertion failed: [x has a negative]\n\t [[{{node Assert/Assert}}]]"),
        # What only the answer's layout can refuse.
        ("rows", {"signature_name": "total", "instances": [1.0, 2.0]},
         "Tensor name: y has no shape information "),
    ],
)  # fmt: skip
def test_a_predict_request_that_is_wrong(
    planes: Planes, model: str, body: Any, message: str
) -> None:
    answer = planes.ask("POST", f"/v1/models/{model}:predict", body)
    assert (answer.status, answer.error) == (400, message)


def test_a_body_in_gzip(planes: Planes) -> None:
    headers = {"Content-Encoding": "gzip"}
    packed = gzip.compress(b'{"instances": [1.0]}')
    answer = planes.ask("POST", "/v1/models/half:predict", packed, headers)
    assert (answer.status, answer.body) == (200, b'{"predictions":[3.5]}')
    # What cannot be inflated is an empty body, as in TensorFlow Serving.
    answer = planes.ask("POST", "/v1/models/half:predict", packed[:-9], headers)
    assert (answer.status, answer.error) == (400, "JSON Parse error: The document is empty")


# Large bodies and large answers, which the codec process converts.


def test_a_large_body(planes: Planes) -> None:
    answer = planes.ask("POST", "/v1/models/half:predict", {"instances": MANY})
    assert (answer.status, answer.json) == (200, {"predictions": [x / 2 + 3 for x in MANY]})
    assert answer.headers["X-Workbench-Version"] == "2"
    assert planes.codec.pid is not None


def test_a_large_body_in_columns_for_a_version(planes: Planes) -> None:
    answer = planes.ask("POST", "/v1/models/half/labels/stable:predict", {"inputs": MANY})
    assert (answer.status, answer.json) == (200, {"outputs": [x / 2 + 2 for x in MANY]})
    assert answer.headers["X-Workbench-Version"] == "1"


@pytest.mark.parametrize(
    ("place", "body", "status", "message"),
    [
        ("none", {"instances": MANY}, 404, "Servable not found for request: Latest(none)"),
        # Whether the model exists is only looked at once the body is known to be JSON.
        ("none", b"[" * 70_000, 400, "JSON Parse error: Invalid value. at offset: 70000"),
        ("half", {"instances": [*MANY, [1.0]]}, 400,
         ELEMENT.format(20_000, "INVALID_ARGUMENT") + "Expecting shape [] but got: [1]"),
        ("half", {"instances": MANY, "signature_name": "nope"}, 400,
         'Serving signature name: "nope" not found in signature def'),
        ("half/versions/9", {"inputs": MANY}, 404,
         "Servable not found for request: Specific(half, 9)"),
    ],
)  # fmt: skip
def test_a_large_body_that_is_wrong(
    planes: Planes, place: str, body: Any, status: int, message: str
) -> None:
    answer = planes.ask("POST", f"/v1/models/{place}:predict", body)
    assert (answer.status, answer.error) == (status, message)


@pytest.mark.parametrize(("key", "answered"), [("instances", "predictions"), ("inputs", "outputs")])
def test_a_large_answer(planes: Planes, key: str, answered: str) -> None:
    x = np.arange(100_000, dtype=np.float32)
    answer = planes.ask("POST", "/v1/models/half:predict", {key: x.tolist()})
    assert (answer.status, answer.json) == (200, {answered: (x / 2 + 3).tolist()})
    assert answer.headers["X-Workbench-Version"] == "2"


@pytest.mark.parametrize("count", [1000, 20_000])
def test_what_is_read_slowly_is_not_read_on_the_loop(
    planes: Planes, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Bodies of some size that only the exact reader can tell, and all examples."""

    def refuse(*_: Any) -> NoReturn:
        raise AssertionError("read on the event loop")

    monkeypatch.setattr(predict_module, "decode_predict", refuse)
    monkeypatch.setattr(examples_module, "decode_examples", refuse)
    numbers = ",".join(["1.0"] * count)
    body = f'{{"instances": [{numbers}, Infinity, 1.0]}}'.encode() + b" " * 8192
    answer = planes.ask("POST", "/v1/models/half:predict", body)
    assert (answer.status, len(answer.json["predictions"])) == (200, count + 2)
    assert answer.json["predictions"][-2:] == [float("inf"), 3.5]
    for method, result in (("classify", [["", 3.5]]), ("regress", 3.5)):
        body = json.dumps(
            {"signature_name": f"{method}_x_to_y", "examples": [{"x": 1.0}] * count}
        ).encode()
        answer = planes.ask("POST", f"/v1/models/half:{method}", body)
        assert (answer.status, answer.json) == (200, {"results": [result] * count})
        assert answer.headers["X-Workbench-Version"] == "2"


@pytest.mark.parametrize(
    ("place", "rest", "status", "message"),
    [
        # Examples are looked at before the model is.
        ("none", '"examples": [{"x": null}]', 400,
         "Feature: x has element with unexpected JSON type: Null"),
        ("none", '"examples": [{"x": 1.0}]', 404, "Servable not found for request: Latest(none)"),
        ("half", '"signature_name": "nope", "examples": [{"x": 1.0}]', 400,
         "No signature was found with the name: nope"),
    ],
)  # fmt: skip
def test_large_examples_that_are_wrong(
    planes: Planes, place: str, rest: str, status: int, message: str
) -> None:
    body = f'{{{rest}, "more": "{"x" * 70_000}"}}'.encode()
    answer = planes.ask("POST", f"/v1/models/{place}:regress", body)
    assert (answer.status, answer.error) == (status, message)


def test_a_codec_process_that_was_killed_costs_one_request_at_most(planes: Planes) -> None:
    planes.ask("POST", "/v1/models/half:predict", {"instances": MANY})
    pid = planes.codec.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    answer = planes.ask("POST", "/v1/models/half:predict", {"instances": MANY})
    assert (answer.status, answer.error) == (
        503,
        "The process that converts large bodies ended (exit status -9). Try again.",
    )
    answer = planes.ask("POST", "/v1/models/half:predict", {"instances": MANY})
    assert answer.status == 200
    assert planes.codec.pid not in (None, pid)


def test_an_unforeseen_failure_is_answered_and_logged(
    planes: Planes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(planes.codec, "decode_predict", fail)
    answer = planes.ask("POST", "/v1/models/half:predict", {"instances": MANY})
    assert (answer.status, answer.error) == (500, "Internal error; see the server's log")
    assert [(r.name, r.levelno) for r in caplog.records] == [
        ("workbench.server.front.rest.rest_front", logging.ERROR)
    ]
    caplog.clear()


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(planes: Planes) -> None:
    with planes.connect() as sock:
        sock.sendall(
            b"POST /v1/models/half:predict HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Length: 1073741824\r\n\r\n"
        )
        answered = b""
        while piece := sock.recv(65536):
            answered += piece
    head, _, body = answered.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 Request Entity Too Large\r\n")
    assert b"Connection: close" in head
    assert json.loads(body) == {"error": "The request's body is larger than 268435456 bytes."}


# Binary bodies.


def binary(header: dict[str, Any], **tensors: Any) -> bytes:
    return encode_message(header, {name: np.asarray(a) for name, a in tensors.items()})


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_a_binary_body(planes: Planes) -> None:
    body = binary({}, x=floats(1, 2))
    answer = planes.ask("POST", "/v1/models/half:predict", body, {"Content-Type": TENSORS})
    assert (answer.status, answer.headers["Content-Type"]) == (200, TENSORS)
    assert answer.headers["X-Workbench-Version"] == "2"
    header, outputs = decode_message(answer.body)
    assert header["version"] == 2
    assert {n: (a.dtype.str, a.tolist()) for n, a in outputs.items()} == {"y": ("<f4", [3.5, 4.0])}


def test_a_large_binary_body_and_an_output_filter(planes: Planes) -> None:
    a = np.ones((50_000, 2), np.float32)
    b = np.arange(50_000, dtype=np.int32)
    body = binary({"signature": "serving_default", "outputs": ["product"]}, a=a, b=b)
    answer = planes.ask("POST", "/v1/models/multi:predict", body, {"Content-Type": TENSORS})
    assert answer.status == 200
    _, outputs = decode_message(answer.body)
    assert list(outputs) == ["product"]
    np.testing.assert_array_equal(outputs["product"], b.astype(np.float64))


def test_a_binary_body_for_the_signature_that_is_served(planes: Planes) -> None:
    x = TensorInfo("float", (-1,), "x:0")
    y = TensorInfo("float", (-1,), "y:0")
    served = Signature({"x": x}, {"y": y}, "tensorflow/serving/predict")
    body = binary({"digest": served.digest()}, x=floats(1))
    answer = planes.ask("POST", "/v1/models/half:predict", body, {"Content-Type": TENSORS})
    assert answer.status == 200
    # One for another signature is refused before its inputs are looked at, with the one there is.
    body = binary({"digest": "0"}, q=floats(1), outputs=floats())
    answer = planes.ask("POST", "/v1/models/half:predict", body, {"Content-Type": TENSORS})
    about = json.loads(answer.body)
    assert (answer.status, about["error"]) == (
        412,
        "The request was made for another signature than the one that version 2 has: "
        "(x: float[?]) -> (y: float[?])",
    )
    assert Signature.from_json(about["signature"]) == served


@pytest.mark.parametrize(
    ("header", "tensors", "message"),
    [
        ({"digest": 5}, {"x": floats(1)}, "'digest' must be a string; was 5"),
        ({"signature": "nope"}, {"x": floats(1)},
         'Serving signature name: "nope" not found in signature def'),
        ({"signature": ["serving_default"]}, {"x": floats(1)},
         "'signature' must be a string; was ['serving_default']"),
        ({"outputs": 5}, {"x": floats(1)}, "'outputs' must be a list of output names; was 5"),
        ({"outputs": [["y"]]}, {"x": floats(1)},
         "'outputs' must be a list of output names; was [['y']]"),
        ({"outputs": ["z"]}, {"x": floats(1)},
         "output tensor alias not found in signature: z Outputs expected to be in the set {y}."),
        ({"outputs": ["y", "y"]}, {"x": floats(1)}, "duplicate output tensor alias: y"),
        ({}, {"q": floats(1)},
         "Signature input alias: x(feed name: x:0) not found in request and no default value "
         "provided. Inputs expected to be in the request {q}, or default input alias set: "),
        ({}, {},
         "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. "
         "Missing but required: {x}."),
    ],
)  # fmt: skip
def test_a_binary_body_that_is_wrong(
    planes: Planes, header: dict[str, Any], tensors: dict[str, Any], message: str
) -> None:
    body = encode_message(header, tensors)
    answer = planes.ask("POST", "/v1/models/half:predict", body, {"Content-Type": TENSORS})
    assert (answer.status, answer.error) == (400, message)
    assert answer.headers["Content-Type"] == "application/json"


def test_a_binary_body_that_is_none(planes: Planes) -> None:
    answer = planes.ask("POST", "/v1/models/half:predict", b"{}", {"Content-Type": TENSORS})
    assert (answer.status, answer.error) == (
        400,
        "The binary body cannot be read: the message ends within its lengths",
    )


def test_a_binary_body_that_the_model_refuses(planes: Planes) -> None:
    body = binary({"signature": "picky"}, x=floats(-1))
    answer = planes.ask("POST", "/v1/models/rows:predict", body, {"Content-Type": TENSORS})
    assert (answer.status, answer.error) == (
        400,
        "assertion failed: [x has a negative]\n\t [[{{node Assert/Assert}}]]",
    )


# Classify and regress.


@pytest.mark.parametrize(
    ("target", "signature", "examples", "answered"),
    [
        ("half:classify", "classify_x_to_y", [{"x": 2.0}], b'{"results":[[["",4.0]]]}'),
        ("half/versions/1:classify", "classify_x_to_y", [{"x": 2.0}, {"x": [80.0]}],
         b'{"results":[[["",3.0]],[["",42.0]]]}'),
        ("half:regress", "regress_x_to_y", [{"x": 2.0}, {}], b'{"results":[4.0,3.0]}'),
        ("half/labels/stable:regress", "regress_x_to_y", [{"x": 2.0}], b'{"results":[3.0]}'),
        # Beyond 64 KiB.
        ("half:regress", "regress_x_to_y", [{"x": 2.0}] * 10_000,
         b'{"results":[' + b",".join([b"4.0"] * 10_000) + b"]}"),
    ],
)  # fmt: skip
def test_classify_and_regress(
    planes: Planes, target: str, signature: str, examples: Any, answered: bytes
) -> None:
    body = {"signature_name": signature, "examples": examples}
    answer = planes.ask("POST", f"/v1/models/{target}", body)
    assert (answer.status, answer.body) == (200, answered)


def test_context_is_shared_by_all_examples(planes: Planes) -> None:
    body = {
        "signature_name": "regress_x_to_y",
        "context": {"x": 10.0},
        "examples": [{}, {"x": 2.0}],
    }
    answer = planes.ask("POST", "/v1/models/half:regress", body)
    assert (answer.status, answer.body) == (200, b'{"results":[8.0,4.0]}')


@pytest.mark.parametrize(
    ("target", "body", "message"),
    [
        ("half:classify", b"", "JSON Parse error: The document is empty"),
        ("half:regress", {"examples": []},
         'JSON Value: {\n    "examples": []\n} \'examples\' value is an empty array'),
        ("half:regress", {"examples": [5]}, "Example must be JSON object but got JSON Number"),
        ("half:regress", {"signature_name": "no", "examples": [{}]},
         "No signature was found with the name: no"),
        ("half:regress", {"examples": [{}]},
         "No regression inputs found in SignatureDef: (x: float[?]) -> (y: float[?])"),
        ("half:classify", {"signature_name": "regress_x_to_y", "examples": [{}]},
         'Expected classification signature outputs to contain at least one of "classes" or '
         '"scores". Signature was: (inputs: string[?]) -> (outputs: float[?, 1])'),
        ("half:regress", {"signature_name": "regress_x_to_y", "examples": [{"x": 2}]},
         "Name: <unknown>, Key: x, Index: 0.  Data types don't match. Data type: int64 but "
         "expected type: float\n\t [[{{node ParseExample/ParseExampleV2}}]]"),
        # Malformed examples are told before a model that does not exist.
        ("none:regress", {"examples": [5]}, "Example must be JSON object but got JSON Number"),
    ],
)  # fmt: skip
def test_classify_and_regress_that_are_wrong(
    planes: Planes, target: str, body: Any, message: str
) -> None:
    answer = planes.ask("POST", f"/v1/models/{target}", body)
    assert (answer.status, answer.error) == (400, message)


# Time.

SLOW = {"inputs": {"x": [1.0], "steps": [3000]}}


def test_a_request_that_takes_too_long(planes: Planes) -> None:
    answer = planes.ask("POST", "/v1/models/slow:predict", SLOW, plane="hasty")
    assert (answer.status, answer.error) == (504, "Timed out waiting for notification")


@pytest.fixture
def patient(catalog: Server) -> Iterator[Server]:
    """Requests to `text` wait for others, for longer than any test does."""

    async def set_batching(parameters: BatchingParameters | None) -> None:
        catalog.core.manager.update("text", batching=parameters)

    waiting = BatchingParameters(max_batch_size=100, batch_timeout_micros=600_000_000)
    catalog.run(set_batching(waiting))
    yield catalog
    catalog.run(set_batching(None))


def test_a_request_that_waits_too_long_for_its_batch(planes: Planes, patient: Server) -> None:
    answer = planes.ask("POST", "/v1/models/text:predict", {"inputs": ["a"]}, plane="hasty")
    assert (answer.status, answer.error) == (
        429,
        "Run() timeout exceeded while waiting in batching queue",
    )


@pytest.mark.parametrize("words", [1, 90])
@pytest.mark.parametrize("as_json", [True, False])
def test_a_client_that_goes_away_takes_its_request_along(
    planes: Planes, patient: Server, words: int, as_json: bool
) -> None:
    scheduler = patient.core.scheduler
    texts = ["word" * 400] * words
    if as_json:
        content, body = "application/json", json.dumps({"inputs": texts}).encode()
    else:
        column = np.array([text.encode() for text in texts], object)
        content, body = TENSORS, encode_message({}, {"x": column})
    before = patient.core.manager.models["text"].versions[1].queues
    assert before is not None
    answered = before.statistics.requests
    with planes.connect() as sock:
        sock.sendall(
            f"POST /v1/models/text:predict HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: {content}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        planes.until(lambda: scheduler.outstanding == 1, "the request waits in its queue")
    planes.until(lambda: scheduler.outstanding == 0, "the request is forgotten")
    assert before.statistics.requests == answered


def test_a_client_that_goes_away_while_its_body_is_converted(planes: Planes) -> None:
    body = json.dumps({"inputs": MANY}).encode()
    with planes.connect() as sock:
        sock.sendall(
            b"POST /v1/models/half:predict HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
    core = planes.server.core
    planes.until(
        lambda: not planes.rest._jobs and core.scheduler.outstanding == 0, "nothing goes on"
    )
    assert planes.ask("GET", "/health/live").status == 200


# Health.


def test_live_and_ready(planes: Planes) -> None:
    answer = planes.ask("GET", "/health/live")
    assert (answer.status, answer.body) == (200, b'{"status": "live"}')
    answer = planes.ask("GET", "/health/ready")
    assert (answer.status, answer.body) == (200, b'{"status": "ready"}')
    answer = planes.ask("HEAD", "/health/ready")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "19")


def test_not_ready_names_the_models_that_are_missing(
    planes: Planes, catalog: Server, tmp_path: Path
) -> None:
    async def add() -> None:
        catalog.set_model("empty", tmp_path)

    async def remove() -> None:
        catalog.core.manager.remove_model("empty")

    catalog.run(add())
    try:
        answer = planes.ask("GET", "/health/ready")
        assert (answer.status, answer.json) == (503, {"status": "not ready", "models": ["empty"]})
    finally:
        catalog.run(remove())


def test_a_server_that_drains_is_live_and_not_ready(
    planes: Planes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planes.rest, "draining", True)
    answer = planes.ask("GET", "/health/ready")
    assert (answer.status, answer.body) == (503, b'{"status":"draining"}')
    assert planes.ask("GET", "/health/live").status == 200


# Other methods, other paths, and who may ask.


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_methods_that_are_not_served(planes: Planes, method: str) -> None:
    answer = planes.ask(method, "/v1/models/half")
    assert (answer.status, answer.error) == (400, f"Malformed request: {method} /v1/models/half")


def test_head_is_refused_without_a_body(planes: Planes) -> None:
    answer = planes.ask("HEAD", "/v1/models/half")
    assert (answer.status, answer.body) == (400, b"")


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://a.example", 200), ("https://b", 200), ("file://", 400), ("", 400)],
)
def test_a_preflight_request(planes: Planes, origin: str, status: int) -> None:
    headers = {"Origin": origin} if origin else {}
    answer = planes.ask("OPTIONS", "/v1/models/half:predict", None, headers, plane="hasty")
    assert (answer.status, answer.body) == (status, b"")


def test_a_version_that_no_number_can_hold(planes: Planes) -> None:
    answer = planes.ask("POST", f"/v1/models/half/versions/{2**63}:predict", {"inputs": [1.0]})
    assert (answer.status, answer.body) == (400, b"")
    assert answer.headers["Content-Type"] == "application/json"


def test_a_path_that_is_not_served(planes: Planes) -> None:
    answer = planes.ask("GET", "/v2/models")
    assert (answer.status, answer.body) == (404, NOT_FOUND_PAGE)
    assert (answer.headers["Content-Type"], answer.headers["Connection"]) == ("text/html", "close")


def test_the_token(planes: Planes) -> None:
    answer = planes.ask("GET", "/v1/models/half", plane="guarded")
    assert (answer.status, answer.error) == (401, NEEDS_TOKEN)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    wrong = {"Authorization": "Bearer nearly"}
    assert planes.ask("GET", "/v1/models/half", headers=wrong, plane="guarded").status == 401
    right = {"Authorization": f"Bearer {TOKEN}"}
    body = {"inputs": [1.0]}
    answer = planes.ask("POST", "/v1/models/half:predict", body, right, plane="guarded")
    assert (answer.status, answer.body) == (200, b'{"outputs":[3.5]}')
    assert planes.ask("GET", "/health/live", plane="guarded").status == 200
