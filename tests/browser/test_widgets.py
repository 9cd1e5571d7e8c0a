"""The live widgets in a real JupyterLab: they show the truth, and their handles work."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.lab import DARK, LIGHT, SCREENSHOTS, Lab, set_theme
from tests.browser.test_quickstart import run_all_cells

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

_CHANGE_MS = 30_000
_LOAD = """
import threading, time
from workbench.experiments.recording.recording import predict_job
from workbench.experiments.load.generator import run_load
from workbench.load.arrivals import Schedule
stop = threading.Event()
job = predict_job(server, [1.0], Schedule("poisson", rate=150, duration_s=120, seed=1))
threading.Thread(target=run_load, args=(job, lambda _: None, stop), daemon=True).start()
time.sleep(3)
"""


def picture(page: Page, element: Locator, name: str, theme: Literal["light", "dark"]) -> None:
    """A picture of one element, in `out/screenshots`."""
    set_theme(page, LIGHT if theme == "light" else DARK)
    element.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    element.screenshot(path=SCREENSHOTS / f"{name}.png")


def notebook(lab: Lab, name: str, *cells: str) -> None:
    """Put a notebook into the lab's files."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(book, lab.root / name)


def test_card_and_timeline(lab: Lab, page: Page, models: Path) -> None:
    wide = json.dumps(str(models / "half_plus_two"))
    other = str(models / "half_plus_three")
    notebook(
        lab,
        "live.ipynb",
        f"import workbench as wb\nserver = wb.serve({wide}, name='live')",
        _LOAD,
        "server",
        "server.timeline()",
    )
    lab.open(page, path="live.ipynb")
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
    run_all_cells(page)

    card = page.locator(".wb-live", has=page.locator(".wb-versions"))
    line = page.locator(".wb-live", has=page.locator(".wb-timeline"))
    expect(card.locator("tbody tr")).to_have_text([re.compile("1available.*MB")])
    expect(card.locator(".wb-figure").first).to_contain_text("requests/s")

    card.get_by_label("transition").select_option("unload_first")
    expect(card.locator(".wb-message")).to_have_text(
        "The next change of version will be unload_first."
    )
    card.get_by_label("folder of a SavedModel").fill(other)
    card.get_by_role("button", name="Publish").click()
    expect(card.locator(".wb-message")).to_have_text("Version 2 serves.", timeout=_CHANGE_MS)
    for theme in ("dark", "light"):
        picture(page, card, f"card-{theme}", theme)
    # What is out of sight asks for nothing; it has caught up as soon as it is seen.
    line.scroll_into_view_if_needed()
    expect(line.locator(".wb-summary")).to_have_text("version 2 available")
    page.wait_for_timeout(2500)
    for theme in ("dark", "light"):
        picture(page, line, f"timeline-{theme}", theme)

    # While the widget lives, what outlives it is not seen.
    expect(page.locator(".wb-durable .wb-card")).to_be_hidden()

    card.scroll_into_view_if_needed()
    stop = card.get_by_role("button", name="Stop")
    stop.click()
    expect(card.locator(".wb-message")).to_contain_text("Press Stop again")
    stop.click()
    expect(card.locator(".wb-stale")).to_contain_text("server stopped", timeout=_CHANGE_MS)
    expect(stop).to_be_disabled()


_GUESS = """
import workbench as wb
guess = wb.PredictThenReveal(
    "How many requests a second for each delay?", [0, 1, 2, 5, 10], lambda report: [4, 9, 12, 7, 3],
    x_label="ms", y_label="thousand requests/s", y_range=(0, 15),
)
guess
"""


def test_predict_then_reveal_and_the_stepper(lab: Lab, page: Page) -> None:
    notebook(lab, "teach.ipynb", _GUESS, "stepper = wb.policy_stepper()\nstepper")
    lab.open(page, path="teach.ipynb")
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
    run_all_cells(page)

    view = page.locator(".wb-live", has=page.locator(".wb-guess"))
    reveal = view.get_by_role("button", name="Reveal")
    expect(reveal).to_be_disabled()
    box = view.locator(".u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 2, box["y"] + box["height"] * 0.7)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] * 0.3, steps=20)
    page.mouse.up()
    reveal.click()
    expect(view.locator(".wb-message")).to_contain_text("It behaves differently from your guess")
    expect(view.locator(".wb-message")).to_contain_text("largest at 10 ms")
    for theme in ("dark", "light"):
        picture(page, view, f"guess-{theme}", theme)

    page.get_by_role("button", name="Step").click()
    said = page.locator(".jupyter-widgets ol li")
    expect(said).to_have_text(["policy: load 2: highest aspired version not loaded yet"])
    # While a cell waits for it, it is stepped all the same.
    page.evaluate(
        "code => { window.cell = jupyterapp.shell.currentWidget.sessionContext.session.kernel"
        ".requestExecute({ code }).done; }",
        "import time\nwhile len(stepper.steps) < 2: time.sleep(0.02)",
    )
    page.get_by_role("button", name="Step").click()
    assert page.evaluate("async () => (await window.cell).content.status") == "ok"
    expect(said).to_have_count(2)
    for theme in ("dark", "light"):
        picture(page, page.locator(".wb-stepper"), f"stepper-{theme}", theme)
    # What outlives the kernel is hidden as long as there is one.
    lasting = page.locator(".wb-durable", has_text="The policy smooth, step by step")
    expect(lasting.locator("img")).to_have_attribute(
        "alt", re.compile(r"\n2\. version 2 has loaded")
    )
    expect(lasting).to_be_hidden()
