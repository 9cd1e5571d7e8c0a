"""A notebook with every live view in sight and traffic below it, and what keeping it up costs."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from playwright.sync_api import Browser, Page, expect

from tests.browser.lab import Lab
from tests.browser.test_quickstart import run_all_cells
from tests.browser.test_widgets import notebook

RATE = 100.0
"""Requests a second while it is looked at."""
FRAME_MS = 20.0
"""Of scripting in a frame: with no more than that, fifty frames a second are possible."""

_HEIGHT = 6600
_SERVE = """
import numpy as np
import workbench as wb
server = wb.serve({first}, name="every")
x = np.linspace(-4, 4, 50, dtype=np.float32)
changed = server.compare_transitions(
    {second}, x[:1], rate=100, repeats=1, lead_seconds=0.6, keep=False, progress=False
)
server.publish({second})
calibration = server.calibrate(x[:1], max_batch_size=16, seconds=1.0, keep=False)
found = server.compare_versions(1, server.outcome.version, x, pairs=50, keep=False, progress=False)
"""
_GUESS = (
    "wb.PredictThenReveal('How many?', [0, 1, 2], lambda report: [4, 9, 12], x_label='ms', "
    "y_label='requests/s', y_range=(0, 15))"
)
_LOAD = """
import time
import workbench as wb
server = wb.connect("every")
end = time.monotonic() + {seconds}
while time.monotonic() < end:
    server.predict([1.0])
    time.sleep(1 / {rate})
"""
_SCRIPTING = frozenset(
    ["FunctionCall", "FireAnimationFrame", "TimerFire", "EvaluateScript", "RunMicrotasks"]
)


@dataclass(frozen=True)
class Cost:
    """What some seconds of it cost.

    Attributes:
        frames: how often the page was drawn anew.
        scripting_ms: of the page's main thread in each of them.
        kernel_cpu: of the notebook's kernel, in cores.
    """

    seconds: float
    frames: int
    scripting_ms: np.ndarray
    kernel_cpu: float

    @property
    def possible_frames(self) -> float:
        """Frames a second that scripting would leave room for, by the slowest of a hundred."""
        return 1000 / max(1e-3, float(np.percentile(self.scripting_ms, 99)))


@dataclass(frozen=True)
class Held:
    """Bytes that are held after the garbage was collected."""

    page: float
    kernel: float


class EveryView:
    """The notebook, open in a page whose window is tall enough for all of it."""

    def __init__(self, lab: Lab, browser: Browser, page: Page, models: Path) -> None:
        first, second = (
            json.dumps(str(models / name)) for name in ("half_plus_two", "half_plus_three")
        )
        cells = (
            _SERVE.format(first=first, second=second), "server", "server.timeline()",
            "server.ledger()", "found", "changed", "server.sweep_explorer(calibration)", _GUESS,
            "wb.policy_stepper()",
        )  # fmt: skip
        notebook(lab, "every.ipynb", *cells)
        page.set_viewport_size({"width": 1280, "height": _HEIGHT})
        before = _kernels()
        lab.open(page, path="every.ipynb")
        page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
        outputs = run_all_cells(page)
        assert not [text for text in outputs if re.search(r"^\w*Error: ", text, re.MULTILINE)]
        expect(page.locator(".wb-live")).to_have_count(7)
        # All of it is in sight, and so all of it is live.
        bottom = page.locator(".wb-stepper").bounding_box()
        assert bottom is not None
        assert bottom["y"] + bottom["height"] < _HEIGHT
        # The number that the comparison had used is not used again.
        expect(page.locator(".wb-timeline .wb-summary")).to_have_text("version 3 available")
        (self.kernel,) = [p for p in _kernels() if p not in before]
        self._lab, self._browser, self._page = lab, browser, page
        self._cdp = page.context.new_cdp_session(page)

    def held(self) -> Held:
        """What page and kernel hold now."""
        self._cdp.send("HeapProfiler.collectGarbage")
        heap = self._cdp.send("Runtime.getHeapUsage")["usedSize"]
        return Held(float(heap), float(self.kernel.memory_full_info().uss))

    def watch(self, seconds: float) -> Cost:
        """Look at it for a while, under Chromium's tracing."""
        began = sum(self.kernel.cpu_times()[:2])
        self._browser.start_tracing(
            page=self._page, categories=["-*", "devtools.timeline", "disabled-by-default-v8.cpu"]
        )
        self._page.wait_for_timeout(seconds * 1e3)
        trace = json.loads(self._browser.stop_tracing())
        used = sum(self.kernel.cpu_times()[:2]) - began
        frames, scripting = scripting_per_frame(trace["traceEvents"])
        return Cost(seconds, frames, scripting, used / seconds)

    def close(self) -> None:
        self._lab.run("import workbench as wb\nwb.connect('every').stop()")


def _kernels() -> list[psutil.Process]:
    """The notebook kernels that run below this process."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if "ipykernel_launcher" in " ".join(process.cmdline())
    ]


def scripting_per_frame(events: list[dict[str, Any]]) -> tuple[int, np.ndarray]:
    """The number of frames in a trace, and the milliseconds of scripting in each.

    Scripting is what the page's main thread spends in calls of functions, timers and animation
    frames, each counted once where they are nested.
    """
    frames = sorted(e["ts"] for e in events if e["name"] == "FireAnimationFrame")
    if len(frames) < 2:
        return len(frames), np.zeros(1)
    thread = next((e["pid"], e["tid"]) for e in events if e["name"] == "FireAnimationFrame")
    calls = sorted(
        (e["ts"], e["ts"] + e.get("dur", 0))
        for e in events
        if e["name"] in _SCRIPTING and e["ph"] == "X" and (e["pid"], e["tid"]) == thread
    )
    # Several callbacks of one frame begin within less than half a frame.
    starts = [frames[0]]
    for at in frames:
        if at - starts[-1] > 8000:
            starts.append(at)
    spent = np.zeros(len(starts))
    until = 0.0
    for start, end in calls:
        if start >= starts[0] and end > until:
            place = int(np.searchsorted(starts, start, side="right")) - 1
            spent[place] += (end - max(start, until)) / 1e3
            until = end
    return len(starts), spent


@contextlib.contextmanager
def traffic(lab: Lab, seconds: float) -> Iterator[None]:
    """Requests from another process while the block runs."""
    code = _LOAD.format(seconds=seconds, rate=RATE)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=lab.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait(30)
