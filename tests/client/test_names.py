"""Inputs that are called as the columns of a table are, and the clean names that serve for them."""

from __future__ import annotations

import json
import keyword
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import workbench as wb
from tests.client.trainer import Trainer
from workbench.client.models.aliases import Aliases, can_be_served, clean


@pytest.mark.parametrize(
    ("name", "alias"),
    [("sepal length (cm)", "sepal_length_cm"), ("1st", "x_1st"), ("a/b", "a_b"), ("größe", "groe"),
     ("_id", "id"), ("class", "class_"), ("self", "self_"), ("", "input"), ("长度", "input"),
     ("  ", "input"), ("Ärger %", "Arger"), ("a__b", "a_b")],
)  # fmt: skip
def test_a_clean_name(name: str, alias: str) -> None:
    assert clean(name) == alias


def of(*names: str) -> tuple[list[str], dict[str, str]]:
    aliases = Aliases()
    aliases.add(names)
    return aliases.of(names), aliases.columns


def test_what_tensorflow_takes_is_left_as_it_is() -> None:
    names = ("x", "SepalLength", "Petal.Width", "a-b", "a__b")
    assert of(*names) == (list(names), {})


def test_names_that_become_one_are_told_apart() -> None:
    assert of("a b", "a_b", "a/b", "A_B") == (
        ["a_b_2", "a_b", "a_b_3", "A_B_4"],
        {"a_b_2": "a b", "a_b_3": "a/b", "A_B_4": "A_B"},
    )
    # Twice the same: the original can stand for one of them alone.
    assert of("a b", "a b") == (["a_b", "a_b_2"], {"a_b": "a b"})


def test_an_original_has_one_alias_in_all_signatures() -> None:
    aliases = Aliases()
    for names in (["a b"], ["a_b", "a b"]):
        aliases.add(names)
    assert aliases.of(["a b"]) == ["a_b_2"]
    assert aliases.of(["a_b", "a b"]) == ["a_b", "a_b_2"]


@given(st.lists(st.text(max_size=8), max_size=8))
def test_aliases_are_unique_identifiers(names: list[str]) -> None:
    found, columns = of(*names)
    assert len({alias.lower() for alias in found}) == len(names)
    for name, alias in zip(names, found, strict=True):
        assert can_be_served(alias)
        assert alias == name or (alias.isidentifier() and not keyword.iskeyword(alias))
    assert set(columns.values()) <= set(names)


@pytest.mark.parametrize(
    ("kind", "originals", "asked", "answer"),
    [
        ("keras_columns",
         {"sepal_length_cm": "sepal length (cm)", "x_1st": "1st", "class_": "class",
          "groe": "größe"},
         {"sepal_length_cm": [[1.0]], "x_1st": [[2.0]], "class_": [[3.0]], "groe": [[4.0]]},
         [[4321.0]]),
        ("keras2_columns", {"petal_width_cm": "petal width (cm)"},
         {"petal_width_cm": [[5.0]], "b": [[2.0]]}, [[3.0]]),
    ],
)  # fmt: skip
def test_columns_are_served_under_clean_names_and_known(
    trainer: Trainer,
    live: wb.Server,
    tmp_path: Path,
    kind: str,
    originals: dict[str, str],
    asked: dict[str, list[list[float]]],
    answer: list[list[float]],
) -> None:
    version = Path(trainer.put(kind, str(tmp_path), 1))
    record = json.loads((version / "assets.extra" / "workbench.json").read_bytes())
    assert record == {"format": 1, "columns": originals, "packages": []}
    server = wb.Server(live.name, kind)
    server.control.put_model(kind, {"base_path": str(tmp_path)})
    try:
        server.control.poll(kind, [1])
        server.wait_for(1)
        for name in ("serve", "serving_default"):
            signature = server.versions[1].signatures[name]
            assert signature.originals == originals
            assert sorted(signature.inputs) == sorted(asked)
        assert server.predict(asked).tolist() == answer  # type: ignore[union-attr]
    finally:
        server.control.delete_model(kind)
