"""Values of every kind become the signature's dtype, or are refused with one sentence."""

from __future__ import annotations

import decimal
import fractions
from typing import Any

import ml_dtypes
import numpy as np
import pandas as pd
import pytest

from workbench.client.asking.arrays import to_array
from workbench.core.signature import TensorInfo
from workbench.core.status import Code, ServingError


def info(dtype: str) -> TensorInfo:
    return TensorInfo(dtype, (-1,))


def convert(dtype: str, value: Any) -> np.ndarray:
    return to_array(info(dtype), value, "Input 'x'")


def refused(dtype: str, value: Any) -> str:
    with pytest.raises(ServingError) as caught:
        convert(dtype, value)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert "\n" not in caught.value.message
    return caught.value.message


class Tensor:
    """Another library's tensor: numpy knows it by `__array__` alone."""

    def __init__(self, array: np.ndarray | Exception) -> None:
        self._array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if isinstance(self._array, Exception):
            raise self._array
        return self._array


@pytest.mark.parametrize(
    ("dtype", "value", "wanted"),
    [
        ("float", 2, ("<f4", 2.0)),
        ("float", [[True, False]], ("<f4", [[1.0, 0.0]])),
        ("float", [], ("<f4", [])),
        ("float", np.empty((0, 5)), ("<f4", [])),
        ("float", np.float64(0.5), ("<f4", 0.5)),
        ("float", np.array([1, 2], ">f8"), ("<f4", [1.0, 2.0])),
        ("float", np.array([1, 2], ">f4"), ("<f4", [1.0, 2.0])),
        ("float", np.arange(6.0)[::2], ("<f4", [0.0, 2.0, 4.0])),
        ("float", [decimal.Decimal("0.5"), fractions.Fraction(1, 4), 2], ("<f4", [0.5, 0.25, 2.0])),
        ("float", np.array([1, 2.5], object), ("<f4", [1.0, 2.5])),
        ("float", [np.array([1, 2]), np.array([3, 4])], ("<f4", [[1.0, 2.0], [3.0, 4.0]])),
        ("float", pd.Series([[1, 2], [3, 4]]), ("<f4", [[1.0, 2.0], [3.0, 4.0]])),
        ("float", [2**64], ("<f4", [2.0**64])),
        ("float", Tensor(np.array([1, 2])), ("<f4", [1.0, 2.0])),
        ("double", [1, 2.5], ("<f8", [1.0, 2.5])),
        ("double", [1e300], ("<f8", [1e300])),
        ("half", [0.5], ("<f2", [0.5])),
        ("half", [float("inf")], ("<f2", [float("inf")])),
        ("int32", [1, 2], ("<i4", [1, 2])),
        ("int32", np.array([1], ">i8"), ("<i4", [1])),
        ("uint8", [0, 255], ("|u1", [0, 255])),
        ("uint64", [2**64 - 1], ("<u8", [2**64 - 1])),
        ("int64", np.array([7], np.int8), ("<i8", [7])),
        ("int64", np.empty(0, int), ("<i8", [])),
        ("bool", [True, False], ("|b1", [True, False])),
        ("bool", [1, 0], ("|b1", [True, False])),
        ("complex64", [1 + 2j], ("<c8", [1 + 2j])),
        ("complex64", [1], ("<c8", [1 + 0j])),
        ("string", ["é", b"\xff"], ("|O", ["é".encode(), b"\xff"])),
        # Bytes are kept to the last zero, which numpy's own type for them would drop.
        ("string", [b"a\0", b"b"], ("|O", [b"a\0", b"b"])),
        ("string", ["a\0"], ("|O", [b"a\0"])),
        ("string", b"a\0", ("|O", b"a\0")),
        ("string", "one", ("|O", b"one")),
        ("string", np.str_("one"), ("|O", b"one")),
        ("string", np.array([["a", "bc"]]), ("|O", [[b"a", b"bc"]])),
        ("string", np.array([b"ab"]), ("|O", [b"ab"])),
        ("string", np.array(["a", "b"], np.dtypes.StringDType()), ("|O", [b"a", b"b"])),
        ("string", np.empty((0, 2), "U1"), ("|O", [])),
        ("string", pd.Series(["a", "b"]), ("|O", [b"a", b"b"])),
        ("string", pd.Series([["a"], ["b"]]), ("|O", [[b"a"], [b"b"]])),
    ],
)  # fmt: skip
def test_values_become_the_signatures_dtype(dtype: str, value: Any, wanted: Any) -> None:
    array = convert(dtype, value)
    assert (array.dtype.str, array.tolist()) == wanted
    assert array.flags["C_CONTIGUOUS"]


def test_no_rows_keep_their_shape() -> None:
    assert convert("float", np.empty((0, 5))).shape == (0, 5)
    assert convert("string", np.empty((0, 5), object)).shape == (0, 5)


def test_nan_is_a_number() -> None:
    for value in ([float("nan"), float("inf")], np.array([np.nan, np.inf], object)):
        array = convert("float", value)
        assert np.isnan(array[0])
        assert array[1] == np.inf


@pytest.mark.parametrize(
    "name", ["bfloat16", "float8_e5m2", "float8_e4m3fn", "int4", "uint4", "int2", "uint2"]
)
def test_the_types_that_numpy_lacks(name: str) -> None:
    array = convert(name, [1, 0, 1])
    assert (array.dtype.name, array.astype(float).tolist()) == (name, [1.0, 0.0, 1.0])
    assert convert("float", array).tolist() == [1.0, 0.0, 1.0]
    assert convert(name, array) is array or np.shares_memory(convert(name, array), array)


def test_an_array_that_fits_is_not_copied_unless_it_must_be_contiguous() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.shares_memory(convert("float", array), array)
    turned = convert("float", array.T)
    assert turned.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(turned, array.T)


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        ("float", ["a"], "must be numbers (float[?]), not text such as 'a': convert it to numbers "
         "first"),
        ("float", [1, "a"], "must be numbers (float[?]), not text such as '1': convert it to "
         "numbers first"),
        ("float", np.array([1, "a"], object), "must be numbers (float[?]), not text such as 'a': "
         "convert it to numbers first"),
        ("float", None, "(float[?]) has a missing value: fill or drop missing values first"),
        ("float", [1.0, None], "(float[?]) has a missing value at position 1: fill or drop missing "
         "values first"),
        ("float", np.ma.array([1.0, 2.0], mask=[False, True]), "(float[?]) has a missing value "
         "(masked): fill or drop missing values first"),
        ("float", {1, 2}, "must be numbers (float[?]), not an object of type set: convert it to "
         "numbers first"),
        ("float", [object], "must be numbers (float[?]), not an object of type type: convert it to "
         "numbers first"),
        ("float", np.array(["2020-01-01"], "M8[D]"), "must be numbers (float[?]), not dates: "
         "convert it to numbers first"),
        ("float", Tensor(RuntimeError("Can't call numpy() on it. Detach it.\nSee there")),
         "(float[?]) cannot be read as an array from an object of type "
         f"{__name__}.Tensor: Can't call numpy() on it. Detach it."),
        ("float", [1e300], "has values that float cannot hold, such as 1e+300: scale it, or export "
         "the model with a wider dtype"),
        ("float", [10**400], "has values that float cannot hold, such as "
         f"{'1' + 17 * '0'}...{19 * '0'}: scale it, or export the model with a wider dtype"),
        ("int64", [10**5000], "(int64[?]) takes -9223372036854775808 to 9223372036854775807; it "
         "has values from a number of 16610 bits to a number of 16610 bits"),
        ("half", [1, 70000], "has values that half cannot hold, such as 70000: scale it, or export "
         "the model with a wider dtype"),
        ("half", np.array([1e38], ml_dtypes.bfloat16), "has values that half cannot hold, such as "
         "9.96921e+37: scale it, or export the model with a wider dtype"),
        ("float8_e4m3fn", [1.0, -1000], "has values that float8_e4m3fn cannot hold, such as "
         "-1000: scale it, or export the model with a wider dtype"),
        ("int32", [1.5], "must be whole numbers (int32[?]), not float64: convert it with "
         ".astype('int32') if that is meant"),
        ("int32", [float("nan")], "(int32[?]) has a missing value (NaN): fill or drop missing "
         "values first"),
        ("uint8", [0, 300], "(uint8[?]) takes 0 to 255; it has values from 0 to 300"),
        ("int4", [7, 8], "(int4[?]) takes -8 to 7; it has values from 7 to 8"),
        ("uint64", [-1], "(uint64[?]) takes 0 to 18446744073709551615; it has values from -1 to "
         "-1"),
        ("int64", [2**70, 0], "(int64[?]) takes -9223372036854775808 to 9223372036854775807; it "
         "has values from 0 to 1180591620717411303424"),
        ("int64", [2**63, -1], "(int64[?]) takes -9223372036854775808 to 9223372036854775807; it "
         "has values from -1 to 9223372036854775808"),
        ("float", [1j], "must be real numbers (float[?]), not complex128: take .real or abs(...)"),
        ("bool", [0, 2], "must be True or False (bool[?]), and it has numbers other than 0 and 1: "
         "compare it first, for example with x > 0.5"),
        ("string", [1, 2], "must be strings or bytes (string[?]), not int: convert each with "
         "str(...)"),
        ("string", np.array([1, 2]), "must be strings (string[?]), not numbers of type int64: "
         "convert them with .astype(str)"),
        ("string", ["a", None], "(string[?]) has a missing value: fill or drop missing values "
         "first"),
        ("string", ["a", float("nan")], "(string[?]) has a missing value: fill or drop missing "
         "values first"),
        ("string", ["\ud800"], "has the text '\\ud800', not valid Unicode: give it as bytes"),
        ("resource", [1], "has dtype resource, which cannot be sent: ask a signature without it"),
    ],
)  # fmt: skip
def test_values_that_cannot(dtype: str, value: Any, message: str) -> None:
    assert refused(dtype, value) == f"Input 'x' {message}"


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("float", [[1.0], [2.0, 3.0]]),
        ("float", [np.zeros(1), np.zeros(2)]),
        ("float", pd.Series([[1.0], [2.0, 3.0]])),
        ("string", [["a"], ["b", "c"]]),
        ("string", pd.Series([["a"], ["b", "c"]])),
    ],
)
def test_ragged_rows(dtype: str, value: Any) -> None:
    assert refused(dtype, value) == (
        f"Input 'x' ({dtype}[?]) has ragged rows, of unequal lengths: pad them to one length, as "
        "the model takes a dense tensor"
    )
