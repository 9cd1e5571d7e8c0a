"""The fleet explorer in a real JupyterLab: its sliders, the cell, and the end of its kernel."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.lab import Lab
from tests.browser.test_sweep_explorer import in_kernel, opened
from tests.browser.test_widgets import picture

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

_NARROW, _WIDE = {"width": 700, "height": 1600}, {"width": 1280, "height": 1000}


@pytest.mark.slow
def test_drag_choose_and_the_end_of_the_kernel(lab: Lab, page: Page) -> None:
    page.set_viewport_size(_WIDE)  # type: ignore[arg-type]
    view = opened(
        lab,
        page,
        "fleet.ipynb",
        "import workbench as wb\nexplorer = wb.fleet_explorer()",
        "explorer",
    )
    sentence = view.locator(".wb-summary")
    expect(sentence).to_contain_text("With 3 of 4 servers the fleet is offered 1.2 times")
    expect(view.locator(".wb-known")).to_contain_text("a formula, 4 ms for a batch")
    chosen = view.locator(".wb-policies tr.wb-chosen")
    expect(chosen).to_contain_text("least outstanding")
    for theme in ("dark", "light"):
        picture(page, view, f"fleet-explorer-{theme}", theme)
    page.set_viewport_size(_NARROW)  # type: ignore[arg-type]
    picture(page, view, "fleet-explorer-narrow-light", "light")
    page.set_viewport_size(_WIDE)  # type: ignore[arg-type]
    expect(page.locator(".wb-durable")).to_be_hidden()

    # By keyboard: one server more.
    servers = view.get_by_role("slider", name="servers", exact=True)
    servers.focus()
    servers.press("ArrowRight")
    expect(servers).to_have_attribute("aria-valuetext", "5")
    expect(sentence).to_contain_text("With 4 of 5 servers")
    # By mouse: the last position is the one that is simulated.
    box = servers.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 10, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2, steps=25)
    page.mouse.up()
    expect(servers).to_have_attribute("aria-valuetext", "32")
    expect(sentence).to_contain_text("With 31 of 32 servers")
    assert in_kernel(page, "print(explorer.choice.servers)") == "32"

    view.get_by_label("event").select_option("unload_first")
    expect(sentence).to_contain_text("while one changes its version")
    expect(view.locator(".wb-sign", has_text="away")).to_be_visible()
    view.get_by_role("button", name="two choices").click()
    expect(chosen).to_contain_text("two choices")
    expect(view.get_by_label("policy")).to_have_value("two_choices")

    # A cell moves the sliders too.
    said = in_kernel(page, "print(explorer.choose(servers=3, event='nothing', rate=4000))")
    expect(sentence).to_have_text(said)
    expect(servers).to_have_attribute("aria-valuetext", "3")
    view.get_by_role("button", name="Table").click()
    expect(view.locator(".wb-twin tbody tr").first).to_contain_text("ms")

    # What outlives the kernel has followed.
    lasting = page.locator(".wb-durable", has_text="3 servers, two choices, event: nothing")
    expect(lasting).to_have_count(1)
    page.evaluate("async () => { await jupyterapp.shell.currentWidget.sessionContext.shutdown(); }")
    servers.press("ArrowRight")
    expect(view.locator(".wb-message")).to_have_text(re.compile("kernel has not answered"))
