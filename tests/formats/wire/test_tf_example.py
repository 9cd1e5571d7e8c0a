import json
import subprocess
import sys

from workbench.formats.wire.tf_example import Feature, encode_example
from workbench.server.front.json.requests import decode_examples

# What TensorFlow's own parser makes of Examples: {name: [kind, values]} for each hex line.
_TENSORFLOWS_VIEW = """
import json, sys
import tensorflow as tf
for line in sys.stdin:
    example = tf.train.Example.FromString(bytes.fromhex(line))
    features = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        values = getattr(feature, kind).value if kind else []
        features[name] = [kind, [v.decode() if isinstance(v, bytes) else v for v in values]]
    print(json.dumps(features))
"""


def test_wire_format_of_each_kind() -> None:
    assert encode_example({}) == b"\x0a\x00"
    assert encode_example({b"n": Feature(None, [])}) == b"\x0a\x07\x0a\x05\x0a\x01n\x12\x00"
    assert encode_example({b"b": Feature("bytes", [b"hi", b""])}) == (
        b"\x0a\x0f\x0a\x0d\x0a\x01b\x12\x08\x0a\x06\x0a\x02hi\x0a\x00"
    )
    assert encode_example({b"f": Feature("float", [1.5])}) == (
        b"\x0a\x0f\x0a\x0d\x0a\x01f\x12\x08\x12\x06\x0a\x04\x00\x00\xc0\x3f"
    )
    assert encode_example({b"i": Feature("int64", [300, -1])}) == (
        b"\x0a\x17\x0a\x15\x0a\x01i\x12\x10\x1a\x0e\x0a\x0c\xac\x02" + b"\xff" * 9 + b"\x01"
    )


def test_a_decimal_beyond_float32_is_infinite() -> None:
    infinite = Feature("float", [float("inf")])
    assert encode_example({b"f": Feature("float", [1e300])}) == encode_example({b"f": infinite})


def test_tensorflow_reads_the_same_features() -> None:
    body = {
        "context": {"country": "nl", "age": 1},
        "examples": [
            {"names": ["foo", "bar"], "ratings": [8.0, -9.5], "age": 20, "long": "x" * 300},
            {"ids": [-(2**63), 2**63 - 1, 0, -1, 300, True], "none": [], "raw": {"b64": "aGk="}},
        ],
    }
    request = decode_examples(json.dumps(body).encode())
    answer = subprocess.run(
        [sys.executable, "-c", _TENSORFLOWS_VIEW],
        input="\n".join(example.hex() for example in request.examples),
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert [json.loads(line) for line in answer.stdout.splitlines()] == [
        {
            "country": ["bytes_list", ["nl"]],
            "age": ["int64_list", [20]],
            "names": ["bytes_list", ["foo", "bar"]],
            "ratings": ["float_list", [8.0, -9.5]],
            "long": ["bytes_list", ["x" * 300]],
        },
        {
            "country": ["bytes_list", ["nl"]],
            "age": ["int64_list", [1]],
            "ids": ["int64_list", [-(2**63), 2**63 - 1, 0, -1, 300, 1]],
            "none": [None, []],
            "raw": ["bytes_list", ["hi"]],
        },
    ]
