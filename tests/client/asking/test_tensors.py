"""Which value goes to which input, and which outputs there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench.client.asking.tensors import check_outputs, to_inputs
from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import Code, ServingError


def info(dtype: str) -> TensorInfo:
    return TensorInfo(dtype, (-1,))


def signature(**inputs: str) -> Signature:
    return Signature({name: info(dtype) for name, dtype in inputs.items()}, {"y": info("float")})


def plain(arrays: dict[str, np.ndarray]) -> dict[str, tuple[str, Any]]:
    return {name: (array.dtype.str, array.tolist()) for name, array in arrays.items()}


def refused(call: Any) -> ServingError:
    with pytest.raises(ServingError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize(
    "x",
    [
        [1, 2],
        (1, 2),
        np.array([1, 2]),
        np.array([1.0, 2.0], np.float32),
        {"x": [1, 2]},
        pd.Series([1, 2]),
        pd.DataFrame({"x": [1, 2]}),
    ],
    ids=lambda x: type(x).__name__,
)
def test_the_only_input_need_not_be_named(x: Any) -> None:
    assert plain(to_inputs(signature(x="float"), x)) == {"x": ("<f4", [1.0, 2.0])}


ONE, TWO = np.array([1.0], np.float32), np.array([2.0], np.float32)


@pytest.mark.parametrize(
    "x", [[ONE, np.array([2])], (ONE, [2]), [[1], [2]], [pd.Series([1.0]), [2]]]
)
def test_inputs_with_numbers_for_names_may_come_as_a_list(x: Any) -> None:
    two = signature(input_1="int32", input_0="float")
    assert plain(to_inputs(two, x)) == {"input_0": ("<f4", [1.0]), "input_1": ("<i4", [2])}


@pytest.mark.parametrize(
    ("names", "x"),
    [
        (("input_0", "input_1"), [ONE]),
        (("input_0", "input_1"), [ONE, TWO, ONE]),
        (("input_0", "input_1"), np.ones((2, 1))),
        # One row of two numbers may be meant.
        (("input_0", "input_1"), [1.0, 2.0]),
        (("input_0", "input_1"), ["a", "b"]),
        (("input_0", "input_1"), [np.float32(1.0), np.array(2.0)]),
        # The order is not certain.
        (("input_1", "input_2"), [ONE, TWO]),
        (("input_0", "other_1"), [ONE, TWO]),
        (("input_0", "mask"), [ONE, TWO]),
    ],
)
def test_other_lists_are_not_taken_by_position(names: tuple[str, str], x: Any) -> None:
    two = signature(**dict.fromkeys(names, "float"))
    error = refused(lambda: to_inputs(two, x))
    assert error.message == (
        f"This signature has 2 inputs ({names[0]}, {names[1]}): give a dictionary with one entry "
        "for each"
    )


def test_the_error_about_one_of_a_list_names_its_place() -> None:
    info = TensorInfo("float", (-1, 2))
    two = Signature({"input_0": info, "input_1": info}, {})
    assert refused(lambda: to_inputs(two, [np.ones((1, 2)), np.ones(2)])).message == (
        "Input 'input_1' (float[?, 2]) cannot have the shape (2,): the batch dimension is "
        "missing, add it with x[1][np.newaxis]"
    )


def test_shapes_that_are_not_checked_are_kept() -> None:
    narrow = Signature({"x": TensorInfo("float", (-1, 1))}, {})
    for x in ([1, 2], [[1, 2]], 3, np.ones((2, 2, 2))):
        (array,) = to_inputs(narrow, x, check_shapes=False).values()
        assert array.shape == np.shape(x)
        assert array.dtype == np.float32
    # Everything else is.
    assert refused(lambda: to_inputs(narrow, "text", check_shapes=False)).message.startswith(
        "Input 'x' "
    )


def test_several_inputs_are_named() -> None:
    two = signature(a="float", b="int32")
    wanted = {"a": ("<f4", [1.0]), "b": ("<i4", [2])}
    assert plain(to_inputs(two, {"a": [1], "b": [2]})) == wanted
    assert plain(to_inputs(two, pd.DataFrame({"b": [2], "a": [1.0]}))) == wanted
    assert refused(lambda: to_inputs(two, [1])) == ServingError(
        Code.INVALID_ARGUMENT,
        "This signature has 2 inputs (a, b): give a dictionary with one entry for each",
    )


@pytest.mark.parametrize(
    ("inputs", "x", "message"),
    [
        ({"a": "float", "b": "float"}, {"z": 1}, "There is no input 'z'; the inputs are a, b"),
        ({"a": "float"}, {"instances": [1]},
         "There is no input 'instances'; the inputs are a; 'instances' is part of the REST API: "
         "give its value alone"),
        ({"a": "float", "b": "float"}, {},
         "There is no value for the inputs a, b: give a dictionary with one entry for each input"),
        ({"a": "float", "b": "float"}, {"a": [1]},
         "There is no value for input b: give a dictionary with one entry for each input"),
        ({"a": "float"}, {"a": [[1, 2]]},
         "Input 'a' (float[?]) cannot have the shape (1, 2): it has one dimension too many, "
         "remove the outermost pair of brackets"),
        ({"a": "float"}, np.ones((1, 2)),
         "Input 'a' (float[?]) cannot have the shape (1, 2): it has one dimension too many, "
         "remove it with x[0]"),
        ({"a": "float"}, 2.5,
         "Input 'a' (float[?]) cannot have the shape (): it is a single value, give it as [x]"),
        ({}, [1], "This signature has no inputs: give an empty dictionary"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_signature(inputs: dict[str, str], x: Any, message: str) -> None:
    error = refused(lambda: to_inputs(signature(**inputs), x))
    assert error == ServingError(Code.INVALID_ARGUMENT, message)


def test_a_signature_without_inputs() -> None:
    assert to_inputs(signature(), {}) == to_inputs(signature(), None) == {}


def test_a_default_stands_in_for_an_input() -> None:
    two = Signature(signature(a="float", b="int32").inputs, {}, defaults=frozenset({"b"}))
    assert plain(to_inputs(two, {"a": [1]})) == {"a": ("<f4", [1.0])}


def test_outputs() -> None:
    described = Signature({}, {"y": info("float"), "z": info("float")})
    check_outputs(described, ["z", "y"])
    for outputs, message in (
        (["y", "q"], "There is no output 'q'; the outputs are y, z"),
        (["y", "y"], "Output 'y' is asked for twice: name each output once"),
    ):
        error = refused(lambda outputs=outputs: check_outputs(described, outputs))  # type: ignore[misc]
        assert error == ServingError(Code.INVALID_ARGUMENT, message)
