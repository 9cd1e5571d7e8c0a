"""Prints and draws the results of experiments."""

from __future__ import annotations

import json
import sys
from typing import Any

_SHOWN = (
    "batch_timeout_micros", "max_batch_size", "num_batch_threads", "rate", "clients",
    "where", "arrivals", "achieved_per_s", "p50_ms", "p99_ms", "predicted_p99_ms", "batch_rows",
    "rejected", "verdict",
)  # fmt: skip


def print_json(result: Any) -> None:
    """Print a result as JSON, with the `number` that it is stored under."""
    # NaN is not JSON: fail instead of printing it.
    print(json.dumps({**result.to_json(), "number": result.number}, allow_nan=False))


def save_figure(result: Any, file: str) -> None:
    """Write a result's figure to a .png, .svg or .pdf file."""
    drawn = result.plot()
    # Some results draw a figure, some draw on axes.
    getattr(drawn, "figure", drawn).savefig(file, dpi=200)


def print_frame(frame: Any) -> None:
    """Print a data frame; of a measurement only the columns that matter."""
    columns = [name for name in _SHOWN if name in frame]
    shown = frame[columns] if "verdict" in frame else frame
    sys.stdout.write(shown.to_string(index=False, float_format=lambda v: f"{v:.4g}") + "\n")
