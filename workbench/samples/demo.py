"""The demo: a model's whole life on a server, in a terminal and as a figure."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from workbench.client.serve import serve
from workbench.client.serve_settings import ServerSettings
from workbench.client.server import ServerClient
from workbench.experiments.recording.recording import Recording, record
from workbench.experiments.recording.recording_figure import draw
from workbench.samples.digits import accuracy, load_digits, train_digits

RATE = 200.0
"""Offered load of the background client in requests a second."""
_SETTLE_SECONDS = 0.5
"""The old version is unloaded only after the new one serves."""


def run_demo(output: str | os.PathLike[str]) -> int:
    """Serve, predict, publish smoothly and unload-first under load, roll back, draw.

    Args:
        output: the PNG file to write.

    Returns:
        The exit status: 0 if everything worked as expected, else 1.
    """
    with tempfile.TemporaryDirectory(prefix="workbench-demo-") as folder:
        return _run(Path(output), Path(folder) / "digits")


def _run(output: Path, base: Path) -> int:
    with _step("Training two models on 1 347 handwritten digits"):
        first = train_digits()
        second = train_digits(hidden=(128, 64))
    print(
        f"  version 1 is right on {accuracy(first):.1%} of the test digits, "
        f"version 2 on {accuracy(second):.1%}"
    )
    with _step("Serving version 1"):
        server = serve(first, "digits-demo", of_server=ServerSettings(base_path=base))
    try:
        digits = load_digits()
        answer = server.predict(digits.x_test[:1])
        assert isinstance(answer, np.ndarray)
        print(f"  {server.url}")
        predicted = answer.argmax()
        print(f"  the first test digit is a {digits.y_test[0]}; the model predicts {predicted}")

        print(f"From now on, a client sends {RATE:.0f} requests per second.")
        x = digits.x_test[:1]
        smooth = _published(server, second, x, "smooth", "Publishing version 2, smooth")

        with _step("Rolling back: the folder of version 2 is moved aside"):
            serving = server.rollback()
        print(f"  version {serving} serves again")

        server.transition = "unload_first"
        again = "Publishing it again, as version 3, unload-first"
        unload_first = _published(server, second, x, "unload-first", again)
        print(server.versions)
    finally:
        with _step("Stopping the server"):
            server.stop()
    output.parent.mkdir(parents=True, exist_ok=True)
    draw([smooth, unload_first]).savefig(output, dpi=150)
    print(f"Figure: {output}")
    kept = smooth.failed == 0 and smooth.overlap_seconds() > 0
    swapped = unload_first.overlap_seconds() == 0 and unload_first.gap_seconds > 0
    return 0 if kept and swapped else 1


def _published(server: ServerClient, model: Any, x: np.ndarray, title: str, step: str) -> Recording:
    """Publish a model under load; returns the recording, and prints it in a few words."""
    with _step(step), record(server, x, rate=RATE, title=title) as recording:
        server.publish(model)
        time.sleep(_SETTLE_SECONDS)
    s = recording.summary()
    gap = f"nothing served for {s['gap_ms']:.0f} ms" if s["gap_ms"] else "always served"
    overlap = (
        f"both versions in memory for {s['memory_overlap_s']:.2f} s"
        if s["memory_overlap_s"]
        else "never both versions in memory"
    )
    print(
        f"  {s['requests']} requests, {s['failed']} failed, {gap}; p99 {s['p99_ms']} ms; "
        f"{overlap}, peak {s['peak_mb']:.0f} MB"
    )
    return recording


@contextmanager
def _step(title: str) -> Iterator[None]:
    print(f"{title} ...", end=" ", flush=True)
    started = time.monotonic()
    yield
    print(f"{time.monotonic() - started:.1f} s", flush=True)
