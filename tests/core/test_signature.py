"""Signatures as plain data: there and back, and how they read."""

from __future__ import annotations

import json

from workbench.core.signature import Signature, TensorInfo

SIGNATURE = Signature(
    inputs={
        "b": TensorInfo("int32", (-1,), "feed_b:0"),
        "a": TensorInfo("float", (-1, 28, 28)),
    },
    outputs={"y": TensorInfo("string", None), "z": TensorInfo("double", ())},
    method_name="tensorflow/serving/predict",
    defaults=frozenset({"b"}),
)


def test_json_and_back() -> None:
    data = SIGNATURE.to_json()
    assert data == {
        "inputs": {
            "b": {"dtype": "int32", "shape": [-1], "name": "feed_b:0"},
            "a": {"dtype": "float", "shape": [-1, 28, 28]},
        },
        "outputs": {
            "y": {"dtype": "string", "shape": None},
            "z": {"dtype": "double", "shape": []},
        },
        "method_name": "tensorflow/serving/predict",
        "defaults": ["b"],
    }
    assert Signature.from_json(json.loads(json.dumps(data))) == SIGNATURE


def test_reads_well() -> None:
    assert str(SIGNATURE) == ("(a: float[?, 28, 28], b: int32[?]) -> (y: string[...], z: double[])")


def test_the_names_that_inputs_had_before() -> None:
    renamed = Signature(SIGNATURE.inputs, SIGNATURE.outputs, originals={"a": "sepal length (cm)"})
    data = renamed.to_json()
    assert data["originals"] == {"a": "sepal length (cm)"}
    assert Signature.from_json(json.loads(json.dumps(data))) == renamed
    assert Signature.from_json(SIGNATURE.to_json()).originals == {}


def test_a_digest_is_the_same_for_equal_signatures_only() -> None:
    turned = Signature(
        dict(reversed(SIGNATURE.inputs.items())),
        SIGNATURE.outputs,
        SIGNATURE.method_name,
        SIGNATURE.defaults,
    )
    assert turned.digest() == SIGNATURE.digest()
    assert Signature.from_json(SIGNATURE.to_json()).digest() == SIGNATURE.digest()
    others = [
        Signature({}, SIGNATURE.outputs),
        Signature({"a": TensorInfo("float", (-1,))}, {}),
        Signature({"a": TensorInfo("float", (-1, 2))}, {}),
        Signature({"a": TensorInfo("double", (-1, 2))}, {}),
        Signature({"b": TensorInfo("double", (-1, 2))}, {}),
        Signature({"b": TensorInfo("double", (-1, 2))}, {}, originals={"b": "a b"}),
    ]
    assert len({s.digest() for s in [*others, SIGNATURE]}) == len(others) + 1
