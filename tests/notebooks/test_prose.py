"""What the notebooks say: figures that were measured are computed, never typed.

A number with a unit may stand in the text only where the notebook's own code sets it (a rate, a
pause, a confidence). Any other such number would be a measurement of another machine.
"""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
LABS = [path for path in NOTEBOOKS if not path.name.startswith("00-")]
_MEASURED = re.compile(
    r"(?<![\w.])(\d+(?:[., ]\d+)*) ?"
    r"(%|(?:ms|µs|us|s|MB|GB|kB|times|requests/s|requests a second|milliseconds|seconds)\b)"
)
_FACTORS = (1.0, 1e-2, 1e-3, 1e3, 1e6)
"""Between how text and code may say the same number: percent, milli, kilo, micro."""


def code_of(notebook: nbformat.NotebookNode) -> list[ast.Module]:
    """The code cells as Python; a line for IPython alone is left out."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return [ast.parse(re.sub(r"^[%!].*$", "pass", source, flags=re.M)) for source in sources]


def numbers_set(cells: list[ast.Module]) -> set[float]:
    return {
        float(node.value)
        for cell in cells
        for node in ast.walk(cell)
        if isinstance(node, ast.Constant) and type(node.value) in (int, float)
    }


def typed(text: str, known: set[float]) -> list[str]:
    """The numbers with a unit in a text that no code sets."""
    found = []
    for match in _MEASURED.finditer(text):
        value = float(re.sub(r"[ ,]", "", match[1]))
        said = any(math.isclose(value * factor, k) for factor in _FACTORS for k in known)
        if value and not said:
            found.append(match[0])
    return found


def test_the_check_finds_what_it_should() -> None:
    known = numbers_set([ast.parse("record(server, x, rate=100, pause=0.25)")])
    assert typed("at 100 requests a second, with a pause of 250 ms", known) == []
    assert typed("It took 12.5 ms, and 3 % failed; 1 000 requests/s", known) == [
        "12.5 ms",
        "3 %",
        "1 000 requests/s",
    ]
    assert typed("version 2, all 1797 digits, 8 x 8 pixels, p99", known) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_measured_number_is_typed(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    cells = code_of(notebook)
    known = numbers_set(cells)
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    texts += [
        node.value
        for cell in cells
        for node in ast.walk(cell)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert [number for text in texts for number in typed(text, known)] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert all(not c.outputs for c in notebook.cells if c.cell_type == "code")


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_a_lab_asks_before_and_has_exercises_with_solutions(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    code = "\n".join(c.source for c in notebook.cells if c.cell_type == "code")
    assert "PredictThenReveal" in code
    assert re.search(r"^## Exercises$", prose, re.M)
    assert "**Solution" in prose
    assert code.rstrip().splitlines()[-1].startswith(("server.stop()", "shutil.rmtree"))


def test_the_labs_are_numbered_without_a_gap() -> None:
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{n:02}" for n in range(len(NOTEBOOKS))]
