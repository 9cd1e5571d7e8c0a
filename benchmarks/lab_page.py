"""JupyterLab in Chromium, with models to serve: what the benchmarks of its page begin with."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.conftest import CHROMIUM, FLAGS
from tests.browser.lab import Lab


@contextmanager
def lab_page() -> Iterator[tuple[Lab, Browser, Page, Path]]:
    """A running JupyterLab, an empty page in a browser, and the folder of the models."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        models = Path(folder) / "models"
        command = [sys.executable, "-m", "tests.models", str(models)]
        subprocess.run(command, check=True, capture_output=True)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        lab = Lab(Path(folder))
        try:
            lab.start()
            yield lab, browser, page, models
        finally:
            browser.close()
            lab.stop()
