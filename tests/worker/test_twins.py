"""Signatures that compute the same are run as one, and only those."""

from __future__ import annotations

from types import SimpleNamespace as Record
from typing import Any

import pytest

from tests.servers import floats
from tests.worker.conftest import Ask
from workbench.worker.twins import twins


def test_signatures_of_one_function_are_run_as_one(ask: Ask) -> None:
    fed = {"x": floats(2, 4), "y": floats(1, 1)}
    for name in ("again", "serving_default"):
        assert ask("run", "twins", name, fed)["sum"].tolist() == [2.0, 3.0]
    assert ask("run", "twins", "half", {"x": floats(2)})["y"].tolist() == [1.0]
    assert ask("run", "twins", "third", {"x": floats(2)})["y"].tolist() == [0.5]
    assert ask("twins", "twins") == (
        {"again": "serving_default"},
        ["half", "serving_default", "third"],
    )


@pytest.mark.parametrize("name", ["half_plus_two", "rows", "digits", "keeper", "lookup"])
def test_signatures_that_differ_are_none(ask: Ask, name: str) -> None:
    assert ask("twins", name)[0] == {}


def graph(*nodes: tuple[str, str, list[str]]) -> Any:
    """Nodes with their operation and inputs; none calls a function."""
    return Record(
        node=[Record(name=n, op=op, input=inputs, attr={}) for n, op, inputs in nodes],
        library=Record(function=[]),
    )


def signature(inputs: dict[str, str], outputs: dict[str, str], dtype: int = 1) -> Any:
    def info(name: str) -> Any:
        return Record(
            name=name, dtype=dtype, tensor_shape=Record(SerializeToString=lambda: b"shape")
        )

    return Record(
        inputs={alias: info(name) for alias, name in inputs.items()},
        outputs={alias: info(name) for alias, name in outputs.items()},
        defaults={},
    )


SUM = graph(("a", "Placeholder", []), ("b", "Placeholder", []), ("c", "Sub", ["a", "b"]))
USUAL = signature({"x": "a:0", "y": "b:0"}, {"z": "c:0"})


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (USUAL, True),
        # The same tensors under the other's names: the difference changes its sign.
        (signature({"x": "b:0", "y": "a:0"}, {"z": "c:0"}), False),
        (signature({"x": "a:0", "y": "b:0"}, {"w": "c:0"}), False),
        (signature({"x": "a:0"}, {"z": "c:0"}), False),
        (signature({"x": "a:0", "y": "b:0"}, {"z": "c:0"}, dtype=2), False),
        (signature({"x": "a:0", "y": "b:0"}, {"z": "a:0"}), False),
        (signature({"x": "a:0", "y": "b:0"}, {"z": "c:1"}), False),
    ],
)
def test_what_is_fed_and_fetched_must_be_the_same(other: Any, same: bool) -> None:
    found = twins(SUM, {"serving_default": USUAL, "other": other})
    assert found == ({"other": "serving_default"} if same else {})
