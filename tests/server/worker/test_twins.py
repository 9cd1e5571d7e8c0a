"""Signatures that compute the same are run as one, and only those."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.worker.conftest import Ask
from tests.servers import floats

DEFAULT = "serving_default"


def test_signatures_of_one_function_are_run_as_one(ask: Ask) -> None:
    fed = {"x": floats(2, 4), "y": floats(1, 1)}
    for name in ("again", DEFAULT):
        assert ask("run", "twins", name, fed)["sum"].tolist() == [2.0, 3.0]
    assert ask("run", "twins", "half", {"x": floats(2)})["y"].tolist() == [1.0]
    assert ask("run", "twins", "third", {"x": floats(2)})["y"].tolist() == [0.5]
    assert ask("twins", "twins") == ({"again": DEFAULT}, ["half", DEFAULT, "third"])


@pytest.mark.parametrize("name", ["half_plus_two", "rows", "digits", "keeper", "lookup"])
def test_signatures_that_differ_are_none(ask: Ask, name: str) -> None:
    assert ask("twins", name)[0] == {}


def node(name: str, op: str, *inputs: str, **function: str) -> str:
    """A node in text format; `function` is what it calls, and what that is given."""
    fed = " ".join(f'input: "{each}"' for each in inputs)
    called = function.pop("calls", "")
    given = " ".join(f'attr {{ key: "{k}" value {{ f: {v} }} }}' for k, v in function.items())
    f = f'attr {{ key: "f" value {{ func {{ name: "{called}" {given} }} }} }}' if called else ""
    return f'node {{ name: "{name}" op: "{op}" {fed} {f} }}\n'


def library(**functions: str) -> str:
    """Functions by their name, each of one operation."""
    return "".join(
        f'library {{ function {{ signature {{ name: "{name}" input_arg {{ name: "x" }} }} '
        f'node_def {{ name: "y" op: "{op}" input: "x" }} }} }}\n'
        for name, op in functions.items()
    ).replace("}\nlibrary {", "")


FED = node("a", "Placeholder") + node("b", "Placeholder")
CALL = "PartitionedCall"
TWO_INPUTS = {"x": "a:0", "y": "b:0"}
SWAPPED = {"x": "b:0", "y": "a:0"}


def called(one: str, other: str, **given: str) -> str:
    """Two nodes, c and d, that call functions f and g with the operations `one` and `other`."""
    return (
        FED
        + library(f=one, g=other)
        + node("c", CALL, "a", calls="f")
        + node("d", CALL, "b", calls="g", **given)
    )


SUB = FED + node("c", "Sub", "a", "b")
CHECKED = FED + library(f="Neg") + node("ok", "Assert", "a") + node("d", "Const")
CHECKED += node("c", CALL, "d", "^ok", calls="f") + node("e", "Const", "^a")
RANDOM = FED + library(f="RandomUniform")
RANDOM += node("c", CALL, "a", calls="f") + node("d", CALL, "a", calls="f")


@pytest.mark.parametrize(
    ("graph", "one", "other", "same"),
    [
        (SUB, (TWO_INPUTS, {"z": "c:0"}), (TWO_INPUTS, {"z": "c:0"}), True),
        # The same tensors under the other's names: the difference changes its sign.
        (SUB, (TWO_INPUTS, {"z": "c:0"}), (SWAPPED, {"z": "c:0"}), False),
        (SUB, (TWO_INPUTS, {"z": "c:0"}), (TWO_INPUTS, {"w": "c:0"}), False),
        (SUB, (TWO_INPUTS, {"z": "c:0"}), ({"x": "a:0"}, {"z": "c:0"}), False),
        (SUB, (TWO_INPUTS, {"z": "c:0"}), (TWO_INPUTS, {"z": "a:0"}), False),
        (SUB, (TWO_INPUTS, {"z": "c:0"}), (TWO_INPUTS, {"z": "c:1"}), False),
        # One tensor cannot be fed twice; what is like it can be asked all the same.
        (SUB, ({"x": "a:0", "y": "a:0"}, {"z": "c:0"}), (TWO_INPUTS, {"z": "c:0"}), False),
        # Functions by what they do, and by what they are given.
        (called("Neg", "Neg"), ({"x": "a:0"}, {"z": "c:0"}), ({"x": "b:0"}, {"z": "d:0"}), True),
        (called("Neg", "Abs"), ({"x": "a:0"}, {"z": "c:0"}), ({"x": "b:0"}, {"z": "d:0"}), False),
        (
            called("Neg", "Neg", val="2.0"),
            ({"x": "a:0"}, {"z": "c:0"}),
            ({"x": "b:0"}, {"z": "d:0"}),
            False,
        ),
        # What has to be done before is fed otherwise.
        (CHECKED, (TWO_INPUTS, {"z": "c:0"}), (SWAPPED, {"z": "c:0"}), False),
        (CHECKED, ({"x": "a:0"}, {"z": "e:0"}), ({"x": "b:0"}, {"z": "e:0"}), False),
        # Two draws are not one draw twice.
        (
            RANDOM,
            ({"x": "a:0"}, {"y": "c:0", "z": "d:0"}),
            ({"x": "a:0"}, {"y": "c:0", "z": "c:0"}),
            False,
        ),
    ],
)
def test_what_is_computed_fed_and_fetched_must_be_the_same(
    ask: Ask, graph: str, one: Any, other: Any, same: bool
) -> None:
    found = ask("twins_in", graph, {DEFAULT: one, "other": other})
    assert found == ({"other": DEFAULT} if same else {})
