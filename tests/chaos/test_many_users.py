"""Two notebooks and a terminal measure one server while somebody changes it from the dashboard.

Whatever is kept must be true: each point was measured at its own setting and one version, and
counts what was sent.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

import workbench as wb
from tests.children import WITH_TEST
from workbench.core.status import ServingError
from workbench.experiments.store.store import Store

_NOTEBOOK = """
import sys, time
import workbench as wb
from workbench.core.status import ServingError
size, end, when_busy = int(sys.argv[1]), time.time() + float(sys.argv[2]), sys.argv[3]
server = wb.connect("digits")
while time.time() < end:
    try:
        server.sweep(
            batch_timeout_micros=[0, 500, 2000], max_batch_size=size, rate=[200.0, 400.0],
            seconds=0.6, progress=False, when_busy=when_busy,
        )
        print("swept", flush=True)
    except ServingError as error:
        print(error.code.name, error.message, flush=True)
        time.sleep(0.3)
"""
SIZES = {"Alice.ipynb": 11, "Bob.ipynb": 23, "terminal": 47}
"""Each measures at a batch size of its own."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "seconds", [25, pytest.param(120, marks=[pytest.mark.soak, pytest.mark.timeout(300)])]
)
def test_every_result_that_is_kept_is_true(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    with wb.serve(models / "digits", name="digits", num_batch_threads=2) as server:
        end = time.monotonic() + seconds
        people = [
            _notebook("Alice.ipynb", seconds, "wait"),
            _notebook("Bob.ipynb", seconds, "take over"),
        ]
        changes = _from_the_dashboard(server, models / "digits", end)
        said = [process.communicate(timeout=90)[0] for process in people]
        assert all(process.returncode == 0 for process in people), said
        final = server.batching
    assert sum(text.count("swept") for text in said) >= 3, said
    assert changes >= 5
    assert final is None
    assert _check_all() >= 5


def _notebook(name: str, seconds: float, when_busy: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*WITH_TEST, sys.executable, "-c", _NOTEBOOK, str(SIZES[name]), str(seconds), when_busy],
        env={**os.environ, "JPY_SESSION_NAME": name},
        stdout=subprocess.PIPE,
        text=True,
    )


def _from_the_dashboard(server: wb.Server, model: Path, end: float) -> int:
    """Change the server now and then; between that the terminal sweeps. Returns the changes."""
    draw, changes = random.Random(0), 0
    command = [
        *(sys.executable, "-m", "workbench.cli.main", "sweep", "digits", "--rate", "300"),
        *("--size", str(SIZES["terminal"]), "--timeout", "0,1000", "--seconds", "0.5"),
    ]
    terminal: subprocess.Popen[bytes] | None = None
    while time.monotonic() < end:
        time.sleep(draw.uniform(0.2, 1.2))
        if terminal is None or terminal.poll() is not None:
            terminal = subprocess.Popen(
                [*WITH_TEST, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        act = draw.choice(["batching", "batching", "slots", "publish", "rollback"])
        try:
            if act == "batching":
                server.batching = {
                    "max_batch_size": draw.choice([3, 64]),
                    "batch_timeout_micros": 0,
                }
            elif act == "slots":
                server.control.set_slots(draw.choice([1, 2, 3]))
            elif act == "publish":
                server.publish(model)
            else:
                server.rollback()
        except ServingError:
            continue
        changes += 1
    if terminal is not None:
        terminal.wait(60)
    # The last wish, which no sweep may undo.
    server.batching = None
    return changes


def _check_all() -> int:
    """Check every kept sweep; returns how many points there were."""
    with Store() as store:
        numbers = [each["number"] for each in store.list()]
        assert store.running() == []
    points = 0
    for number in numbers:
        result = wb.load_experiment(number)
        for point in result.points:
            points += 1
            size = point.parameters["max_batch_size"]
            assert size in SIZES.values()
            assert max(map(int, point.sizes), default=0) <= size
            assert min(point.queue, point.run, point.overhead, point.occupancy) >= 0
            assert point.lost == 0, point
            answered = sum(int(rows) * count for rows, count in point.sizes.items())
            assert answered == round(point.offered * point.seconds)
    return points
