"""A notebook with every live view open under traffic: its costs stay what they were.

`make soak` looks at it for ten minutes; WORKBENCH_SOAK_SECONDS sets another time.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import browser, lab, page
from tests.browser.lab import Lab
from tests.browser.live_notebook import EveryView, traffic

__all__ = ["browser", "lab", "page"]

SECONDS = float(os.environ.get("WORKBENCH_SOAK_SECONDS", "600"))
_SETTLE_SECONDS = 20.0
_TRACED_SECONDS = 10.0
# What a view remembers (ten minutes of dots, states and samples) is bounded and filled by then.
_PAGE_GROWTH = 40 * 2**20
_KERNEL_GROWTH = 30 * 2**20


@pytest.mark.soak
@pytest.mark.browser
@pytest.mark.timeout(SECONDS + 300)
def test_every_view_for_a_while(lab: Lab, page: Page, models: Path) -> None:
    browser = page.context.browser
    assert browser is not None
    every = EveryView(lab, browser, page, models)
    try:
        with traffic(lab, SECONDS + 120):
            page.wait_for_timeout(_SETTLE_SECONDS * 1e3)
            before = every.held()
            first = every.watch(_TRACED_SECONDS)
            page.wait_for_timeout(max(0.0, SECONDS - 2 * _TRACED_SECONDS - _SETTLE_SECONDS) * 1e3)
            last = every.watch(_TRACED_SECONDS)
            after = every.held()
    finally:
        every.close()
    for cost in (first, last):
        print(
            f"{cost.frames} frames in {cost.seconds:.0f} s, room for {cost.possible_frames:.0f} a "
            f"second; kernel {cost.kernel_cpu:.1%} of a core"
        )
    print(
        f"page {before.page / 2**20:.1f} -> {after.page / 2**20:.1f} MB, kernel "
        f"{before.kernel / 2**20:.1f} -> {after.kernel / 2**20:.1f} MB"
    )
    assert last.frames > 0
    assert after.page - before.page < _PAGE_GROWTH
    assert after.kernel - before.kernel < _KERNEL_GROWTH
