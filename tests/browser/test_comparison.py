"""The comparison of two versions as a widget in a real JupyterLab."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.lab import Lab
from tests.browser.test_quickstart import run_all_cells
from tests.browser.test_widgets import notebook, picture

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]

_CHANGE_MS = 60_000
_COMPARE = """
import workbench as wb
from workbench.samples.digits import load_digits, train_digits
digits = load_digits()
server = wb.serve(train_digits(hidden=(8,)), name="compared")
server.publish(train_digits(hidden=(64,)))
found = server.compare_versions(1, 2, digits.x_test, digits.y_test, pairs=100, progress=False)
found
"""


def test_two_versions_compared(lab: Lab, page: Page) -> None:
    notebook(lab, "compared.ipynb", _COMPARE)
    page.set_viewport_size({"width": 1280, "height": 1500})
    lab.open(page, path="compared.ipynb")
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
    run_all_cells(page)

    view = page.locator(".wb-live", has=page.locator(".wb-gallery"))
    view.wait_for(timeout=_CHANGE_MS)
    expect(view.locator(".wb-said li").first).to_contain_text(
        "Both versions give the same class for"
    )
    expect(view.locator("tr").filter(has_text="accuracy")).to_contain_text("%")
    pictures = view.locator(".wb-gallery img")
    expect(pictures.first).to_be_visible()
    for theme in ("dark", "light"):
        picture(page, view, f"comparison-{theme}", theme)

    # One class alone: as many examples as its row says are answered differently.
    view.get_by_role("button", name="8", exact=True).click()
    title = view.get_by_text(re.compile("^(Different answers for 8|No different answers for 8)"))
    expect(title).to_be_visible()
    expect(view.locator("tr.wb-chosen")).to_contain_text("8")
    expect(view.locator(".wb-gallery figcaption").first).to_contain_text("is 8")

    expect(view.get_by_text("serving: 2")).to_be_visible()
    view.get_by_role("button", name="Serve version 1").click()
    message = view.locator(".wb-message")
    expect(message).to_contain_text("Version 1 serves, pinned by its number", timeout=_CHANGE_MS)
    expect(view.get_by_text("serving: 1 ")).to_be_visible(timeout=_CHANGE_MS)
    view.get_by_label("label", exact=True).fill("small")
    view.get_by_role("button", name="Label 1").click()
    expect(message).to_have_text("Requests for the label small go to version 1.")
    expect(view.get_by_text("labels: small → 1")).to_be_visible()
    view.get_by_role("button", name="Undo").click()
    expect(message).to_have_text("The version policy is latest 1 again.")
    # What outlives the widget is there, and not seen beside it.
    expect(page.locator(".wb-durable img").first).to_be_hidden()

    lab.run("import workbench as wb\nwb.connect('compared').stop()")
    expect(view.locator(".wb-stale")).to_contain_text("server stopped", timeout=_CHANGE_MS)
    expect(view.get_by_role("button", name="Serve version 1")).to_be_disabled()
