"""The first five minutes in a browser: the quickstart from top to bottom, and the server after."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.lab import (
    DARK,
    LIGHT,
    Lab,
    open_running,
    screenshot,
    set_theme,
    wait_for_kernel,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

_RUN_MS = 180_000
_STOP_MS = 20_000


def run_all_cells(page: Page) -> list[str]:
    """Run the notebook in front; the text of each code cell's outputs, pictures as MIME types."""
    page.set_default_timeout(_RUN_MS)
    wait_for_kernel(page)
    outputs: list[str] = page.evaluate(
        """async () => {
            const panel = jupyterapp.shell.currentWidget;
            await jupyterapp.commands.execute('notebook:run-all-cells');
            const cells = [...panel.context.model.cells].filter(cell => cell.type === 'code');
            return cells.map(cell => cell.outputs.toJSON().map(output =>
                output.text ? [].concat(output.text).join('')
                : output.data ? Object.keys(output.data).join(' ')
                : `${output.ename}: ${output.evalue}`).join('\\n'));
        }"""
    )
    page.set_default_timeout(30_000)
    return outputs


def test_the_quickstart_and_the_server_it_leaves_behind(lab: Lab, page: Page) -> None:
    (lab.root / "00-quickstart.ipynb").unlink(missing_ok=True)
    lab.open(page)
    page.locator(".jp-LauncherCard", has_text="Serving quickstart").click()
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()

    outputs = run_all_cells(page)
    assert not [o for o in outputs if re.search(r"^\w*(Error|Interrupt): ", o, re.MULTILINE)]
    assert outputs[2] == "the model says 2, the label is 2\n"
    (smooth,) = [o for o in outputs if o.startswith("version 2 serves;") and "no version" not in o]
    assert " requests answered, 0 failed\n" in smooth
    (unload_first,) = [o for o in outputs if "no version for" in o]
    found = re.fullmatch(
        r"version 2 serves; (\d+) requests answered, (\d+) failed, no version for (\d+) ms\n",
        unload_first,
    )
    assert found is not None, unload_first
    assert all(int(number) > 0 for number in found.groups())
    assert sum("image/png" in o for o in outputs) == 2
    # The card, live, and what of it outlives the kernel.
    live, lasting = outputs[-1].splitlines()
    assert live.split()[-1] == "application/vnd.jupyter.widget-view+json"
    assert lasting == "text/plain text/html"

    # Jupyter lists the kernel that looks after the server, by the server's name.
    sessions = page.evaluate(
        "async () => [...jupyterapp.serviceManager.sessions.running()]"
        ".map(session => [session.name, session.kernel.name])"
    )
    assert ["digits", "workbench-serving"] in sessions

    section = open_running(page)
    server = section.locator(".wb-RunningServer")
    expect(server.locator(".jp-RunningSessions-itemLabel").first).to_have_text("digits")
    for theme in ("dark", "light"):
        set_theme(page, DARK if theme == "dark" else LIGHT)
        # All of the card is in the picture, also where the theme has moved it.
        page.locator(".wb-live").last.evaluate("node => node.scrollIntoView({ block: 'end' })")
        screenshot(page, "quickstart", theme)

    # The notebook's kernel is restarted; the server stays and is found again.
    told = page.evaluate(
        """async () => {
            const session = jupyterapp.shell.currentWidget.sessionContext.session;
            await session.kernel.restart();
            const future = session.kernel.requestExecute({
                code: "import workbench as wb; server = wb.connect('digits'); "
                    + "print(server.versions.available, server.predict([[0.0] * 64]).shape)"
            });
            let text = '';
            future.onIOPub = message => { text += message.content.text ?? ''; };
            await future.done;
            return text;
        }"""
    )
    assert told == "[2] (1, 10)\n"

    server.first.hover()
    server.first.get_by_title("Stop this server").first.click()
    expect(page.locator(".wb-RunningServer")).to_have_count(0, timeout=_STOP_MS)
    runtime = Path(lab.environ["JUPYTER_RUNTIME_DIR"])
    assert [p.name for p in runtime.iterdir() if "digits" in p.name] == []


def test_routes_need_the_token(lab: Lab) -> None:
    routes = {"workbench/api/servers": "GET", "workbench/api/quickstart": "POST"}
    for path, method in routes.items():
        request = urllib.request.Request(lab.url + path, method=method)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=10)
        with caught.value as answer:
            assert answer.code == 403
