from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench.client.tensors import to_array, to_inputs
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


# Which value goes to which input.


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


def test_several_inputs_are_named() -> None:
    two = signature(a="float", b="int32")
    wanted = {"a": ("<f4", [1.0]), "b": ("<i4", [2])}
    assert plain(to_inputs(two, {"a": [1], "b": [2]})) == wanted
    assert plain(to_inputs(two, pd.DataFrame({"b": [2], "a": [1.0]}))) == wanted
    # A default may stand in for an input that is left out: that is for the server to say.
    assert plain(to_inputs(two, {"a": [1]})) == {"a": ("<f4", [1.0])}
    assert refused(lambda: to_inputs(two, [1])) == ServingError(
        Code.INVALID_ARGUMENT,
        "This signature has 2 inputs (a, b): give a dictionary with one entry for each",
    )


def test_a_frame_whose_columns_are_no_inputs_holds_the_features() -> None:
    frame = pd.DataFrame({"height": [1, 2], "width": [3.5, 4]})
    assert plain(to_inputs(signature(x="float"), frame)) == {"x": ("<f4", [[1.0, 3.5], [2.0, 4.0]])}


def test_an_input_that_does_not_exist() -> None:
    assert refused(lambda: to_inputs(signature(a="float", b="float"), {"z": 1})) == ServingError(
        Code.INVALID_ARGUMENT, "There is no input 'z'; the inputs are a, b"
    )


# Values.


@pytest.mark.parametrize(
    ("dtype", "value", "wanted"),
    [
        ("float", 2, ("<f4", 2.0)),
        ("float", [[True, False]], ("<f4", [[1.0, 0.0]])),
        ("float", [], ("<f4", [])),
        ("float", np.float64(0.5), ("<f4", 0.5)),
        ("double", [1, 2.5], ("<f8", [1.0, 2.5])),
        ("half", [0.5], ("<f2", [0.5])),
        ("int32", [1, 2], ("<i4", [1, 2])),
        ("uint8", [0, 255], ("|u1", [0, 255])),
        ("int64", np.array([7], np.int8), ("<i8", [7])),
        ("bool", [True, False], ("|b1", [True, False])),
        ("complex64", [1 + 2j], ("<c8", [1 + 2j])),
        ("string", ["é", b"\xff"], ("|O", ["é".encode(), b"\xff"])),
        # Bytes are kept to the last zero, which numpy's own type for them would drop.
        ("string", [b"a\0", b"b"], ("|O", [b"a\0", b"b"])),
        ("string", b"a\0", ("|O", b"a\0")),
        ("string", "one", ("|O", b"one")),
        ("string", np.array([["a", "bc"]]), ("|O", [[b"a", b"bc"]])),
        ("string", np.array([b"ab"]), ("|O", [b"ab"])),
        ("string", pd.Series(["a", "b"]), ("|O", [b"a", b"b"])),
    ],
)
def test_values_become_the_signatures_dtype(dtype: str, value: Any, wanted: Any) -> None:
    array = to_array(info(dtype), value, "x")
    assert (array.dtype.str, array.tolist()) == wanted


def test_nan_is_a_number() -> None:
    array = to_array(info("float"), [float("nan"), float("inf")], "x")
    assert np.isnan(array[0])
    assert array[1] == np.inf


def test_bfloat16() -> None:
    array = to_array(info("bfloat16"), [1.5, 2], "x")
    assert (array.dtype.name, array.tolist()) == ("bfloat16", [1.5, 2.0])
    assert to_array(info("float"), array, "x").tolist() == [1.5, 2.0]


def test_an_array_that_fits_is_not_copied_unless_it_must_be_contiguous() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.shares_memory(to_array(info("float"), array, "x"), array)
    turned = to_array(info("float"), array.T, "x")
    assert turned.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(turned, array.T)


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        ("float", ["a"], "Input 'x' must be numbers (float[?]), not <U1"),
        ("float", None, "Input 'x' must be numbers (float[?]), not object"),
        ("int32", [1.5], "Input 'x' must be whole numbers (int32[?]), not float64: convert it "
         "with .astype('int32') if that is meant"),
        ("int32", [float("nan")], "Input 'x' must be whole numbers (int32[?]), not float64: "
         "convert it with .astype('int32') if that is meant"),
        ("uint8", [0, 300], "Input 'x' (uint8[?]) takes 0 to 255; it has values from 0 to 300"),
        ("uint64", [-1], "Input 'x' (uint64[?]) takes 0 to 18446744073709551615; it has values "
         "from -1 to -1"),
        ("float", [1j], "Input 'x' must be real numbers (float[?]), not complex128"),
        ("string", [1, 2], "Input 'x' must be strings or bytes"),
        ("string", np.array([1, 2]), "Input 'x' must be strings, not int64"),
        ("string", [["a"], ["b", "c"]], "Input 'x' must be strings or bytes"),
        ("resource", [1], "Input 'x' has dtype resource, which cannot be sent"),
    ],
)  # fmt: skip
def test_values_that_cannot(dtype: str, value: Any, message: str) -> None:
    assert refused(lambda: to_array(info(dtype), value, "x")) == ServingError(
        Code.INVALID_ARGUMENT, message
    )


def test_ragged_rows() -> None:
    error = refused(lambda: to_array(info("float"), [[1.0], [2.0, 3.0]], "x"))
    assert error.code is Code.INVALID_ARGUMENT
    assert error.message.startswith("Input 'x' has ragged rows: ")
