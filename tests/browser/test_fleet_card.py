"""The live card of a fleet in a real JupyterLab: servers and head are lost, and the kernel ends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.lab import Lab
from tests.browser.test_quickstart import run_all_cells
from tests.browser.test_widgets import notebook, picture
from tests.deploy.fleet.recorded_fleet import RecordedFleet, recorded_fleet, recorded_now

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]

_NARROW, _WIDE = {"width": 700, "height": 900}, {"width": 1280, "height": 900}


@pytest.fixture
def recording(lab: Lab) -> Iterator[RecordedFleet]:
    """A fleet with two servers that this JupyterLab's user has deployed."""
    with recorded_fleet(recorded_now("rolled")) as recording:
        kept = Path(lab.environ["JUPYTER_DATA_DIR"]) / "workbench" / "fleets" / "shop.json"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(vars(recording.record)))
        yield recording
        kept.unlink()


def row(view: Locator, server: str) -> Locator:
    return view.locator("tr", has_text=server).first


def test_what_is_lost_is_said(lab: Lab, page: Page, recording: RecordedFleet) -> None:
    page.set_viewport_size(_WIDE)  # type: ignore[arg-type]
    notebook(lab, "shop.ipynb", "import workbench as wb\nfleet = wb.fleet('shop')", "fleet")
    lab.open(page, path="shop.ipynb")
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
    run_all_cells(page)
    view = page.locator(".wb-live")
    expect(view).to_contain_text("2 of 2 servers serve, revision 2")
    expect(row(view, "shop-n7b8c4m9")).to_contain_text("serves")
    assert recording.record.secret not in page.content()
    for theme in ("dark", "light"):
        picture(page, view, f"fleet-card-{theme}", theme)
    page.set_viewport_size(_NARROW)  # type: ignore[arg-type]
    picture(page, view, "fleet-card-narrow-light", "light")
    page.set_viewport_size(_WIDE)  # type: ignore[arg-type]

    # Each is asked anew while the card is visible.
    recording.fail("shop-fbwykfvk")
    expect(row(view, "shop-fbwykfvk")).not_to_contain_text("serves", timeout=60_000)
    expect(row(view, "shop-n7b8c4m9")).to_contain_text("serves")
    recording.fail("head")
    expect(view).to_contain_text("The head at", timeout=60_000)
    expect(row(view, "shop-n7b8c4m9")).to_contain_text("serves")
    picture(page, view, "fleet-card-lost-light", "light")

    # The saved notebook has the card of then; without the kernel, the view says how old it is.
    expect(page.locator(".wb-durable", has_text="The head at")).to_have_count(1)
    page.evaluate("async () => { await jupyterapp.shell.currentWidget.sessionContext.shutdown(); }")
    expect(view.locator(".wb-stale")).to_have_text(
        re.compile(r"^as of [0-9:]+, no update from the notebook’s kernel since$"), timeout=60_000
    )
    expect(view.locator(".wb-unknown .wb-rows")).to_have_css("filter", "grayscale(1)")
    picture(page, view, "fleet-card-dead-light", "light")
