from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import Code, ServingError
from workbench.formats.signature_checks import (
    check_inputs,
    check_outputs_exist,
    classification,
    examples_signature,
    regression,
)

FLOATS = TensorInfo("float", (-1,), "x:0")
STRINGS = TensorInfo("string", (-1,))


def signature(
    inputs: str, outputs: str, defaults: str = "", info: TensorInfo = FLOATS
) -> Signature:
    return Signature(
        dict.fromkeys(inputs.split(), info),
        dict.fromkeys(outputs.split(), FLOATS),
        "",
        frozenset(defaults.split()),
    )


def refusal(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)


# Predict.


def test_inputs_that_fit_pass() -> None:
    check_inputs(signature("a b", "y"), {"a": 1, "b": 2})
    check_inputs(signature("a b", "y", defaults="b"), {"a": 1})
    check_inputs(signature("", "y"), {})


@pytest.mark.parametrize(
    ("wanted", "defaults", "sent", "message"),
    [
        ("a b", "", "a",
         "input size does not match signature: 1!=2 len({a}) != len({a,b}). Sent extra: {}. "
         "Missing but required: {b}."),
        ("a", "", "a z q",
         "input size does not match signature: 3!=1 len({a,q,z}) != len({a}). "
         "Sent extra: {q,z}. Missing but required: {}."),
        ("a b", "", "a c",
         "Signature input alias: b(feed name: x:0) not found in request and no default value "
         "provided. Inputs expected to be in the request {a,c}, or default input alias set: "),
        ("a b", "b", "c",
         "Signature input alias: a(feed name: x:0) not found in request and no default value "
         "provided. Inputs expected to be in the request {c}, or default input alias set: b"),
        ("a b", "b", "a c",
         "Inputs contains invalid name. Used request inputs: a, request input: a,c"),
        ("", "", "x",
         "input size does not match signature: 1!=0 len({x}) != len({}). Sent extra: {x}. "
         "Missing but required: {}."),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit(wanted: str, defaults: str, sent: str, message: str) -> None:
    with pytest.raises(ServingError) as refused:
        check_inputs(signature(wanted, "y", defaults), dict.fromkeys(sent.split()))
    assert refused.value == refusal(message)


def test_an_output_filter_names_outputs_that_exist_once() -> None:
    described = signature("x", "a b")
    check_outputs_exist(described, ())
    check_outputs_exist(described, ("b", "a"))
    with pytest.raises(ServingError) as refused:
        check_outputs_exist(described, ("a", "z"))
    assert refused.value == refusal(
        "output tensor alias not found in signature: z Outputs expected to be in the set {a,b}."
    )
    with pytest.raises(ServingError) as refused:
        check_outputs_exist(described, ("a", "b", "a"))
    assert refused.value == refusal("duplicate output tensor alias: a")


# Classify and regress: which signatures are for examples.


@pytest.mark.parametrize(
    ("method", "outputs", "asked"),
    [
        ("regress", "outputs", ("outputs",)),
        ("classify", "scores", ("scores",)),
        ("classify", "classes", ("classes",)),
        ("classify", "scores classes", ("classes", "scores")),
        ("classify", "scores other", ("scores",)),
    ],
)
def test_what_a_signature_for_examples_is_asked_for(
    method: str, outputs: str, asked: tuple[str, ...]
) -> None:
    assert examples_signature({"s": signature("inputs", outputs)}, "s", method) == asked


@pytest.mark.parametrize(
    ("method", "inputs", "outputs", "message"),
    [
        ("regress", "inputs more", "outputs", "Expected one input Tensor."),
        ("classify", "", "scores", "Expected one input Tensor."),
        ("regress", "inputs", "outputs more", "Expected one output Tensor."),
        ("regress", "x", "outputs",
         "No regression inputs found in SignatureDef: (x: string[?]) -> (outputs: float[?])"),
        ("regress", "inputs", "y",
         "No regression outputs found in SignatureDef: (inputs: string[?]) -> (y: float[?])"),
        ("classify", "inputs", "", "Expected one or two output Tensors, found 0"),
        ("classify", "inputs", "a b c", "Expected one or two output Tensors, found 3"),
        ("classify", "x", "scores",
         "No classification inputs found in SignatureDef: (x: string[?]) -> (scores: float[?])"),
        ("classify", "inputs", "y",
         'Expected classification signature outputs to contain at least one of "classes" or '
         '"scores". Signature was: (inputs: string[?]) -> (y: float[?])'),
    ],
)  # fmt: skip
def test_signatures_that_are_not_for_examples(
    method: str, inputs: str, outputs: str, message: str
) -> None:
    described = {"s": signature(inputs, outputs, info=STRINGS)}
    with pytest.raises(ServingError) as refused:
        examples_signature(described, "s", method)
    assert refused.value == refusal(message)


@pytest.mark.parametrize("method", ["classify", "regress"])
def test_an_unknown_signature_for_examples(method: str) -> None:
    with pytest.raises(ServingError) as refused:
        examples_signature({}, "s", method)
    assert refused.value == refusal("No signature was found with the name: s")


# Their outputs.


def texts(*rows: list[bytes]) -> np.ndarray:
    return np.array(rows, object)


def test_labels_and_scores_of_a_classification() -> None:
    labels, scores = texts([b"a", b"b"]), np.array([[0.25, 0.75]], np.float32)
    both = classification({"classes": labels, "scores": scores}, 1)
    assert both[0] is labels
    assert both[1] is scores
    assert classification({"scores": scores}, 1) == (None, scores)
    assert classification({"classes": labels}, 1)[1] is None


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"scores": np.zeros(2, np.float32)},
         "Expected Tensor shape: [batch_size num_classes] but got [2]"),
        ({"classes": texts([b"a"])[:, :, None]},
         "Expected Tensor shape: [batch_size num_classes] but got [1,1,1]"),
        ({"scores": np.zeros((2, 3))}, "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE"),
        ({"classes": np.zeros((2, 3), np.int64)},
         "Expected classes Tensor of DT_STRING. Got: DT_INT64"),
        ({"scores": np.zeros((3, 2), np.float32)},
         "Expected scores output batch size of 2. Got: 3"),
        ({"classes": texts([b"a"])}, "Expected classes output batch size of 2. Got: 1"),
        ({"classes": texts([b"a"], [b"b"]), "scores": np.zeros((2, 3), np.float32)},
         "Tensors class and score should match in dim_size(1). Got 1 vs. 3"),
    ],
)  # fmt: skip
def test_outputs_that_are_no_classification(outputs: Any, message: str) -> None:
    with pytest.raises(ServingError) as refused:
        classification(outputs, 2)
    assert refused.value == refusal(message)


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_values_of_a_regression(shape: tuple[int, ...]) -> None:
    values = np.array([1.5, -2.0], np.float32).reshape(shape)
    got = regression({"outputs": values}, 2)
    assert (got.shape, got.tolist()) == ((2,), [1.5, -2.0])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.float32(1.0),
         "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got []"),
        (np.zeros((2, 2), np.float32),
         "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
         "[2,2]"),
        (np.zeros(3, np.float32), "Input batch size did not match output batch size: 2 vs. 3"),
        (np.zeros(2), "Expected output Tensor of DT_FLOAT.  Got: DT_DOUBLE"),
    ],
)  # fmt: skip
def test_outputs_that_are_no_regression(values: Any, message: str) -> None:
    with pytest.raises(ServingError) as refused:
        regression({"outputs": np.asarray(values)}, 2)
    assert refused.value == refusal(message)
