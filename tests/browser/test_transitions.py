"""Transitions compared, in a real JupyterLab: all policies on shared axes, without their server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.lab import Lab
from tests.browser.test_quickstart import run_all_cells
from tests.browser.test_widgets import notebook, picture

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]

POLICIES = ["smooth", "unload_first", "unload_first+hold", "staged"]


def test_policies_side_by_side(lab: Lab, page: Page, models: Path) -> None:
    old, new = str(models / "half_plus_two"), str(models / "half_plus_three")
    notebook(
        lab,
        "transitions.ipynb",
        f"import workbench as wb\nserver = wb.serve({old!r}, name='changed')",
        f"found = server.compare_transitions({new!r}, [1.0], rate=200, repeats=1, lead_seconds=0.6,"
        " progress=False)\nserver.stop()",
        "found",
    )
    lab.open(page, path="transitions.ipynb")
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
    outputs = run_all_cells(page)
    assert not [o for o in outputs if re.search(r"^\w*(Error|Interrupt): ", o, re.MULTILINE)]
    # The view, and what of it outlives the kernel.
    live, lasting = outputs[-1].splitlines()
    assert "application/vnd.jupyter.widget-view+json" in live
    assert lasting.split() == ["text/plain", "text/html", "image/png"]
    expect(page.locator(".wb-durable")).to_be_hidden()

    view = page.locator(".wb-live", has=page.locator(".wb-panels"))
    view.scroll_into_view_if_needed()
    panels = view.locator(".wb-panel")
    expect(panels.locator("h4")).to_have_text(POLICIES)
    expect(panels.nth(0)).to_contain_text("none failed, always served")
    expect(panels.nth(1)).to_contain_text(re.compile(r"\d+ failed, no version for \d+ ms"))
    expect(view.locator(".wb-advice")).to_contain_text("smooth")
    expect(view.locator("tbody tr", has_text="failed requests")).to_have_count(1)

    # A moment is looked at in all of them at once, by keyboard; the axes go together.
    charts = view.locator(".wb-panels")
    charts.focus()
    charts.press("ArrowRight")
    moments = view.locator(".wb-moment")
    expect(moments.nth(0)).to_contain_text("version 1 available")
    for at in range(1, 4):
        expect(moments.nth(at)).not_to_be_empty()
    seen = view.locator(".wb-bar [role=status]")
    whole = seen.inner_text()
    charts.press("+")
    expect(seen).not_to_have_text(whole)
    charts.press("Home")
    expect(seen).to_have_text(whole)
    # And by the pointer.
    box = panels.nth(1).locator(".u-over").nth(2).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 20)
    expect(moments.nth(1)).to_contain_text("version 2 available")
    staged = view.get_by_label("staged", exact=True)
    staged.uncheck()
    expect(panels.nth(3)).to_be_hidden()
    staged.check()
    expect(panels.nth(3)).to_be_visible()
    page.set_viewport_size({"width": 1280, "height": 1900})
    for theme in ("dark", "light"):
        picture(page, view, f"transitions-{theme}", theme)
