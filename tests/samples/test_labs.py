"""How far a lab was run is read from its notebook."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workbench.samples.labs import ideas, names, read, read_file

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
ERROR = {"output_type": "error"}
TEXT = {"output_type": "stream"}


def book(*runs: tuple[int | None, list[dict[str, str]]]) -> str:
    cells: list[dict[str, Any]] = [{"cell_type": "markdown", "source": ["text\n", "# One\n"]}]
    for count, outputs in runs:
        cells.append(
            {"cell_type": "code", "source": "", "execution_count": count, "outputs": outputs}
        )
    return json.dumps({"cells": cells})


@pytest.mark.parametrize(
    ("runs", "state"),
    [
        ([], "new"),
        ([(None, []), (None, [])], "new"),
        ([(1, [TEXT]), (None, [])], "begun"),
        ([(1, [ERROR]), (None, [])], "failed"),
        ([(1, [TEXT]), (2, [])], "done"),
        ([(None, []), (2, [])], "done"),
        ([(1, [ERROR]), (2, [])], "failed"),
    ],
)
def test_how_far_it_was_run(runs: list[Any], state: str) -> None:
    assert read(book(*runs), "01-one.ipynb") == ("One", state)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"cells": [1]}', b"\xff"])
def test_what_is_no_notebook(text: str | bytes) -> None:
    assert read(text, "01-one.ipynb") == ("01-one.ipynb cannot be read", "unreadable")


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    assert read_file(tmp_path / "01-one.ipynb") == ("01-one.ipynb cannot be read", "unreadable")
    (tmp_path / "01-one.ipynb").write_text('{"cells": []}')
    assert read_file(tmp_path / "01-one.ipynb") == ("01-one", "new")


def test_each_lab_has_an_idea(tmp_path: Path) -> None:
    assert ideas(tmp_path) == {}
    assert list(ideas(NOTEBOOKS)) == names(NOTEBOOKS)
    assert ideas(NOTEBOOKS)["03-what-the-manager-does.ipynb"] == (
        "step the policy by hand, then read the log"
    )
