"""What a saved notebook shows of a widget, where there is no kernel."""

from __future__ import annotations

import nbformat
import pytest
from nbconvert import HTMLExporter

from workbench.widgets.base import durable
from workbench.widgets.base.durable import Lasting, display_live


class Widget:
    """As ipywidgets describe one."""

    def _repr_mimebundle_(self) -> dict[str, object]:
        view = {"version_major": 2, "version_minor": 0, "model_id": "abc"}
        return {"application/vnd.jupyter.widget-view+json": view, "text/plain": "<Widget>"}


def test_a_page_shows_a_widget_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, object]] = []
    monkeypatch.setattr(
        "IPython.display.publish_display_data", lambda data, *_, **__: shown.append(dict(data))
    )
    display_live(Widget(), Lasting("<p>the finding</p>", "the finding"))
    cell = nbformat.v4.new_code_cell(
        "widget",
        outputs=[nbformat.v4.new_output("display_data", data=data) for data in shown],
    )
    notebook = nbformat.v4.new_notebook(cells=[cell])
    nbformat.validate(notebook)
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert page.count("the finding") == 1
    assert "&lt;Widget&gt;" not in page
    assert "is not able to be represented" not in page
    assert durable._RULE in page
