"""JupyterLab and Chromium, once for all browser tests; a page of its own for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.lab import Lab

# Debian's Chromium; it asks nobody beyond this machine, and root has to do without its sandbox.
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    "--disable-gpu",
]
_PAGE_MS = 30_000


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A running JupyterLab with this package's extensions."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    try:
        lab.start()
        yield lab
    finally:
        lab.stop()


# Not longer than a module: while Playwright is there, its event loop runs in this thread.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page, sharp enough for pictures; JupyterLab is opened in it by `lab.open(page)`."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, device_scale_factor=2, reduced_motion="reduce"
    )
    context.set_default_timeout(_PAGE_MS)
    yield context.new_page()
    context.close()
