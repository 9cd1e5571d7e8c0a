"""What an open dashboard costs: how much later JupyterLab is there with it, and, while nothing
happens, CPU of the page's process and of the Jupyter server with its extension, over half a minute;
beside it JupyterLab without a dashboard.

    python -m benchmarks.idle_dashboard [--quick]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import time
from pathlib import Path

from playwright.sync_api import Browser, Page

from benchmarks.lab_page import lab_page
from benchmarks.limits import Limits
from tests.browser.lab import Lab, execute

CPU = 0.02
LATER_SECONDS = 2.0
_LOADS = 5
_SAVED_MS = 3_000
_SETTLE_MS = 20_000
_DRAWN = ".wb-timeline .wb-summary:has-text('available')"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ten seconds each")
    seconds = 10.0 if parser.parse_args().quick else 30.0
    with lab_page() as (lab, browser, page, models):
        try:
            base = lab.root / "shop"
            base.mkdir()
            shutil.copytree(models / "half_plus_two", base / "1")
            lab.run(
                f"import workbench as wb; wb.serve({str(base)!r}, 'shop', detach=True, "
                "idle_seconds=600)"
            )
            lab.open(page)
            page.wait_for_timeout(_SETTLE_MS)
            bare = _reloaded(page, ".jp-LauncherCard")
            without = _cpu(browser, lab, seconds)
            execute(page, "workbench:open-dashboard", {"server": "shop"})
            page.locator(_DRAWN).first.wait_for()
            # Its place in the layout has been kept by then.
            page.wait_for_timeout(_SAVED_MS)
            drawn = _reloaded(page, _DRAWN)
            page.wait_for_timeout(_SETTLE_MS)
            seen = _cpu(browser, lab, seconds)
            # The launcher that was there does not come back with the layout.
            execute(page, "launcher:create")
            page.wait_for_timeout(_SETTLE_MS)
            behind = _cpu(browser, lab, seconds)
        finally:
            lab.run("import workbench as wb; [server.stop() for server in wb.servers()]")
    limits = Limits()
    limits.row(
        "dashboard drawn after the page is loaded again, beyond JupyterLab's own start",
        f"{drawn - bare:+.2f} s ({bare:.2f} -> {drawn:.2f} s)",
        f"under {LATER_SECONDS:.0f} s",
        drawn - bare < LATER_SECONDS,
    )
    for name, (renderer, jupyter) in (
        ("JupyterLab without a dashboard", without),
        ("with the dashboard open", seen),
        ("with the dashboard behind another tab", behind),
    ):
        print(f"{name}: page {renderer:.2%}, Jupyter server {jupyter:.2%} of a core")
    limits.row(
        "page and Jupyter server with an idle dashboard",
        f"{sum(seen):.1%} of a core, JupyterLab's own included",
        f"less than {CPU:.0%}",
        sum(seen) < CPU,
    )
    return limits.exit_code()


def _reloaded(page: Page, selector: str) -> float:
    """Seconds from loading the page again to the first that `selector` finds; the median."""
    took = []
    for _ in range(_LOADS):
        began = time.monotonic()
        page.reload(wait_until="commit")
        page.locator(selector).first.wait_for()
        took.append(time.monotonic() - began)
        page.locator("#jupyterlab-splash").wait_for(state="detached")
    return statistics.median(took)


def _cpu(browser: Browser, lab: Lab, seconds: float) -> tuple[float, float]:
    """Shares of a core that the pages' processes and the Jupyter server take."""
    assert lab._process is not None
    session = browser.new_browser_cdp_session()
    told = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    pages = [each["id"] for each in told if each["type"] == "renderer"]
    before = [sum(map(_seconds, pages)), _seconds(lab._process.pid)]
    began = time.monotonic()
    time.sleep(seconds)
    after = [sum(map(_seconds, pages)), _seconds(lab._process.pid)]
    took = time.monotonic() - began
    renderer, jupyter = ((b - a) / took for a, b in zip(before, after, strict=True))
    return renderer, jupyter


def _seconds(pid: int) -> float:
    """Processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
