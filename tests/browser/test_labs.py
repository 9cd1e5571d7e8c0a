"""Labs in a real JupyterLab, from first to last cell, with their question answered by hand."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.lab import Lab, wait_for_kernel

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(420)]

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
_RUN_MS = 180_000
_RUN = """
async ([command, after]) => {
    const panel = jupyterapp.shell.currentWidget;
    const cells = [...panel.context.model.cells];
    const asked = cells.findIndex(cell => cell.sharedModel.source.includes('PredictThenReveal('));
    panel.content.activeCellIndex = asked + after;
    await jupyterapp.commands.execute(command);
    return cells.filter(cell => cell.type === 'code').map(cell => [
        cell.sharedModel.source,
        cell.outputs.toJSON().map(output =>
            output.text ? [].concat(output.text).join('')
            : output.data ? Object.keys(output.data).join(' ')
            : `${output.ename}: ${output.evalue}`).join('\\n'),
    ]);
}
"""


def run(page: Page, command: str) -> dict[str, str]:
    """Run the cells above or from the one after the question on; outputs by source."""
    page.set_default_timeout(_RUN_MS)
    wait_for_kernel(page)
    outputs = dict(page.evaluate(_RUN, [f"notebook:run-all-{command}", 1]))
    page.set_default_timeout(30_000)
    errors = [o for o in outputs.values() if re.search(r"^\w*(Error|Interrupt): ", o, re.M)]
    assert errors == []
    return outputs


def draw(page: Page, view: Locator) -> None:
    """Draw a curve from the lower left to the upper right."""
    view.scroll_into_view_if_needed()
    box = view.locator(".u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 2, box["y"] + box["height"] * 0.7)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] * 0.3, steps=20)
    page.mouse.up()


@pytest.mark.parametrize("name", ["04-smooth-or-unload-first", "07-batching-sweep"])
def test_a_lab_from_first_to_last_cell(lab: Lab, page: Page, name: str) -> None:
    shutil.copy(NOTEBOOKS / f"{name}.ipynb", lab.root)
    lab.open(page, path=f"{name}.ipynb")
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
    run(page, "above")

    view = page.locator(".wb-live", has=page.locator(".wb-guess"))
    view.wait_for()
    draw(page, view)
    view.get_by_role("button", name="Reveal").click()
    expect(view.locator(".wb-message")).to_contain_text("the mean error is", timeout=_RUN_MS)

    outputs = run(page, "below")
    (typed,) = [out for source, out in outputs.items() if "my_guess = " in source]
    # What was drawn is the guess, so the one in numbers is not used: a figure, and no verdict.
    assert typed.startswith("text/plain")
    assert "the mean error is" not in typed
    assert all(out for source, out in outputs.items() if ".plot(" in source)
    assert sum("image/png" in out for out in outputs.values()) >= 2
