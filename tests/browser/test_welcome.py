"""The welcome page as `workbench lab` opens it: the labs in order, a tick for each that was run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.lab import Lab, screenshot
from tests.browser.test_quickstart import run_all_cells
from workbench.cli.labs.lab_command import EXAMPLE
from workbench.samples.labs import QUICKSTART, names

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
_SERVED_MS = 60_000
_NARROW = 300


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """With the labs that come with the package; two of them are cut short."""
    shipped = tmp_path / "shipped"
    shutil.copytree(NOTEBOOKS, shipped)
    for number, source in (("01", "1 + 1"), ("02", "1 / 0")):
        (path,) = shipped.glob(f"{number}-*.ipynb")
        book = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        cells = [cell for cell in book.cells if cell.cell_type == "code"]
        book.cells = [book.cells[0], cells[0]]
        cells[0].source = source
        nbformat.write(book, path)  # type: ignore[no-untyped-call]
    lab = Lab(tmp_path)
    (lab.root / "notebooks").mkdir()
    shutil.copy(shipped / QUICKSTART, lab.root / "notebooks")
    try:
        lab.start(WorkbenchExtension__open_welcome=True, WorkbenchExtension__notebooks_dir=shipped)
        yield lab
    finally:
        lab.run("import workbench as wb; [server.stop() for server in wb.servers()]")
        lab.stop()


def labs(page: Page) -> Locator:
    return page.locator(".wb-Welcome .wb-Lab")


def marks(page: Page) -> list[str]:
    """How far the labs were run, in their order."""
    return [state.strip() for state in page.locator(".wb-Lab-state").all_inner_texts()]


def save(page: Page) -> None:
    page.evaluate("async () => { await jupyterapp.shell.currentWidget.context.save(); }")


def active(page: Page) -> str:
    """The label of the tab in front."""
    label: str = page.evaluate("() => jupyterapp.shell.currentWidget.title.label")
    return label


def opened(page: Page, name: str) -> None:
    """Wait until a lab is in front and has the keyboard."""
    page.wait_for_function(
        """name => {
            const { currentWidget } = jupyterapp.shell;
            return currentWidget.title.label === name
                && currentWidget.node.contains(document.activeElement);
        }""",
        arg=name,
    )


def test_labs_are_opened_run_and_ticked(lab: Lab, page: Page) -> None:
    lab.open(page, path=f"notebooks/{QUICKSTART}")
    shipped = names(NOTEBOOKS)
    expect(labs(page)).to_have_count(len(shipped))
    # It stands beside the quickstart, which is the one in front.
    expect(page.locator(".jp-NotebookPanel .jp-Cell").first).to_be_visible()
    assert active(page) == QUICKSTART
    assert page.locator(".wb-Lab-number").all_inner_texts() == [name[:2] for name in shipped]
    assert marks(page) == ["next", *[""] * 11]
    expect(page.locator(".wb-Welcome-now")).to_have_text("No model is being served yet.")

    # By click: it is copied to where it can be written, and opens in the quickstart's place.
    labs(page).nth(1).click()
    opened(page, shipped[1])
    assert (lab.root / "notebooks" / shipped[1]).exists()
    expect(labs(page).first).to_be_visible()
    assert run_all_cells(page) == ["text/plain"]
    # Run is not yet saved.
    assert marks(page) == ["next", *[""] * 11]
    save(page)
    expect(page.locator(".wb-Welcome-count")).to_have_text("1 of 12 completed")
    assert marks(page) == ["next", "completed", *[""] * 10]

    # By keyboard: the page leads to what comes next, Tab goes on from there.
    page.locator(".lm-TabBar-tab", has_text="Labs").click()
    expect(labs(page).first).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(labs(page).nth(2)).to_be_focused()
    page.keyboard.press("Enter")
    opened(page, shipped[2])
    assert [o.splitlines()[-1] for o in run_all_cells(page)] == [
        "ZeroDivisionError: division by zero"
    ]
    save(page)
    expect(page.locator(".wb-Lab-state").nth(2)).to_have_text("stopped by an error")
    expect(page.locator(".wb-Welcome-count")).to_have_text("1 of 12 completed")

    lab.run(
        "import workbench as wb; from workbench.samples.digits import train_digits; "
        f"wb.serve(train_digits(), {EXAMPLE!r}, detach=True, idle_seconds=120)"
    )
    expect(page.locator(".wb-Welcome-model")).to_have_text(EXAMPLE, timeout=_SERVED_MS)
    expect(page.locator(".wb-Welcome-icon .wb-icon-serving")).to_be_visible(timeout=_SERVED_MS)
    labs(page).first.click()
    opened(page, QUICKSTART)
    page.mouse.move(0, 0)
    for theme in ("light", "dark"):
        screenshot(page, "welcome", theme)

    # In a column that is narrow nothing is cut off.
    page.locator(".wb-Welcome").evaluate(f"node => {{ node.style.width = '{_NARROW}px'; }}")
    for each in labs(page).all():
        assert each.evaluate("node => node.scrollWidth <= node.clientWidth")

    # It comes back after a reload, and knows what was run.
    page.reload()
    expect(page.locator(".wb-Welcome-count")).to_have_text("1 of 12 completed", timeout=_SERVED_MS)
    page.locator(".wb-Welcome .wb-button", has_text="Glossary").click()
    expect(page.locator(".wb-Glossary h1")).to_be_visible()
    page.locator(".lm-TabBar-tab", has_text="Labs").click()
    page.locator(".wb-Welcome .wb-button", has_text="Dashboard").click()
    expect(page.locator(".wb-Dashboard")).to_be_visible()
    page.locator(".wb-Dashboard .wb-button", has_text="Glossary").click()
    expect(page.locator(".wb-Glossary h1")).to_be_visible()
