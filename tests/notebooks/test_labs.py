"""The labs on changes and comparisons of versions run from top to bottom."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.notebooks.test_quickstart import outputs, text

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
TRANSITIONS = "04-smooth-or-unload-first.ipynb"
VERSIONS = "10-comparing-versions.ipynb"


def execute(name: str, folder: Path) -> nbformat.NotebookNode:
    shutil.copy(NOTEBOOKS / name, folder)
    notebook = nbformat.read(folder / name, as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
            (folder / variable).mkdir()
            patch.setenv(variable, str(folder / variable))
        patch.setenv("JUPYTER_PATH", str(NOTEBOOKS.parent / "data"))
        patch.delenv("JPY_PARENT_PID", raising=False)
        NotebookClient(notebook, timeout=100, resources={"metadata": {"path": folder}}).execute()
    return notebook


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_smooth_or_unload_first(tmp_path: Path) -> None:
    executed = execute(TRANSITIONS, tmp_path)
    assert "image/png" in outputs(executed, "found.plot()")[-1].data
    told = text(executed, "guess_failed}, measured")
    failed = re.search(r"guessed 10, measured (\d+)\n", told)
    assert failed is not None, told
    assert int(failed[1]) > 0
    (shown,) = [c for c in executed.cells if c.source == "found"]
    assert "Choose smooth if the memory is there" in shown.outputs[-1].data["text/html"]
    order = [
        "Quiescing servable version {name: lab04 version: 1}",
        "Done unloading servable version {name: lab04 version: 1}",
        "Loading servable version {name: lab04 version: 2}",
        "Successfully loaded servable version {name: lab04 version: 2}",
    ]
    told = [line.partition("ms  ")[2] for line in text(executed, "event.line").splitlines()]
    assert [line for line in told if line in order] == order
    assert re.search(
        r"100 requests fail at about \d+ requests a second", text(executed, "server.stop()")
    )


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_comparing_versions(tmp_path: Path) -> None:
    executed = execute(VERSIONS, tmp_path)
    assert "image/png" in outputs(executed, "found.plot()")[-1].data
    said = text(executed, "found.sentences()")
    assert "chance explains (McNemar's exact test, p = " in said
    assert text(executed, "found.assert_agreement").startswith(
        "stopped: Versions 1 and 2 agree on "
    )
    assert text(executed, '"promote" if better') == "promote\n"
    assert text(executed, "same = server") == (
        "Both give the same class to 450 of 450 examples (100.00%).\n"
    )


@pytest.mark.parametrize("name", [TRANSITIONS, VERSIONS])
def test_labs_are_committed_without_outputs(name: str) -> None:
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    nbformat.validate(notebook)
    assert all(not c.outputs for c in notebook.cells if c.cell_type == "code")
