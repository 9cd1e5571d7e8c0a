"""The sweep explorer in a real JupyterLab: dragged, measured, flooded, and without its server."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.lab import Lab
from tests.browser.test_quickstart import run_all_cells
from tests.browser.test_widgets import notebook, picture

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

_CALIBRATE_MS = 90_000
_MEASURE_MS = 60_000
_FLOOD, _FLOOD_MS = 200, 2000


_HOLD = """
import threading
from workbench.experiments.store.server_turns import Turn
held = threading.Event()
def hold():
    turn = Turn("tune", server)
    held.set()
    while turn.wanted_by is None and not threading.Event().wait(0.05):
        pass
    turn.end()
threading.Thread(target=hold, daemon=True).start()
held.wait(10)
"""


def in_kernel(page: Page, code: str) -> str:
    """Run Python in the kernel of the notebook in front; what it prints."""
    told: str = page.evaluate(
        """async code => {
            const { kernel } = jupyterapp.shell.currentWidget.sessionContext.session;
            const future = kernel.requestExecute({ code });
            let text = '';
            future.onIOPub = ({ content }) => { text += content.text ?? content.evalue ?? ''; };
            await future.done;
            return text;
        }""",
        code,
    )
    return told.strip()


def opened(lab: Lab, page: Page, name: str, *cells: str) -> Locator:
    """The explorer of a notebook of these cells, which has been run."""
    notebook(lab, name, *cells)
    lab.open(page, path=name)
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
    outputs = run_all_cells(page)
    assert not [o for o in outputs if re.search(r"^\w*(Error|Interrupt): ", o, re.MULTILINE)]
    view = page.locator(".wb-live", has=page.locator(".wb-sliders"))
    view.scroll_into_view_if_needed()
    return view


def simulated(view: Locator) -> list[list[str]]:
    """The rows of the table that are simulated: what the curve shows, as text."""
    rows = view.locator(".wb-twin tbody tr", has_text="simulated").all()
    return [row.locator("td").all_inner_texts() for row in rows]


def test_drag_measure_apply_and_the_end_of_the_server(lab: Lab, page: Page, models: Path) -> None:
    digits = str(models / "digits")
    view = opened(
        lab,
        page,
        "sweep.ipynb",
        f"import workbench as wb\nserver = wb.serve({digits!r}, name='swept')",
        "explorer = server.sweep_explorer(rate=1000, seconds=3.0)\nexplorer",
    )
    message, summary = view.locator(".wb-message"), view.locator(".wb-summary")
    expect(message).to_contain_text("Calibrate first")
    view.get_by_role("button", name="Calibrate").click()
    expect(view.get_by_role("button", name="Cancel")).to_be_visible()
    expect(message).to_contain_text("Calibrated with version 1", timeout=_CALIBRATE_MS)
    expect(summary).to_contain_text("Simulated: ")

    # By keyboard: from no delay to the scale's eighth value; the figures follow.
    view.get_by_role("button", name="Table").click()
    before = summary.inner_text()
    delay = view.get_by_role("slider", name="delay")
    delay.focus()
    for _ in range(8):
        delay.press("ArrowRight")
    expect(delay).to_have_attribute("aria-valuetext", "0.50 ms")
    expect(summary).not_to_have_text(before)
    # The curve against the rate moves as the delay is dragged with the mouse.
    view.get_by_label("curve against").select_option("rate")
    expect(view.locator(".wb-twin tbody tr td:nth-child(5)").first).to_have_text("10/s")
    curve = simulated(view)
    box = delay.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.28, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.38, box["y"] + box["height"] / 2, steps=20)
    page.mouse.up()
    chosen = delay.get_attribute("aria-valuetext") or ""
    assert chosen not in ("0", "0.50 ms")
    expect(view.locator(".wb-twin tbody tr td:nth-child(2)").first).to_have_text(chosen)
    moved = simulated(view)
    assert [row[4] for row in moved] == [row[4] for row in curve]
    assert [row[6] for row in moved] != [row[6] for row in curve]

    view.get_by_label("curve against").select_option("batch_timeout_micros")
    view.get_by_role("button", name="Measure").click()
    landed = view.locator(".wb-twin tbody tr", has_text="measured")
    expect(landed).to_have_count(1, timeout=_MEASURE_MS)
    expect(landed.locator("td").nth(1)).to_have_text(chosen)
    expect(message).to_contain_text("The server has its parameters back.")
    expect(summary).to_contain_text("Measured: ")
    assert in_kernel(page, "print(server.batching)") == "None"
    # What outlives the kernel has the point as well, and is hidden while the widget lives.
    lasting = page.locator(".wb-durable")
    expect(lasting).to_be_hidden()
    expect(lasting.locator("img")).to_have_count(1)
    expect(lasting).to_contain_text("Sweep of swept")

    # A second point, from a cell: it lands as well.
    in_kernel(
        page,
        "from dataclasses import replace\n"
        "explorer.measure(replace(explorer.setting, batch_timeout_micros=200))",
    )
    expect(landed).to_have_count(2)

    # Another experiment holds the server, until this one takes over.
    in_kernel(page, _HOLD)
    offer = view.get_by_role("button", name="Take over")
    expect(offer).to_be_hidden()
    view.get_by_role("button", name="Measure").click()
    expect(message).to_contain_text("holds server 'swept' for tuning: wait for it, or take over")
    expect(view.get_by_role("button", name="Wait for it")).to_be_visible()
    for theme in ("dark", "light"):
        picture(page, view, f"sweep-explorer-held-{theme}", theme)
    offer.click()
    expect(offer).to_be_hidden()
    expect(landed).to_have_count(3, timeout=_MEASURE_MS)

    view.get_by_role("button", name="Export").click()
    micros = round(float(chosen.split()[0]) * 1000)
    file = view.get_by_label("batching parameters file")
    expect(file).to_contain_text("num_batch_threads { value: ")
    view.get_by_role("button", name="Apply").click()
    expect(message).to_contain_text("In force: delay")
    in_force = int(in_kernel(page, "print(server.batching.batch_timeout_micros)"))
    assert in_force == pytest.approx(micros, rel=0.1)
    expect(file).to_contain_text(f"batch_timeout_micros {{ value: {in_force} }}")
    expect(view.locator(".wb-known")).to_contain_text(f"in force: delay {chosen}")

    view.get_by_role("button", name="Table").click()
    file.evaluate("file => { file.parentElement.hidden = true; }")
    for theme in ("dark", "light"):
        picture(page, view, f"sweep-explorer-{theme}", theme)

    in_kernel(page, "server.stop()")
    expect(view.locator(".wb-stale")).to_contain_text("server stopped", timeout=_MEASURE_MS)
    for name in ("Calibrate", "Measure", "Apply"):
        expect(view.get_by_role("button", name=name)).to_be_disabled()
    # The simulator needs no server.
    expect(delay).to_be_enabled()


_FAKE = """
import workbench as wb
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.simulator.service_time import ServiceTime
server = wb.serve({path}, name='flooded')
known = Calibration(ServiceTime.linear(500.0, 5.0), server.model, 1, 2, 1)
server.batching = {{"max_batch_size": 64}}
explorer = server.sweep_explorer(known, rate=1000)
asked, curve = [], explorer.curve
def counted(setting, axis):
    asked.append(setting.batch_timeout_micros)
    return curve(setting, axis)
explorer.curve = counted
"""

_DRAG = """
async (slider, [events, millis]) => {
    const steps = Number(slider.max);
    for (let i = 1; i <= events; i += 1) {
        slider.value = String(i === events ? steps - 1 : i % steps);
        slider.dispatchEvent(new Event('input', { bubbles: true }));
        await new Promise(resolve => setTimeout(resolve, millis / events));
    }
}
"""


@pytest.mark.slow
def test_a_flood_of_drags_leaves_one_value_and_none_queued(
    lab: Lab, page: Page, models: Path
) -> None:
    path = json.dumps(str(models / "half_plus_two"))
    view = opened(lab, page, "flood.ipynb", _FAKE.format(path=path), "explorer", "server")
    delay = view.get_by_role("slider", name="delay")
    expect(view.locator(".wb-summary")).to_contain_text("Simulated: ")
    delay.evaluate(_DRAG, [_FLOOD, _FLOOD_MS])
    final = delay.get_attribute("aria-valuetext")
    view.get_by_role("button", name="Table").click()
    scale = "explorer._scales['batch_timeout_micros'][-2]"
    expect(view.locator(".wb-summary")).to_contain_text("Simulated: ")
    page.wait_for_function(
        "text => [...document.querySelectorAll('.wb-twin tbody td:nth-child(2)')]"
        ".some(cell => cell.textContent === text)",
        arg=final,
    )
    assert in_kernel(page, f"print(explorer.setting.batch_timeout_micros == {scale})") == "True"
    # An order that is sent now comes after all that might be queued.
    view.get_by_role("button", name="Export").click()
    expect(view.get_by_label("batching parameters file")).to_be_visible()
    count, last = in_kernel(page, f"print(len(asked), asked[-1] == {scale})").split()
    assert (int(count) < _FLOOD, last) == (True, "True")
    assert in_kernel(page, "print(len(asked))") == count

    # The card's slider changes the server itself.
    card = page.locator(".wb-live", has=page.locator(".wb-versions"))
    card.scroll_into_view_if_needed()
    slider = card.get_by_role("slider", name="delay")
    expect(slider).to_be_enabled()
    slider.evaluate(_DRAG, [_FLOOD, _FLOOD_MS])
    text = card.locator("output").inner_text()
    expect(card.locator(".wb-message")).to_have_text(re.compile(r"Batches of up to .* wait .*"))
    micros = in_kernel(
        page,
        "import time\nend = time.monotonic() + 30\n"
        "while server.batching.batch_timeout_micros < 700_000 and time.monotonic() < end:\n"
        "    time.sleep(0.05)\n"
        "print(server.batching.batch_timeout_micros)",
    )
    assert text == f"{int(micros) / 1000:.0f} ms"

    # Without its kernel a view says so, and its sliders rest.
    view.scroll_into_view_if_needed()
    page.evaluate("async () => { await jupyterapp.shell.currentWidget.sessionContext.shutdown(); }")
    expect(view.locator(".wb-stale")).to_contain_text("no update from the notebook")
    expect(delay).to_be_disabled()
