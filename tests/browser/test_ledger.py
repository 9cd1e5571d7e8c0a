"""The memory ledger's widget in a real JupyterLab."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.lab import Lab
from tests.browser.test_quickstart import run_all_cells
from tests.browser.test_widgets import notebook, picture

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

_CHANGE_MS = 30_000


def test_ledger(lab: Lab, page: Page, models: Path) -> None:
    (lab.root / "candidate").symlink_to(models / "big")
    path = json.dumps(str(models / "big"))
    notebook(
        lab,
        "ledger.ipynb",
        f"import workbench as wb\nserver = wb.serve({path}, name='ledger')\n"
        f"server.version_policy = {{'latest': 2}}\nserver.publish({path})\n"
        "server.budget = '350 MB'",
        "server.ledger()",
    )
    lab.open(page, path="ledger.ipynb")
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
    run_all_cells(page)

    view = page.locator(".wb-live", has=page.locator(".wb-ledger"))
    legend = view.locator(".wb-legend li")
    expect(legend.filter(has_text="version 1: weights")).to_contain_text("estimated")
    expect(legend.filter(has_text="version 1: runtime")).to_contain_text("measured")
    expect(legend.filter(has_text="not of this server")).to_have_count(1)
    said = view.locator(".wb-summary")
    summary = re.compile(r"versions hold \d+ MB, \d+ MB reserved of a budget of 350 MB.*free")
    expect(view.locator(".wb-device")).to_have_text(summary)

    # By keyboard, from part to part; Tab leaves.
    bars = view.locator(".wb-ledger-device")
    bars.focus()
    page.keyboard.press("ArrowRight")
    expect(said).to_have_text(re.compile(r"^version 1: weights: .* MB, estimated$"))
    page.keyboard.press("ArrowRight")
    expect(said).not_to_have_text(re.compile("^version 1: weights"))
    page.keyboard.press("Tab")
    expect(said).to_have_text(re.compile("^Point at a part"))

    folder = view.get_by_label("folder of a SavedModel")
    folder.fill("candidate")
    folder.press("Enter")
    about = re.compile("^candidate as the next version of ledger: ")
    expect(view.get_by_text(about)).to_be_visible()
    answer = view.locator(".wb-fit tbody tr")
    expect(answer).to_have_count(3)
    expect(answer.nth(0)).to_contain_text("smooth (current)✗ does not fit")
    expect(answer.nth(0)).to_contain_text("it fits")
    expect(answer.nth(2)).to_contain_text("unload_first✓ fits")
    expect(view.locator(".wb-message")).to_have_text("It does not fit under smooth.")
    for theme in ("dark", "light"):
        picture(page, view, f"ledger-{theme}", theme)

    view.get_by_role("button", name="Table").click()
    expect(view.locator(".wb-twin tbody tr").filter(has_text="version 1: weights")).to_have_count(1)
    # While the widget lives, what outlives it is not seen.
    expect(page.locator(".wb-durable img")).to_be_hidden()

    lab.run("import workbench as wb\nwb.connect('ledger').stop()")
    expect(view.locator(".wb-stale")).to_contain_text("server stopped", timeout=_CHANGE_MS)
    expect(view.get_by_role("button", name="Will it fit?")).to_be_disabled()
