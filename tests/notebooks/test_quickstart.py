"""The quickstart runs from top to bottom, and its outputs say what its text promises."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def outputs(notebook: nbformat.NotebookNode, containing: str) -> list[nbformat.NotebookNode]:
    """The outputs of the code cell whose source contains a text."""
    (cell,) = [c for c in notebook.cells if c.cell_type == "code" and containing in c.source]
    return list(cell.outputs)


def text(notebook: nbformat.NotebookNode, containing: str) -> str:
    return "".join(o.text for o in outputs(notebook, containing) if o.output_type == "stream")


@pytest.fixture(scope="module")
def executed(
    tmp_path_factory: pytest.TempPathFactory,
) -> nbformat.NotebookNode:
    folder = tmp_path_factory.mktemp("quickstart")
    shutil.copy(NOTEBOOKS / "00-quickstart.ipynb", folder)
    notebook = nbformat.read(folder / "00-quickstart.ipynb", as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        # The notebook's own kernel owns the server here: no Jupyter Server is asked for one.
        patch.delenv("JPY_PARENT_PID", raising=False)
        client = NotebookClient(notebook, timeout=100, resources={"metadata": {"path": folder}})
        client.execute()
    return notebook


def test_versions_answer_and_change_under_load(executed: nbformat.NotebookNode) -> None:
    right = re.findall(r"(\d+\.\d)%", text(executed, "accuracy(first)"))
    assert float(right[0]) < float(right[1])

    assert text(executed, "answer = server.predict") == "the model says 2, the label is 2\n"
    assert text(executed, "urllib.request.urlopen") == "most likely digit: 2\n"
    assert text(executed, '"predict", "digits"').startswith("[[0.")

    smooth = text(executed, "as smooth:")
    assert smooth.startswith("version 2 serves; ")
    assert smooth.endswith(" 0 failed\n")

    assert text(executed, "server.rollback()").startswith("serving now: version 1\n")
    assert "digits/.rolled-back/2/saved_model.pb" in text(executed, "server.rollback()")

    unload_first = text(executed, "as unload_first:")
    found = re.fullmatch(
        r"version 2 serves; (\d+) requests answered, (\d+) failed, no version for (\d+) ms\n",
        unload_first,
    )
    assert found is not None, unload_first
    assert int(found[2]) > 0
    assert int(found[3]) > 0


def test_the_log_is_in_the_order_of_a_smooth_change(executed: nbformat.NotebookNode) -> None:
    lines = text(executed, "server.events()").splitlines()
    order = [
        "Loading servable version {name: digits version: 2}",
        "Successfully loaded servable version {name: digits version: 2}",
        "Quiescing servable version {name: digits version: 1}",
        "Done quiescing servable version {name: digits version: 1}",
        "Unloading servable version {name: digits version: 1}",
        "Done unloading servable version {name: digits version: 1}",
    ]
    assert [line for line in lines if line in order] == order


def test_figures_and_table_are_kept_in_the_notebook(executed: nbformat.NotebookNode) -> None:
    for cell in ("smooth.plot()", "draw([smooth, unload_first])"):
        assert "image/png" in outputs(executed, cell)[-1].data
    assert "gap_ms" in outputs(executed, "pd.DataFrame")[-1].data["text/plain"]


def test_a_page_made_of_it_shows_card_and_figures(executed: nbformat.NotebookNode) -> None:
    """What nbconvert and code-hosting sites show needs no kernel."""
    page, _ = HTMLExporter().from_notebook_node(executed)
    assert '<div class="wb-card">' in page
    assert '<span class="wb-name">digits</span>' in page
    assert "</span>available</td>" in page
    assert page.count("data:image/png;base64,") >= 3
