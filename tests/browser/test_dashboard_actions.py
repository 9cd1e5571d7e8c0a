"""What the dashboard does beyond looking: experiments, labels, going back, and waking up again."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser.lab import Lab, execute, screenshot
from tests.browser.test_dashboard import _AXE, _CHANGE_MS, dashboard, put, say, serve
from tests.browser.test_dashboard import shop as shop_folder

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]

_SWEEP = """
import workbench as wb
found = wb.connect("shop").sweep(rate=[50.0] * 8, seconds=4.0, precision=0.001, progress=False)
print(found.interrupted, len(found.points) < 8)
"""


@pytest.fixture
def shop(lab: Lab, models: Path) -> Iterator[Path]:
    yield from shop_folder.__wrapped__(lab, models)  # type: ignore[attr-defined]


def test_experiments_are_followed_cancelled_and_opened(lab: Lab, page: Page, shop: Path) -> None:
    serve(lab, shop)
    lab.open(page)
    execute(page, "workbench:open-dashboard", {"server": "shop"})
    panel = dashboard(page).locator(".wb-Panel-experiments")
    sweep = subprocess.Popen(
        [sys.executable, "-c", _SWEEP], env=lab.environ, stdout=subprocess.PIPE, text=True
    )
    try:
        expect(panel.locator(".wb-Running")).to_contain_text("point 2 of 8", timeout=_CHANGE_MS)
        bar = panel.get_by_role("progressbar", name="sweep of shop")
        # The bar follows the text; on a busy machine a little later.
        end = time.monotonic() + _CHANGE_MS / 1e3
        while (share := float(bar.evaluate("bar => bar.value"))) <= 0.1:
            assert time.monotonic() < end, share
            page.wait_for_timeout(50)
        assert share < 0.5
        panel.get_by_role("button", name="Cancel").click()
        expect(panel.locator(".wb-message")).to_have_text(
            "The experiment ends after its current measurement, and restores the server's settings."
        )
        expect(bar).to_have_count(0, timeout=_CHANGE_MS)
        assert sweep.communicate(timeout=60)[0] == "True True\n"
    finally:
        sweep.kill()
        sweep.wait()

    opener = panel.get_by_role("button", name="Open").first
    opener.press("Enter")
    found = panel.get_by_role("article")
    # It is read by a process of its own, which imports matplotlib first.
    found.wait_for(timeout=_CHANGE_MS)
    expect(found).to_contain_text("Interrupted: the points measured before were kept.")
    expect(found.get_by_role("img")).to_be_visible()
    page.evaluate(_AXE.read_text())
    violations = page.evaluate(
        "async () => (await axe.run('.wb-Panel-experiments')).violations"
        ".filter(each => ['serious', 'critical'].includes(each.impact)).map(each => each.id)"
    )
    assert violations == []
    panel.scroll_into_view_if_needed()
    for theme in ("light", "dark"):
        screenshot(page, "dashboard-experiment", theme)
    # Who came by keyboard goes back by it, to where they were.
    page.keyboard.press("Enter")
    expect(opener).to_be_focused()


def test_labels_and_the_way_back(lab: Lab, page: Page, shop: Path, models: Path) -> None:
    put(models, "half_plus_three", shop, 2)
    put(models, "half_plus_two", shop, 3)
    serve(lab, shop)
    lab.run(
        "import workbench as wb; s = wb.connect('shop'); s.version_policy = {'latest': 2}; "
        "s.wait_for(2)"
    )
    lab.open(page)
    execute(page, "workbench:open-dashboard", {"server": "shop"})
    board = dashboard(page)
    rows = board.locator(".wb-versions tbody tr:visible")
    expect(rows).to_have_count(2, timeout=_CHANGE_MS)

    def label(row: int, name: str) -> None:
        rows.nth(row).get_by_role("button", name="Label…").press("Enter")
        page.keyboard.type(name)
        page.keyboard.press("Enter")

    label(0, "stable")
    expect(say(page)).to_have_text("stable is version 3.")
    head = 'import workbench as wb\n\nserver = wb.connect("shop")\n'
    deed = board.locator(".wb-Dashboard-deed")
    expect(deed).to_have_attribute("title", head + 'server.labels = {"stable": 3}')
    # Moving one changes where requests go: that is asked for twice.
    label(1, "stable")
    expect(say(page)).to_have_text(
        "Press again to move stable and its requests from version 3 to version 2."
    )
    page.keyboard.press("Enter")
    expect(say(page)).to_have_text("stable is version 2.")
    expect(rows.nth(1)).to_contain_text("stable")
    remove = board.get_by_role("button", name="Remove label stable")
    remove.click()
    expect(say(page)).to_contain_text("Press again to remove stable from version 2")
    remove.click()
    expect(say(page)).to_have_text("No version has a label.")

    back = rows.nth(1).get_by_role("button", name="Roll back to 2")
    back.click()
    expect(say(page)).to_contain_text("Press again to roll back to version 2")
    back.click()
    expect(say(page)).to_contain_text("Undo roll back brings the others back", timeout=_CHANGE_MS)
    expect(deed).to_have_attribute("title", head + "server.rollback(to=2)")


def test_a_model_that_breaks_callers_is_published_after_a_second_word(
    lab: Lab, page: Page, shop: Path, models: Path
) -> None:
    words = lab.root / "words"
    shutil.copytree(models / "text", words)
    serve(lab, shop)
    lab.open(page)
    execute(page, "workbench:open-dashboard", {"server": "shop"})
    board = dashboard(page)
    folder = board.get_by_label("folder of a SavedModel")
    again = board.get_by_role("button", name="Publish all the same")
    folder.fill("words")
    board.get_by_role("button", name="Publish", exact=True).click()
    expect(say(page)).to_contain_text(
        "Version 2 of shop would break the callers of version 1", timeout=_CHANGE_MS
    )
    expect(folder).to_have_value("words")
    # Another folder is another question.
    folder.fill("word")
    expect(again).to_be_hidden()
    folder.fill("words")
    board.get_by_role("button", name="Publish", exact=True).click()
    again.click()
    expect(say(page)).to_have_text("Version 2 serves.", timeout=_CHANGE_MS)
    expect(again).to_be_hidden()
    expect(folder).to_have_value("")
    expect(board.locator(".wb-Dashboard-deed")).to_have_attribute(
        "title",
        'import workbench as wb\n\nserver = wb.connect("shop")\n'
        f'server.publish("{words}", allow_signature_change=True)',
    )


def test_after_sleep_it_catches_up_without_a_reload(
    lab: Lab, page: Page, shop: Path, models: Path
) -> None:
    asleep = False
    sockets: list[WebSocketRoute] = []

    def route(socket: WebSocketRoute) -> None:
        if asleep:
            socket.close(code=1001)
        else:
            socket.connect_to_server()
            sockets.append(socket)

    page.route_web_socket("**/workbench/api/stream*", route)
    serve(lab, shop)
    lab.open(page)
    execute(page, "workbench:open-dashboard", {"server": "shop"})
    board = dashboard(page)
    lanes = board.locator(".wb-timeline .wb-summary")
    expect(lanes).to_have_text("version 1 available", timeout=_CHANGE_MS)
    page.evaluate("() => { window.sameStill = true; }")

    asleep = True
    for socket in sockets:
        socket.close(code=1001)
    stale = board.locator(".wb-Panel-card .wb-stale")
    expect(stale).to_contain_text("no update from the Jupyter server since", timeout=_CHANGE_MS)
    expect(board.get_by_role("button", name="Publish")).to_be_disabled()
    put(models, "half_plus_three", shop, 2)
    lab.run("import workbench as wb; wb.connect('shop').wait_for(2)")
    expect(lanes).to_have_text("version 1 available")

    asleep = False
    expect(lanes).to_have_text("version 2 available", timeout=_CHANGE_MS)
    expect(stale).to_have_count(0)
    # What happened meanwhile is there, and the page is the same.
    board.get_by_label("Filter the event log").fill("quiescing servable version")
    expect(board.locator(".wb-Log li")).to_have_count(2)
    assert page.evaluate("() => window.sameStill")
