"""Tables as inputs: columns by their names, or side by side as the features of the only input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench.client.asking.tensors import to_inputs
from workbench.core.signature import Signature, TensorInfo
from workbench.core.status import Code, ServingError

Y = {"y": TensorInfo("float", (-1, 1))}


def signature(originals: dict[str, str] | None = None, **inputs: Any) -> Signature:
    described = {name: TensorInfo(dtype, shape) for name, (dtype, *shape) in inputs.items()}
    infos = {n: TensorInfo(i.dtype, tuple(i.shape or ())) for n, i in described.items()}
    return Signature(infos, Y, originals=originals or {})


IRIS = signature(
    {"sepal_length_cm": "sepal length (cm)", "petal_length_cm": "petal length (cm)"},
    sepal_length_cm=("float", -1, 1),
    petal_length_cm=("float", -1, 1),
)
FEATURES = signature(features=("float", -1, 2))
KIND = signature(kind=("string", -1, 1), age=("int64", -1))


def plain(signature: Signature, x: Any) -> dict[str, tuple[str, Any]]:
    return {n: (a.dtype.str, a.tolist()) for n, a in to_inputs(signature, x).items()}


def refused(signature: Signature, x: Any) -> str:
    with pytest.raises(ServingError) as caught:
        to_inputs(signature, x)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    "x",
    [
        pd.DataFrame({"sepal length (cm)": [1, 2], "petal length (cm)": [3.5, 4]}),
        # In another order, with more columns, by the names that the model has now.
        pd.DataFrame({"petal length (cm)": [3.5, 4], "id": ["a", "b"], "sepal_length_cm": [1, 2]}),
        [
            {"sepal length (cm)": 1, "petal length (cm)": 3.5},
            {"petal length (cm)": 4, "sepal length (cm)": 2},
        ],
        {"sepal length (cm)": [1, 2], "petal_length_cm": np.array([3.5, 4])},
        {"sepal length (cm)": [[1], [2]], "petal length (cm)": [[3.5], [4]]},
        {"sepal length (cm)": pd.Series([1, 2]), "petal_length_cm": pd.Series([3.5, 4])},
        np.array([(1, 3.5), (2, 4)], [("sepal length (cm)", "i4"), ("petal length (cm)", "f8")]),
    ],
    ids=["frame", "other order and more", "records", "lists", "columns", "series", "structured"],
)
def test_columns_by_their_names(x: Any) -> None:
    assert plain(IRIS, x) == {
        "sepal_length_cm": ("<f4", [[1.0], [2.0]]),
        "petal_length_cm": ("<f4", [[3.5], [4.0]]),
    }


@pytest.mark.parametrize(
    ("kinds", "ages"),
    [
        (["a", "b"], [3, 4]),
        (pd.Series(["a", "b"], dtype="category"), pd.Series([3, 4], dtype="Int64")),
        (pd.Series(["a", "b"], dtype=object), pd.Series([3, 4], dtype="category")),
        (pd.Series(["a", "b"], dtype="string"), pd.Series([3, 4], dtype="UInt8")),
        (pd.Series(["a", "b"], dtype="string[python]"), pd.arrays.SparseArray([3, 4])),
    ],
    ids=["plain", "categories", "objects", "nullable", "sparse"],
)
def test_columns_of_every_type(kinds: Any, ages: Any) -> None:
    assert plain(KIND, pd.DataFrame({"kind": kinds, "age": ages})) == {
        "kind": ("|O", [[b"a"], [b"b"]]),
        "age": ("<i8", [3, 4]),
    }


@pytest.mark.parametrize(
    "kinds",
    [pd.Categorical(["a", "b"]), pd.Index(["a", "b"]), pd.array(["a", "b"]),
     pd.CategoricalIndex(["a", "b"]), np.ma.array(["a", "b"])],
)  # fmt: skip
def test_arrays_of_pandas(kinds: Any) -> None:
    assert plain(KIND, {"kind": kinds, "age": pd.array([3, 4], dtype="Int16")}) == {
        "kind": ("|O", [[b"a"], [b"b"]]),
        "age": ("<i8", [3, 4]),
    }
    lacking = pd.array([3, None], dtype="Int16")
    assert refused(KIND, {"kind": kinds, "age": lacking}).startswith(
        "Input 'age' (int64[?]) has missing values in 1 of 2 rows, the first at row 1"
    )


@pytest.mark.parametrize("flags", [[True, False], pd.Series([True, False], dtype="boolean")])
def test_flags(flags: Any) -> None:
    frame = pd.DataFrame({"flag": flags})
    assert plain(signature(flag=("bool", -1)), frame) == {"flag": ("|b1", [True, False])}
    assert plain(signature(flag=("float", -1, 1)), frame) == {"flag": ("<f4", [[1.0], [0.0]])}


def test_nan_in_a_plain_column_of_floats_is_a_value() -> None:
    frame = pd.DataFrame({"a": [1.0, np.nan], "b": [1.0, 2.0]})
    (array,) = to_inputs(FEATURES, frame).values()
    assert np.isnan(array[1, 0])


@pytest.mark.parametrize(
    "x",
    [
        pd.DataFrame({"height": [1, 2], "width": [3.5, 4]}),
        [{"height": 1, "width": 3.5}, {"height": 2, "width": 4}],
        # Though one of them is called as the input.
        pd.DataFrame({"features": [1, 2], "width": [3.5, 4]}),
        pd.DataFrame({"height": pd.Series([1, 2], dtype="Int8"), "width": [3.5, 4]}),
        # One column, each of whose cells is a whole row.
        pd.DataFrame({"both": [[1, 3.5], [2, 4]]}),
        pd.DataFrame({"features": [np.array([1, 3.5]), np.array([2, 4])]}),
    ],
)
def test_columns_side_by_side(x: Any) -> None:
    assert plain(FEATURES, x) == {"features": ("<f4", [[1.0, 3.5], [2.0, 4.0]])}


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((-1,), [1.0, 2.0]), ((-1, 1), [[1.0], [2.0]]), ((-1, -1), [[1.0], [2.0]])],
)
def test_a_single_column_under_any_name(shape: tuple[int, ...], wanted: Any) -> None:
    described = signature(x=("float", *shape))
    for x in (
        pd.DataFrame({"height": [1, 2]}),
        pd.DataFrame({"x": [1, 2]}),
        pd.Series([1, 2], name="height"),
        [{"height": 1}, {"height": 2}],
    ):
        assert plain(described, x) == {"x": ("<f4", wanted)}


def test_no_rows() -> None:
    frame = pd.DataFrame({"a": [1.0], "b": [2.0]})[:0]
    assert to_inputs(FEATURES, frame)["features"].shape == (0, 2)
    kinds = pd.DataFrame({"kind": ["a"], "age": [1]})[:0]
    assert {n: a.shape for n, a in to_inputs(KIND, kinds).items()} == {"kind": (0, 1), "age": (0,)}


def test_a_default_stands_in_for_a_column() -> None:
    described = Signature(KIND.inputs, Y, defaults=frozenset({"age"}))
    assert plain(described, pd.DataFrame({"kind": ["a"]})) == {"kind": ("|O", [[b"a"]])}


FRAME = pd.DataFrame({"kind": ["a", "b"], "age": [3, 4]})


@pytest.mark.parametrize(
    ("described", "x", "message"),
    [
        (KIND, FRAME.assign(age=pd.Series([3, None], dtype="Int64")),
         "Column 'age' (int64[?]) has missing values in 1 of 2 rows, the first at row 1: fill them "
         "with .fillna(...) or leave these rows out with .dropna()"),
        (KIND, FRAME.assign(age=[None, 4]),
         "Column 'age' (int64[?]) has missing values in 1 of 2 rows, the first at row 0: fill them "
         "with .fillna(...) or leave these rows out with .dropna()"),
        (KIND, FRAME.assign(kind=[None, "b"]),
         "Column 'kind' (string[?, 1]) has missing values in 1 of 2 rows, the first at row 0: fill "
         "them with .fillna(...) or leave these rows out with .dropna()"),
        (KIND, FRAME.assign(kind=pd.Series([None, "b"], dtype="category")),
         "Column 'kind' (string[?, 1]) has missing values in 1 of 2 rows, the first at row 0: fill "
         "them with .fillna(...) or leave these rows out with .dropna()"),
        (FEATURES, pd.DataFrame({"a": [1, 2], "b": pd.Series([None, 2], dtype="Float32")}),
         "Column 'b' (float[?, 2]) has missing values in 1 of 2 rows, the first at row 0: fill "
         "them with .fillna(...) or leave these rows out with .dropna()"),
        (KIND, FRAME.assign(age=pd.to_datetime(["2020-01-01", "2020-01-02"])),
         "Column 'age' holds dates (datetime64[us]), which a model cannot take (int64[?]): make "
         "numbers of it, for example with .dt.dayofyear, .dt.year ..."),
        (KIND, FRAME.assign(age=pd.to_datetime(["2020-01-01"] * 2).tz_localize("UTC")),
         "Column 'age' holds dates (datetime64[us, UTC]), which a model cannot take (int64[?]): "
         "make numbers of it, for example with .dt.dayofyear, .dt.year ..."),
        (KIND, FRAME.assign(age=pd.to_timedelta([1, 2], "s")),
         "Column 'age' holds durations (timedelta64[us]), which a model cannot take (int64[?]): "
         "make numbers of it, for example with .dt.total_seconds()"),
        (KIND, FRAME.assign(age=[1.5, 2]),
         "Column 'age' must be whole numbers (int64[?]), not float64: convert it with "
         ".astype('int64') if that is meant"),
        (KIND, FRAME.assign(kind=[1, 2]),
         "Column 'kind' must be strings (string[?, 1]), not numbers of type int64: convert them "
         "with .astype(str)"),
        (FEATURES, pd.DataFrame({"a": [1, 2], "b": ["u", "v"]}),
         "Column 'b' must be numbers (float[?, 2]), not text such as 'u': convert it to numbers "
         "first"),
        (KIND, FRAME[["kind"]],
         "The table has no column for input age; its columns are kind: rename or add columns, as "
         "the model takes each by name"),
        (IRIS, FRAME,
         "The table has no column for the inputs petal length (cm), sepal length (cm); its columns "
         "are kind, age: rename or add columns, as the model takes each by name"),
        (FEATURES, FRAME.assign(more=1),
         "Input 'features' (float[?, 2]) takes 2 columns, and the table has 3 (kind, age, more): "
         "choose the columns that the model was trained with"),
        (FEATURES, FRAME[["age"]],
         "Input 'features' (float[?, 2]) takes 2 columns, and the table has 1 (age): choose the "
         "columns that the model was trained with"),
        (FEATURES, pd.Series([1, 2]),
         "Input 'features' (float[?, 2]) cannot have the shape (2,): the batch dimension is "
         "missing, add it with np.asarray(x)[np.newaxis]"),
        (signature(x=("float", -1)), FRAME,
         "Input 'x' (float[?]) takes 1 column, and the table has 2 (kind, age): choose the columns "
         "that the model was trained with"),
        (signature(image=("float", -1, 2, 2)), pd.DataFrame(np.zeros((3, 4))),
         "Input 'image' (float[?, 2, 2]) cannot have the shape (3, 4): the sizes are those of "
         "another shape, use x.to_numpy().reshape(-1, 2, 2)"),
        (KIND, pd.DataFrame([["a", "b", 1]], columns=["kind", "kind", "age"]),
         "The data frame has 2 columns 'kind': give each a name of its own"),
        (KIND, pd.DataFrame(index=[1]),
         "The data frame has no columns: give one for each input or feature"),
        (KIND, [{}], "The first record is empty: give a value for each input or feature"),
        (KIND, [{"kind": "a", "age": 1}, {"kind": "b"}],
         "Record 1 has no value 'age', which another record has: give all records the same keys"),
        (KIND, [{"kind": "a", "age": 1}, {"kind": None, "age": 2}],
         "Column 'kind' (string[?, 1]) has a missing value: fill or drop missing values first"),
        (signature(x=("int32", -1)), pd.Series([1, None], dtype="Int32"),
         "Input 'x' (int32[?]) has missing values in 1 of 2 rows, the first at row 1: fill them "
         "with .fillna(...) or leave these rows out with .dropna()"),
        (IRIS, {"sepal length (cm)": [1], "sepal_length_cm": [1]},
         "Input 'sepal_length_cm' is given twice, as 'sepal length (cm)' and as 'sepal_length_cm'"),
        (IRIS, {"sepal length (cm)": [[1, 2]] * 2, "petal_length_cm": [1, 2]},
         "Input 'sepal length (cm)' (float[?, 1]) cannot have the shape (2, 2): dimension 1 is 2 "
         "and must be 1"),
        (IRIS, {"width": [1]},
         "There is no input 'width'; the inputs are petal length (cm), sepal length (cm)"),
        (IRIS, [1.0],
         "This signature has 2 inputs (petal length (cm), sepal length (cm)): give a dictionary "
         "with one entry for each"),
    ],
)  # fmt: skip
def test_a_table_that_does_not_fit(described: Signature, x: Any, message: str) -> None:
    assert refused(described, x) == message
