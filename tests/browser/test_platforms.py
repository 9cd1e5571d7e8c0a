"""Where the live views are shown: JupyterLab while a cell runs, without this package's extension,
under high contrast, and in Notebook 7."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.lab import SCREENSHOTS, Lab, execute, wait_for_kernel
from tests.browser.test_quickstart import run_all_cells
from tests.browser.test_widgets import notebook

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]

_CHANGE_MS = 60_000
_WAIT = """
import time
end = time.monotonic() + 90
while server.transition != "staged" and time.monotonic() < end:
    time.sleep(0.05)
print("the cell saw", server.transition)
"""


def serve(models: Path, name: str) -> str:
    path = json.dumps(str(models / "half_plus_two"))
    return f"import workbench as wb\nserver = wb.serve({path}, name={name!r})"


def views(page: Page) -> tuple[Locator, Locator, Locator]:
    """Card, ledger and timeline."""
    found = [
        page.locator(".wb-live", has=page.locator(inner))
        for inner in (".wb-versions", ".wb-ledger", ".wb-timeline")
    ]
    return found[0], found[1], found[2]


def expect_alive(page: Page) -> None:
    """All three tell what the server told, and what outlives them is not seen."""
    card, ledger, timeline = views(page)
    card.scroll_into_view_if_needed()
    expect(card.locator("tbody tr")).to_have_text([re.compile("1available")], timeout=_CHANGE_MS)
    ledger.scroll_into_view_if_needed()
    expect(ledger.locator(".wb-device")).to_contain_text("versions hold")
    timeline.scroll_into_view_if_needed()
    expect(timeline.locator(".wb-summary")).to_have_text("version 1 available")
    for durable in page.locator(".wb-durable").all():
        expect(durable).to_be_hidden()


def test_widgets_answer_while_a_cell_runs(lab: Lab, page: Page, models: Path) -> None:
    """The cell ends only when the card, meanwhile, has changed what it waits for."""
    notebook(lab, "busy.ipynb", serve(models, "busy"), "server", _WAIT)
    lab.open(page, path="busy.ipynb")
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
    wait_for_kernel(page)
    page.evaluate("() => void jupyterapp.commands.execute('notebook:run-all-cells')")
    card = page.locator(".wb-live")
    expect(card.locator("tbody tr")).to_have_text([re.compile("1available")], timeout=_CHANGE_MS)
    # The third cell runs by now, or is about to.
    card.get_by_label("transition").select_option("staged")
    expect(card.locator(".wb-message")).to_have_text(
        "The next change of version will be staged.", timeout=_CHANGE_MS
    )
    expect(page.get_by_text("the cell saw staged")).to_be_visible(timeout=_CHANGE_MS)
    lab.run("import workbench as wb\nwb.connect('busy').stop()")


def test_high_contrast(lab: Lab, page: Page, models: Path) -> None:
    cells = (serve(models, "contrast"), "server", "server.ledger()", "server.timeline()")
    notebook(lab, "contrast.ipynb", *cells)
    lab.open(page, path="contrast.ipynb")
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
    run_all_cells(page)
    execute(page, "apputils:change-theme", {"theme": "JupyterLab Dark High Contrast"})
    page.locator("body[data-jp-theme-name*='High Contrast']").wait_for(state="attached")
    expect_alive(page)
    _, ledger, timeline = views(page)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    # Black behind all that is drawn, and an axis and a frame in full white.
    for view, canvas in ((ledger, ".wb-bars"), (timeline, "canvas")):
        view.scroll_into_view_if_needed()
        view.locator(canvas).last.evaluate(_WAIT_FOR_WHITE)
    ledger.screenshot(path=SCREENSHOTS / "ledger-contrast.png")

    # Colours that the reader's system forces: the canvas takes them, too.
    page.emulate_media(forced_colors="active", color_scheme="light")
    ledger.scroll_into_view_if_needed()
    ledger.locator(".wb-bars").evaluate(_WAIT_FOR_WHITE)
    ledger.screenshot(path=SCREENSHOTS / "ledger-forced.png")
    page.emulate_media(forced_colors="none")
    lab.run("import workbench as wb\nwb.connect('contrast').stop()")


_WAIT_FOR_WHITE = """async canvas => {
    const end = performance.now() + 30000;
    for (;;) {
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        let white = 0;
        for (let i = 0; i < data.length; i += 4) {
            white += data[i] > 250 && data[i + 1] > 250 && data[i + 2] > 250 && data[i + 3] > 250;
        }
        if (white > 100) return;
        if (performance.now() > end) throw new Error(`${white} white pixels`);
        await new Promise(done => setTimeout(done, 50));
    }
}"""


def test_without_the_jupyterlab_extension(tmp_path: Path, page: Page, models: Path) -> None:
    """The widgets come through anywidget alone."""
    lab = Lab(tmp_path)
    config = Path(lab.environ["JUPYTER_CONFIG_DIR"]) / "labconfig" / "page_config.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"disabledExtensions": {"serving-workbench-lab": True}}))
    try:
        lab.start()
        cells = (serve(models, "alone"), "server", "server.ledger()", "server.timeline()")
        notebook(lab, "alone.ipynb", *cells)
        lab.open(page, path="alone.ipynb")
        page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
        assert page.evaluate("() => jupyterapp.commands.hasCommand('workbench:refresh')") is False
        run_all_cells(page)
        expect_alive(page)
        lab.run("import workbench as wb\nwb.connect('alone').stop()")
    finally:
        lab.stop()


def test_notebook_7(lab: Lab, page: Page, models: Path) -> None:
    cells = (serve(models, "seven"), "server", "server.ledger()", "server.timeline()")
    notebook(lab, "seven.ipynb", *cells)
    page.goto(f"{lab.url}notebooks/seven.ipynb?token={lab.token}")
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for(timeout=_CHANGE_MS)
    page.locator("body[data-notebook='notebooks']").wait_for(state="attached")
    run_all_cells(page)
    views(page)[0].wait_for(timeout=_CHANGE_MS)
    expect_alive(page)
    lab.run("import workbench as wb\nwb.connect('seven').stop()")
