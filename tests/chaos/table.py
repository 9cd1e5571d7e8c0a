"""The table in `docs/reliability.md`: what callers may see of what happens, and for how long."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_FILE = Path(__file__).parents[2] / "docs" / "reliability.md"


class Row(NamedTuple):
    rest: frozenset[str]
    grpc: frozenset[str]
    seconds: float


def read() -> dict[str, Row]:
    """Each row by what happens."""
    text = _FILE.read_text()
    start = text.index("| what happens |")
    lines = text[start : text.index("\n\n", start)].splitlines()[2:]
    rows = {}
    for line in lines:
        what, rest, grpc, limit = (cell.strip() for cell in line.strip("|").split("|"))
        seconds = re.fullmatch(r"(\d+) s|", limit)
        assert seconds is not None, line
        rows[what] = Row(_failures(rest), _failures(grpc), float(seconds[1] or 0))
    return rows


def _failures(cell: str) -> frozenset[str]:
    return frozenset() if cell == "nothing" else frozenset(part.strip() for part in cell.split(","))
