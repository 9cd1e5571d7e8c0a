"""The dashboard in a real JupyterLab: opened, fed, steered, left and come back to."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.lab import DARK, LIGHT, Lab, execute, open_running, screenshot, set_theme

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

_AXE = Path(__file__).parents[2] / "extension" / "node_modules" / "axe-core" / "axe.min.js"
_CHANGE_MS = 60_000
_IDLE_SECONDS = 300
_WAIT_SECONDS = 60.0
_LOAD = """
import threading, time
import workbench as wb
server, end = wb.connect("shop"), time.monotonic() + 100
def ask():
    while time.monotonic() < end:
        server.predict([1.0])
for _ in range(16):
    threading.Thread(target=ask, daemon=True).start()
time.sleep(101)
"""


def put(models: Path, name: str, base: Path, version: int) -> None:
    """Publish a version as a deployment would: copied beside, then renamed."""
    base.mkdir(exist_ok=True)
    beside = base / f"{version}.tmp"
    shutil.copytree(models / name, beside)
    beside.rename(base / str(version))


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + _WAIT_SECONDS
    while not holds():
        assert time.monotonic() < end, f"waited {_WAIT_SECONDS:.0f} s in vain until {what}"
        time.sleep(0.1)


@pytest.fixture
def shop(lab: Lab, models: Path) -> Iterator[Path]:
    """A folder of versions among the user's files; whatever serves it ends with the test."""
    base = lab.root / "shop"
    put(models, "half_plus_two", base, 1)
    try:
        yield base
    finally:
        lab.run("import workbench as wb; [server.stop() for server in wb.servers()]")
        shutil.rmtree(base)


def serve(lab: Lab, base: Path) -> None:
    """Serve it from a terminal."""
    lab.run(
        f"import workbench as wb; wb.serve({str(base)!r}, 'shop', detach=True, "
        f"idle_seconds={_IDLE_SECONDS})"
    )


def dashboard(page: Page) -> Locator:
    return page.locator(".wb-Dashboard")


def pictures(page: Page, name: str) -> None:
    for theme in ("light", "dark"):
        screenshot(page, name, theme)


def say(page: Page) -> Locator:
    """The card's own sentence on how the last order went."""
    return dashboard(page).locator(".wb-Panel-card .wb-message")


def test_from_the_file_browser_to_a_rollback(
    lab: Lab, page: Page, shop: Path, models: Path
) -> None:
    lab.open(page)
    page.locator(".jp-LauncherCard", has_text="Model servers").click()
    board = dashboard(page)
    expect(board.locator(".wb-Servers-none")).to_be_visible()

    page.locator(".jp-DirListing-item", has_text="shop").click(button="right")
    page.get_by_role("menuitem", name="Serve This Model").click()
    expect(board.locator(".wb-Model[aria-current='true']")).to_contain_text(
        "shop", timeout=_CHANGE_MS
    )
    lanes = board.locator(".wb-timeline .wb-summary")
    expect(lanes).to_have_text("version 1 available", timeout=_CHANGE_MS)
    expect(board.locator(".wb-Dashboard-deed")).to_have_attribute(
        "title", 'import workbench as wb\n\nserver = wb.serve("shop", name="shop")'
    )
    pictures(page, "dashboard-served")

    put(models, "half_plus_three", shop, 2)
    expect(lanes).to_have_text("version 2 available", timeout=_CHANGE_MS)
    log = board.locator(".wb-Log")
    expect(log).to_contain_text("Successfully loaded servable version {name: shop version: 2}")
    board.get_by_label("Filter the event log").fill("quiescing servable version")
    expect(log.locator("li")).to_have_count(2)
    expect(board.locator(".wb-Panel-ledger .wb-legend").first).to_contain_text("not of this server")
    board.locator(".wb-Panel-card").scroll_into_view_if_needed()
    pictures(page, "dashboard")

    board.get_by_role("button", name="Roll back", exact=True).click()
    expect(say(page)).to_have_text(
        "Version 1 serves again; Undo roll back brings the other back.", timeout=_CHANGE_MS
    )
    expect(lanes).to_have_text("version 1 available")
    expect(board.locator(".wb-Dashboard-deed")).to_have_attribute(
        "title", 'import workbench as wb\n\nserver = wb.connect("shop")\nserver.rollback()'
    )
    pictures(page, "dashboard-rolled-back")
    expect(page.locator(".wb-Status")).to_contain_text("1 server")

    server = open_running(page).locator(".wb-RunningServer").first
    server.hover()
    server.get_by_title("Stop this server").first.click()
    expect(board.locator(".wb-Dashboard-banner")).to_have_text(
        "Server shop has stopped.", timeout=_CHANGE_MS
    )
    expect(page.locator(".wb-Status")).to_be_hidden()
    pictures(page, "dashboard-ended")


@pytest.mark.slow
def test_a_longer_delay_makes_larger_batches(
    lab: Lab, page: Page, shop: Path, models: Path
) -> None:
    serve(lab, shop)
    lab.open(page)
    execute(page, "workbench:open-dashboard", {"server": "shop"})
    board = dashboard(page)
    load = subprocess.Popen([sys.executable, "-c", _LOAD], env=lab.environ)
    try:
        words = board.locator(".wb-Diagnosis")
        lanes = board.locator(".wb-timeline .wb-summary")
        expect(lanes).to_have_text("version 1 available", timeout=_CHANGE_MS)
        automatic = board.get_by_label("automatic batching")
        automatic.uncheck(timeout=_CHANGE_MS)
        board.get_by_label("max_batch_size").fill("64")
        board.get_by_label("max_batch_size").press("Tab")
        expect(say(page)).to_contain_text("Batches of up to 64 rows wait 0 ms at most.")

        def rows() -> float:
            found = re.search(r"had ([0-9.]+) rows", words.inner_text())
            return float(found[1]) if found else 0.0

        until(lambda: rows() > 0, "there are batches")
        page.wait_for_timeout(16_000)
        before = rows()
        # All keys of a flood arrive while the first is on its way; the last value is applied.
        slider = board.get_by_label("delay")
        slider.focus()
        for _ in range(28):
            page.keyboard.press("ArrowRight")
        value = int(slider.input_value())
        expect(say(page)).to_contain_text("Batches of up to 64 rows wait")
        micros = round(100 * 10 ** ((value - 1) / (39 / 4)))
        ask = "import workbench as wb; print(wb.connect('shop').batching.batch_timeout_micros)"
        until(lambda: int(lab.run(ask)) == micros, "the last value is applied")
        until(lambda: rows() > 1.5 * before, f"batches are larger than {before} rows")
        expect(page.locator(".wb-Status")).to_contain_text("requests/s")
        put(models, "half_plus_three", shop, 2)
        expect(lanes).to_have_text("version 2 available", timeout=_CHANGE_MS)
        # All of it at a glance, as on a desk.
        page.set_viewport_size({"width": 1760, "height": 1100})
        execute(page, "application:toggle-left-area")
        page.wait_for_timeout(5000)
        pictures(page, "dashboard-load")
    finally:
        load.kill()
        load.wait()


@pytest.mark.slow
def test_a_reload_in_the_middle_of_a_transition_loses_nothing(
    lab: Lab, page: Page, shop: Path, models: Path
) -> None:
    serve(lab, shop)
    lab.open(page, workspace="reload")
    execute(page, "workbench:open-dashboard", {"server": "shop"})
    board = dashboard(page)
    lanes = board.locator(".wb-timeline .wb-summary")
    expect(lanes).to_have_text("version 1 available", timeout=_CHANGE_MS)
    until(lambda: "workbench-dashboard:" in lab.workspace("reload"), "the layout is kept")

    put(models, "slow_to_load", shop, 2)
    page.goto(f"{lab.url}lab/workspaces/reload?token={lab.token}")
    board.wait_for(timeout=_CHANGE_MS)
    expect(board.locator(".wb-Model[aria-current='true']")).to_contain_text("shop")
    expect(lanes).to_have_text("version 2 available", timeout=_CHANGE_MS)
    log = board.locator(".wb-Log")
    for line in (
        "Successfully loaded servable version {name: shop version: 1}",
        "Successfully loaded servable version {name: shop version: 2}",
        "Done unloading servable version {name: shop version: 1}",
    ):
        expect(log).to_contain_text(line, timeout=_CHANGE_MS)
    pictures(page, "dashboard-reloaded")


@pytest.mark.slow
def test_a_killed_server_is_dead_and_started_again(lab: Lab, page: Page, shop: Path) -> None:
    serve(lab, shop)
    lab.open(page)
    execute(page, "workbench:open-dashboard", {"server": "shop"})
    board = dashboard(page)
    lanes = board.locator(".wb-timeline .wb-summary")
    expect(lanes).to_have_text("version 1 available", timeout=_CHANGE_MS)
    lab.run(
        "from workbench.processes import registry; e = registry.find('shop'); "
        "e.supervisor.kill(); e.server.kill()"
    )
    banner = board.locator(".wb-Dashboard-banner")
    expect(banner).to_contain_text("Server shop is dead", timeout=_CHANGE_MS)
    expect(board.get_by_role("button", name="Roll back", exact=True)).to_be_disabled()
    expect(page.locator(".wb-Status")).to_have_attribute("data-status", "failed")
    pictures(page, "dashboard-dead")
    banner.get_by_role("button", name="Restart").click()
    expect(banner).to_be_hidden(timeout=_CHANGE_MS)
    expect(lanes).to_have_text("version 1 available", timeout=_CHANGE_MS)
    expect(board.get_by_role("button", name="Roll back", exact=True)).to_be_enabled()


@pytest.mark.slow
def test_what_was_done_by_hand_becomes_a_cell(lab: Lab, page: Page, shop: Path) -> None:
    serve(lab, shop)
    lab.open(page)
    execute(page, "notebook:create-new", {"kernelName": "python3"})
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
    execute(page, "workbench:open-dashboard", {"server": "shop"})
    board = dashboard(page)
    lanes = board.locator(".wb-timeline .wb-summary")
    expect(lanes).to_have_text("version 1 available", timeout=_CHANGE_MS)
    board.get_by_label("transition").select_option("unload_first")
    board.get_by_role("button", name="Insert into notebook").click()
    cell = page.locator(".jp-NotebookPanel .jp-Cell.jp-mod-active .cm-content")
    expect(cell).to_contain_text('server.transition = "unload_first"')


@pytest.mark.slow
def test_a_folder_that_is_no_model_is_refused(lab: Lab, page: Page) -> None:
    (lab.root / "notes").mkdir(exist_ok=True)
    lab.open(page)
    execute(page, "workbench:serve-folder", {"path": "notes"})
    expect(page.locator(".jp-toastContainer")).to_contain_text("neither a SavedModel nor a folder")
    execute(page, "workbench:serve-folder", {"path": "../outside"})
    expect(page.locator(".jp-toastContainer")).to_contain_text("lies outside the folder")


@pytest.mark.slow
def test_everybody_can_use_it(lab: Lab, page: Page, shop: Path) -> None:
    """No serious finding of axe in either theme, and all that is to be done by keyboard alone."""
    serve(lab, shop)
    lab.open(page)
    execute(page, "workbench:open-dashboard", {"server": "shop"})
    board = dashboard(page)
    expect(board.locator(".wb-Log li").first).to_be_visible(timeout=_CHANGE_MS)
    page.evaluate(_AXE.read_text())
    for theme in (LIGHT, DARK):
        set_theme(page, theme)
        found = page.evaluate("async () => (await axe.run('.wb-Dashboard')).violations")
        serious = [
            f"{each['id']}: {each['help']}: {[n['html'][:120] for n in each['nodes']]}"
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
        assert serious == [], theme

    reached = set()
    board.locator(".wb-Dashboard-listHead button").first.focus()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "() => { const e = document.activeElement;"
                " return e.closest('.wb-Dashboard') && (e.ariaLabel || e.innerText ||"
                " e.labels?.[0]?.innerText || e.title || e.tagName); }"
            )
        )
    for name in ("Serve…", "Publish", "Roll back", "Undo roll back", "Stop", "transition", "Pause"):
        assert name in reached, reached


@pytest.mark.slow
def test_jupyterlab_can_open_with_the_dashboard(page: Page, tmp_path: Path) -> None:
    """As `workbench lab` has it; also behind a base URL, as under JupyterHub."""
    lab = Lab(tmp_path)
    lab.url = f"http://127.0.0.1:{lab.port}/user/ada/"
    try:
        lab.start(ServerApp__base_url="/user/ada/", WorkbenchExtension__open_dashboard=True)
        (lab.root / "notes.txt").write_text("what is open")
        lab.open(page, path="notes.txt")
        expect(dashboard(page).locator(".wb-Servers-none")).to_be_visible()
        # It came beside what was open, and the stream is there.
        expect(page.locator(".jp-FileEditor")).to_contain_text("what is open")
        said = page.evaluate(
            """() => new Promise(resolve => {
                const { wsUrl, token } = jupyterapp.serviceManager.serverSettings;
                const socket = new WebSocket(`${wsUrl}workbench/api/stream?token=${token}`);
                socket.onopen = () => socket.send(JSON.stringify({ op: 'watch', value: true }));
                socket.onmessage = event => resolve(JSON.parse(event.data));
            })"""
        )
        assert said == {"kind": "servers", "servers": []}
    finally:
        lab.stop()


@pytest.mark.slow
def test_a_console_from_the_running_panel(lab: Lab, page: Page, shop: Path) -> None:
    lab.open(page)
    execute(page, "workbench:serve-folder", {"path": "shop"})
    label = open_running(page).locator(".wb-RunningServer .jp-RunningSessions-itemLabel").first
    expect(label).to_have_text("shop", timeout=_CHANGE_MS)
    label.click(button="right")
    page.get_by_role("menuitem", name="Open a Console on a Model Server").click()
    expect(page.locator(".jp-CodeConsole")).to_be_visible()
    label.click()
    expect(dashboard(page).locator(".wb-Model[aria-current='true']")).to_be_visible()
