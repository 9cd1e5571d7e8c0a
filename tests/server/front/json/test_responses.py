import json

import numpy as np
import pytest

from workbench.core.status import Code, ServingError, invalid_argument
from workbench.server.front.json.responses import (
    VersionStatus,
    encode_classify,
    encode_error,
    encode_metadata,
    encode_model_status,
    encode_predict,
    encode_regress,
    encoding_bytes,
)


def strings(values: object) -> np.ndarray:
    return np.array(values, object)


@pytest.mark.parametrize(
    ("outputs", "row_format", "text"),
    [
        ({"y": np.array([[[1, 2], [3, 4]], [[7, 8], [9, 0]]], np.int32)}, True,
         b'{"predictions":[[[1,2],[3,4]],[[7,8],[9,0]]]}'),
        ({"y": np.array([1, 2, 3], np.int32)}, True, b'{"predictions":[1,2,3]}'),
        ({"y": np.array([1, 2, 3], np.int32)}, False, b'{"outputs":[1,2,3]}'),
        ({"y": np.array(2.5, np.float32)}, False, b'{"outputs":2.5}'),
        ({"y": np.array([0.1, 3, 9e6, 3e-5], np.float32)}, True,
         b'{"predictions":[0.1,3.0,9000000.0,0.00003]}'),
        ({"y": np.array([np.nan, np.inf, 3, -np.inf], np.float32)}, True,
         b'{"predictions":[NaN,Infinity,3.0,-Infinity]}'),
        ({"y": np.array([[1, np.nan], [-np.inf, 2]])}, False,
         b'{"outputs":[[1.0,NaN],[-Infinity,2.0]]}'),
        ({"y": np.array(np.nan, np.float32)}, False, b'{"outputs":NaN}'),
        ({"y": np.array([-128, 127], np.int8)}, True, b'{"predictions":[-128,127]}'),
        ({"y": np.array([2**64 - 1], np.uint64)}, True, b'{"predictions":[18446744073709551615]}'),
        ({"y": np.array([-(2**63)], np.int64)}, True, b'{"predictions":[-9223372036854775808]}'),
        ({"y": np.array([True, False])}, True, b'{"predictions":[true,false]}'),
        ({"y": np.arange(6, dtype=np.int32).reshape(2, 3).T}, True,
         b'{"predictions":[[0,3],[1,4],[2,5]]}'),
        ({"s_bytes": strings([[b"hello", b"world"], [b"tf", b"serving"]])}, True,
         b'{"predictions":[[{"b64":"aGVsbG8="},{"b64":"d29ybGQ="}],'
         b'[{"b64":"dGY="},{"b64":"c2VydmluZw=="}]]}'),
        ({"y_bytes": np.array([1], np.int32)}, True, b'{"predictions":[1]}'),
        ({"s": strings([b'a"\n', "é".encode(), b"\xff\x00"])}, True,
         b'{"predictions":["a\\"\\n","\xc3\xa9","\xff\\u0000"]}'),
        ({"s": strings(b"one")}, False, b'{"outputs":"one"}'),
        ({"s_bytes": strings(b"one")}, False, b'{"outputs":{"b64":"b25l"}}'),
        # several outputs
        ({"i": np.array([[1, 2], [3, 4]], np.int32), "s": strings([b"foo", b"bar"]),
          "s_bytes": strings([[b"hi"], [b""]]), "f": np.array([1, np.nan], np.float32),
          "null": np.array([[np.inf], [2]])}, True,
         b'{"predictions":['
         b'{"i":[1,2],"s":"foo","s_bytes":[{"b64":"aGk="}],"f":1.0,"null":[Infinity]},'
         b'{"i":[3,4],"s":"bar","s_bytes":[{"b64":""}],"f":NaN,"null":[2.0]}]}'),
        ({"i": np.array([[1, 2]], np.int32), "f": np.array(np.nan)}, False,
         b'{"outputs":{"i":[[1,2]],"f":NaN}}'),
        # empty batches
        ({"y": np.zeros((0, 2), np.float32)}, True, b'{"predictions":[]}'),
        ({"a": np.zeros((0, 1, 2)), "b": np.zeros((0, 3, 4))}, True, b'{"predictions":[]}'),
        ({"y": np.zeros(0, np.float32)}, False, b'{"outputs":[]}'),
        ({"y": np.zeros((2, 0), np.float32)}, True, b'{"predictions":[[],[]]}'),
        ({"s": np.zeros((2, 0), object)}, True, b'{"predictions":[[],[]]}'),
    ],
)  # fmt: skip
def test_predict(outputs: dict[str, np.ndarray], row_format: bool, text: bytes) -> None:
    assert encode_predict(outputs, row_format) == text


@pytest.mark.parametrize(
    ("outputs", "row_format", "message"),
    [
        ({}, True, "Cannot convert empty tensor map to JSON"),
        ({}, False, "Cannot convert empty tensor map to JSON"),
        ({"y": np.array(1)}, True, "Tensor name: y has no shape information "),
        ({"x": np.zeros(2), "y": np.zeros(1)}, True,
         "Tensor name: y has inconsistent batch size: 1 expecting: 2"),
        ({"x": np.zeros((0, 2)), "y": np.zeros((1, 2))}, True,
         "Tensor name: y has inconsistent batch size: 1 expecting: 0"),
        ({"y": np.zeros(1, np.complex64)}, True,
         "Failed to write JSON value for tensor type: complex64"),
        ({"y": np.zeros(1, np.float16)}, False, "Failed to write JSON value for tensor type: half"),
        ({"y": np.zeros(1, np.uint16)}, False,
         "Failed to write JSON value for tensor type: uint16"),
    ],
)  # fmt: skip
def test_predict_refuses(outputs: dict[str, np.ndarray], row_format: bool, message: str) -> None:
    with pytest.raises(ServingError) as caught:
        encode_predict(outputs, row_format)
    assert caught.value == invalid_argument(message)


def test_classify() -> None:
    labels = strings([[b"car", b"bike"], [b"car", b"bike"]])
    scores = np.array([[0.2, 0.7], [np.nan, 1]], np.float32)
    assert encode_classify(labels, scores) == (
        b'{"results":[[["car",0.2],["bike",0.7]],[["car",NaN],["bike",1.0]]]}'
    )
    assert encode_classify(None, scores[:1]) == b'{"results":[[["",0.2],["",0.7]]]}'
    assert encode_classify(labels[:1], None) == b'{"results":[[["car",0.0],["bike",0.0]]]}'
    odd = np.array([[np.nan, np.inf]], np.float32)
    assert encode_classify(np.array([[b'a"', b"\xff"]], object), odd) == (
        b'{"results":[[["a\\"",NaN],["\xff",Infinity]]]}'
    )
    assert encode_classify(None, np.zeros((2, 0), np.float32)) == b'{"results":[[],[]]}'


def test_regress() -> None:
    values = np.array([0.2, np.inf, 1, -np.inf, np.nan], np.float32)
    assert encode_regress(values) == b'{"results":[0.2,Infinity,1.0,-Infinity,NaN]}'


def test_empty_results_are_refused() -> None:
    with pytest.raises(ServingError) as classify:
        encode_classify(None, np.zeros((0, 2), np.float32))
    with pytest.raises(ServingError) as regress:
        encode_regress(np.zeros(0, np.float32))
    assert [classify.value, regress.value] == [
        invalid_argument("Cannot convert empty ClassificationResults to JSON"),
        invalid_argument("Cannot convert empty RegressionResults to JSON"),
    ]


def test_error() -> None:
    assert encode_error('Bad key: "key"') == b'{\n    "error": "Bad key: \\"key\\""\n}'
    assert json.loads(encode_error("é\n\x01")) == {"error": "é\n\x01"}


def test_model_status() -> None:
    versions = [
        VersionStatus(2, "END", Code.NOT_FOUND, 'no "é"'),
        VersionStatus(1, "AVAILABLE"),
    ]
    assert encode_model_status(versions).decode() == (
        '{\n "model_version_status": [\n'
        '  {\n   "version": "2",\n   "state": "END",\n   "status": {\n'
        '    "error_code": "NOT_FOUND",\n    "error_message": "no \\"é\\""\n   }\n  },\n'
        '  {\n   "version": "1",\n   "state": "AVAILABLE",\n   "status": {\n'
        '    "error_code": "OK",\n    "error_message": ""\n   }\n  }\n ]\n}\n'
    )


def test_metadata() -> None:
    assert encode_metadata("digits", 123, b'{\n "signature_def": {}\n}').decode() == (
        '{\n"model_spec":{\n "name": "digits",\n "version": "123",\n "signature_name": ""\n},\n'
        '"metadata": {"signature_def": {\n "signature_def": {}\n}}\n}\n'
    )


def test_what_is_slow_to_write_counts_as_more_bytes() -> None:
    floats = np.zeros((1000, 2), np.float32)
    assert encoding_bytes({"y": floats}, True) == 8000
    long = np.array([b"x" * 300_000], object)
    assert encoding_bytes({"y": long}, True) > 300_000
    short = np.array([b""] * 10_000, object)
    assert encoding_bytes({"y": short}, False) > 500_000
    # A row of several outputs is an object; a column is not.
    assert encoding_bytes({"y": floats, "z": floats}, True) == 16_000 + 64 * 2000
    assert encoding_bytes({"y": floats, "z": np.float32(1)[None][0:1]}, False) == 8004
