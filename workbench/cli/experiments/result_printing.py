"""Prints and draws the results of experiments."""

from __future__ import annotations

import json
from typing import Any


def print_json(result: Any) -> None:
    """Print a result as JSON, with the `number` that it is stored under."""
    # NaN is not JSON: fail instead of printing it.
    print(json.dumps({**result.to_json(), "number": result.number}, allow_nan=False))


def save_figure(result: Any, file: str) -> None:
    """Write a result's figure to a .png, .svg or .pdf file."""
    drawn = result.plot()
    # Some results draw a figure, some draw on axes.
    getattr(drawn, "figure", drawn).savefig(file, dpi=200)
