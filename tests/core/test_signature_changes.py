"""Which changes of an interface break callers, and the words for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from workbench.core.signature import INIT_SIGNATURE, Signature, TensorInfo
from workbench.core.signature_changes import Changes, compare

Shape = tuple[int, ...] | None


def info(shape: Shape = (-1, 4), dtype: str = "float") -> TensorInfo:
    return TensorInfo(dtype, shape)


def signature(
    inputs: Mapping[str, TensorInfo] | None = None,
    outputs: Mapping[str, TensorInfo] | None = None,
    **more: Any,
) -> Signature:
    return Signature(inputs or {"x": info()}, outputs or {"y": info((-1, 10))}, **more)


def changes(before: Signature, after: Signature) -> Changes:
    return compare({"serving_default": before}, {"serving_default": after})


def test_the_same_is_no_change() -> None:
    # Names of tensors in the graph differ from one export to the next.
    after = signature({"x": TensorInfo("float", (-1, 4), "graph_x:0")})
    assert changes(signature(), after) == Changes((), ())


@pytest.mark.parametrize(
    ("after", "phrase"),
    [
        ({"z": info()}, "input x is gone"),
        ({"x": info(), "w": info((), "bool")}, "input w (bool[]) is new"),
        ({"x": info(dtype="string")}, "input x is string[?, 4] and was float[?, 4]"),
        ({"x": info((-1, 5))}, "input x is float[?, 5] and was float[?, 4]"),
        ({"x": info((-1, 4, 1))}, "input x is float[?, 4, 1] and was float[?, 4]"),
        ({"x": info((8, 4))}, "input x is float[8, 4] and was float[?, 4]"),
    ],
)
def test_inputs_that_break_callers(after: Mapping[str, TensorInfo], phrase: str) -> None:
    assert phrase in changes(signature(), signature(after)).breaking


@pytest.mark.parametrize("wider", [(-1, -1), None])
def test_an_input_may_become_wider(wider: Shape) -> None:
    found = changes(signature(), signature({"x": info(wider)}))
    assert (found.breaking, len(found.harmless)) == ((), 1)
    # And not the other way round.
    assert changes(signature({"x": info(wider)}), signature()).breaking


def test_inputs_that_may_be_left_out() -> None:
    optional = signature({"x": info(), "w": info()}, defaults=frozenset({"w"}))
    assert changes(signature(), optional) == Changes(
        (), ("input w (float[?, 4]) is new, and optional",)
    )
    required = signature({"x": info(), "w": info()})
    assert changes(optional, required).breaking == ("input w must be given",)


@pytest.mark.parametrize(
    ("was", "now", "breaks"),
    [
        ("keras_tensor_33", "keras_tensor_36", False),
        ("input_0", "keras_tensor", False),
        ("input_layer", "input_0", False),
        ("dense_input", "dense_3_input", False),
        ("pixels", "images", True),
    ],
)
def test_a_lone_input_that_keras_has_numbered(was: str, now: str, breaks: bool) -> None:
    found = changes(signature({was: info()}), signature({now: info()}))
    assert bool(found.breaking) is breaks
    assert bool(found.harmless) is not breaks
    # Its shape is compared all the same.
    assert changes(signature({was: info()}), signature({now: info((-1, 3))})).breaking


def test_several_numbered_inputs_need_their_names() -> None:
    before = signature({"keras_tensor_1": info(), "keras_tensor_2": info()})
    after = signature({"keras_tensor_3": info(), "keras_tensor_4": info()})
    assert len(changes(before, after).breaking) == 4


def test_outputs() -> None:
    two = {"y": info((-1, 10)), "z": info((-1,))}
    before = signature(outputs=two)
    assert changes(before, signature(outputs={**two, "w": info()})).breaking == ()
    assert changes(before, signature()).breaking == ("output z is gone",)
    # A lone output is answered as an array, one of two by its name.
    assert changes(signature(), before).breaking == ("output z (float[?]) is new",)
    fewer = signature(outputs={**two, "y": info((-1, 3))})
    assert changes(before, fewer).breaking == ("output y is float[?, 3] and was float[?, 10]",)
    unknown = signature(outputs={**two, "y": info((-1, -1))})
    assert changes(before, unknown).breaking == ()
    assert (
        changes(signature(outputs={"dense_1": info()}), signature(outputs={"dense_7": info()}))[0]
        == ()
    )


def test_signatures() -> None:
    one, two = {"a": signature()}, {"a": signature(), "b": signature()}
    assert compare(one, two) == Changes((), ("signature b is new",))
    assert compare(two, one) == Changes(("signature b is gone",), ())
    assert compare({**one, INIT_SIGNATURE: signature()}, one) == Changes((), ())
    # One model under two names has changed once.
    other = signature({"z": info()})
    assert len(compare(two, {"a": other, "b": other}).breaking) == 2
