"""Times a new user's way from `git clone` to a served prediction and a measured sweep.

    python -m docs.first_five_minutes

runs it twice, each time in an empty folder: in JupyterLab (`make lab`, driven by Chromium) and in a
shell. It writes the times into `docs/first-five-minutes.md`. Downloads come from this machine's pip
and npm sources.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "first-five-minutes.md"
CHROMIUM = "/usr/bin/chromium"
_STEP_SECONDS = 900.0
_STEP_MS = 300_000

TRAIN = """
import workbench as wb
from workbench.samples.digits import load_digits, train_digits

digits = load_digits()
server = wb.serve(train_digits(), name="digits", detach=True, idle_seconds=300)
print(server.predict(digits.x_test[:1]).argmax())
"""
SWEEP = """
import workbench as wb
from workbench.samples.digits import load_digits

server = wb.connect("digits")
result = server.sweep(
    batch_timeout_micros=[0, 2000], rate=[500, 2000], payload=load_digits().x_test, seconds=2
)
print(result.frame[["batch_timeout_micros", "rate", "p99_ms", "verdict"]])
server.stop()
"""


class Clock:
    """Collects the steps, each with its time in seconds."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self._began = self._last = time.monotonic()

    def step(self, what: str) -> None:
        """Record that a step has ended now."""
        now = time.monotonic()
        self.rows.append(f"| {what} | {now - self._last:.1f} | {now - self._began:.1f} |")
        print(self.rows[-1], flush=True)
        self._last = now

    @property
    def table(self) -> str:
        """The steps as a Markdown table."""
        return "\n".join(
            ["| step | seconds | since the beginning |", "| --- | --- | --- |", *self.rows]
        )


def _environ(place: Path) -> dict[str, str]:
    """An environment without this user's settings, except pip's and npm's caches and settings."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "JPY"))}
    for name in ("runtime", "data", "config"):
        own[f"JUPYTER_{name.upper()}_DIR"] = str(place / name)
    # This script opens the page itself; there may be no screen for a browser.
    return {**own, "BROWSER": "true"}


def _clone(place: Path) -> Path:
    clone = place / "serving-workbench"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    return clone


def in_a_shell(place: Path) -> tuple[Clock, float]:
    """The steps, and the size of the environment in bytes."""
    clock = Clock()
    clone = _clone(place)
    clock.step("`git clone`")
    python = str(clone / ".venv" / "bin" / "python")
    for what, command in (
        ("`make env`: the environment and the extension", ["make", "env"]),
        ("train a model, serve it, first prediction", [python, "-c", TRAIN]),
        ("first measured sweep, four points", [python, "-c", SWEEP]),
    ):
        subprocess.run(
            command, cwd=clone, env=_environ(place), check=True, timeout=_STEP_SECONDS,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        clock.step(what)
    files = (f for f in (clone / ".venv").rglob("*") if not f.is_symlink())
    return clock, float(sum(f.stat().st_size for f in files))


def in_jupyterlab(place: Path) -> Clock:
    """The steps of a user who types `make lab` and continues with mouse and keyboard."""
    clock = Clock()
    clone = _clone(place)
    clock.step("`git clone`")
    process = subprocess.Popen(
        ["make", "lab"], cwd=clone, env=_environ(place), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        address = _address(place / "runtime", process)
        clock.step(
            "`make lab`: the environment and the extension, until JupyterLab prints its address"
        )
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(_STEP_MS)
            page.goto(address)
            page.locator(".wb-Lab").first.wait_for()
            page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
            clock.step("the page opens, with the labs and the quickstart")
            page.locator(".wb-Welcome-icon .wb-icon-serving").wait_for()
            clock.step("the example model is served")
            _run(page, clone, "00-quickstart.ipynb", "server.predict(")
            clock.step("the quickstart's cells run, up to the first prediction of your own model")
            page.locator(".wb-Lab", has_text="Batching").click()
            _run(page, clone, "07-batching-sweep.ipynb", "server.sweep(")
            clock.step(
                "lab 07 opened and its cells run, up to the first measured sweep, nine points"
            )
            browser.close()
    finally:
        # A process that a shell has put into the background ignores Ctrl-C.
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(_STEP_SECONDS)
    return clock


def _address(runtime: Path, process: subprocess.Popen[bytes]) -> str:
    """The URL of the quickstart, once the Jupyter Server has written its address."""
    end = time.monotonic() + _STEP_SECONDS
    while time.monotonic() < end and process.poll() is None:
        for path in runtime.glob("jpserver-*.json"):
            try:
                info = json.loads(path.read_text())
            except ValueError:
                continue  # The file is half written.
            return f"{info['url']}lab/tree/notebooks/00-quickstart.ipynb?token={info['token']}"
        time.sleep(0.1)
    raise RuntimeError("JupyterLab did not start")


def _run(page: Page, clone: Path, name: str, last: str) -> None:
    """Run a notebook's cells in order, up to the first that contains `last`."""
    cells = json.loads((clone / "notebooks" / name).read_text())["cells"]
    at = next(
        i for i, c in enumerate(cells) if c["cell_type"] == "code" and last in "".join(c["source"])
    )
    panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    title = "".join(cells[0]["source"]).splitlines()[0].removeprefix("# ")
    heading = panel.locator(".jp-MarkdownOutput h1", has_text=title)
    heading.wait_for()
    page.get_by_text("| Idle").first.wait_for()
    heading.click()
    for _ in range(at + 1):
        page.keyboard.press("Shift+Enter")
    cell = panel.locator(f".jp-Cell[data-windowed-list-index='{at}']")
    cell.locator(".jp-OutputArea-output").first.wait_for(state="attached")
    if cell.locator("[data-mime-type='application/vnd.jupyter.stderr']").count():
        raise RuntimeError(cell.inner_text())


def _put(text: str, name: str, measured: str) -> str:
    """The page with the text between its two marks replaced."""
    start, end = f"<!-- measured: {name} -->", f"<!-- end of {name} -->"
    return f"{text.partition(start)[0]}{start}\n{measured}\n{end}{text.partition(end)[2]}"


def main() -> None:
    """Measure both ways, and write the times into the page."""
    with tempfile.TemporaryDirectory() as folder:
        lab = in_jupyterlab(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        shell, size = in_a_shell(Path(folder))
    machine = (
        f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {platform.system()} "
        f"{platform.machine()}; {time.strftime('%Y-%m-%d', time.gmtime())}. The environment takes "
        f"{size / 2**30:.1f} GB of disk."
    )
    text = _put(PAGE.read_text(), "lab", lab.table)
    PAGE.write_text(_put(text, "shell", f"{shell.table}\n\n{machine}"))


if __name__ == "__main__":
    main()
