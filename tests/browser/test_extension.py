"""The extension in a real JupyterLab: the launcher card, the Running panel, the commands."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.lab import Lab, execute, open_running, screenshot

pytestmark = pytest.mark.browser

CARD = ".jp-LauncherCard[data-category='Serving']"
_LOAD_MS = 60_000
_IDLE_SECONDS = 300


@pytest.fixture
def halves(lab: Lab, models: Path) -> Iterator[str]:
    """A server that somebody has started in a terminal: two versions, and one that fails."""
    base = lab.root / "halves"
    for version, model in ((1, "half_plus_two"), (2, "half_plus_three")):
        shutil.copytree(models / model, base / str(version))
    serve = f"import workbench as wb; wb.serve({str(base)!r}, 'halves', version_policy='all', "
    try:
        # Whatever becomes of the test, nobody asks this server anything, and so it ends.
        lab.run(f"{serve} detach=True, idle_seconds={_IDLE_SECONDS})")
        broken = shutil.copytree(base / "2", lab.root / "broken")
        (broken / "saved_model.pb").write_bytes(b"no graph")
        broken.rename(base / "3")
        yield "halves"
    finally:
        lab.run("import workbench as wb; [server.stop() for server in wb.servers()]")
        shutil.rmtree(base)


def test_the_card_opens_the_quickstart(lab: Lab, page: Page) -> None:
    lab.open(page)
    expect(page.locator(CARD)).to_have_text(["Model servers", "Serving quickstart", "Serving labs"])
    card = page.locator(CARD, has_text="Serving quickstart")
    expect(card).to_have_attribute(
        "title", "Open a notebook that serves, updates and rolls back a model"
    )
    for theme in ("light", "dark"):
        screenshot(page, "launcher", theme)

    card.click()
    tab = page.locator(".lm-DockPanel-tabBar .lm-TabBar-tabLabel", has_text="00-quickstart.ipynb")
    tab.wait_for()
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
    assert (lab.root / "00-quickstart.ipynb").exists()


def test_a_server_is_seen_and_stopped_in_the_running_panel(
    lab: Lab, page: Page, halves: str
) -> None:
    lab.open(page)
    section = open_running(page)
    server = section.locator(".wb-RunningServer")
    versions = section.locator(".wb-RunningVersion")
    expect(server.locator(".jp-RunningSessions-itemLabel").first).to_have_text(halves)
    serving = versions.and_(section.locator(".wb-mod-serving"))
    expect(serving).to_have_count(2, timeout=_LOAD_MS)
    expect(section.locator(".wb-RunningVersion.wb-mod-failed")).to_have_count(1, timeout=_LOAD_MS)
    assert [_words(text) for text in versions.all_inner_texts()] == [
        "Version 3 failed",
        "Version 2 AVAILABLE",
        "Version 1 AVAILABLE",
    ]
    for theme in ("light", "dark"):
        screenshot(page, "running", theme)

    server.first.hover()
    stop = server.first.get_by_title("Stop this server").first
    stop.click()
    expect(page.locator(".wb-RunningServer")).to_have_count(0)
    assert lab.run("import workbench as wb; print(wb.servers())").strip() == "[]"


def test_commands_describe_themselves(lab: Lab, page: Page) -> None:
    lab.open(page)
    told = page.evaluate(
        """async () => {
            const { commands } = jupyterapp;
            const ids = commands.listCommands().filter(id => id.startsWith('workbench:')).sort();
            return Promise.all(ids.map(async id => [
                id,
                commands.label(id, { isPalette: true }),
                commands.caption(id, {}) !== '',
                Object.keys((await commands.describedBy(id)).args.properties),
                commands.isEnabled(id, {})
            ]));
        }"""
    )
    assert told == [
        [
            "workbench:open-console",
            "Open a Console on a Model Server…",
            True,
            ["isPalette", "name", "isContextMenu"],
            False,
        ],
        [
            "workbench:open-dashboard",
            "Open the Dashboard of Model Servers",
            True,
            ["isPalette", "cwd", "server", "model", "served", "beside"],
            True,
        ],
        ["workbench:open-glossary", "Model Serving Glossary", True, ["isPalette"], True],
        [
            "workbench:open-quickstart",
            "Open the Serving Quickstart",
            True,
            ["isPalette", "cwd"],
            True,
        ],
        [
            "workbench:open-welcome",
            "Open the Serving Labs",
            True,
            ["isPalette", "cwd", "beside"],
            True,
        ],
        ["workbench:refresh", "Refresh Model Servers", True, ["isPalette"], True],
        [
            "workbench:restart-server",
            "Restart a Killed Model Server…",
            True,
            ["isPalette", "name"],
            False,
        ],
        [
            "workbench:serve-folder",
            "Serve a Model Folder…",
            True,
            ["isPalette", "path", "name"],
            True,
        ],
        ["workbench:stop-server", "Stop a Model Server…", True, ["isPalette", "name"], False],
    ]
    execute(page, "workbench:refresh")

    # The Help menu opens the glossary.
    page.locator(".lm-MenuBar-item", has_text="Help").click()
    page.locator(".lm-Menu-item", has_text="Model Serving Glossary").click()
    glossary = page.locator(".wb-Glossary")
    expect(glossary.locator("h1")).to_contain_text("Glossary")
    expect(glossary.get_by_role("cell", name="executor slot", exact=True)).to_be_visible()


def _words(text: str) -> str:
    """A row's text without its memory, which is never the same twice."""
    return " ".join(text.partition("·")[0].split())
