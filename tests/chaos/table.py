"""The table in `docs/reliability.md`: what callers may see of what happens."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_FILE = Path(__file__).parents[2] / "docs" / "reliability.md"


class Row(NamedTuple):
    rest: frozenset[str]
    grpc: frozenset[str]


def read() -> dict[str, Row]:
    """Each row by what happens."""
    text = _FILE.read_text()
    start = text.index("| what happens |")
    lines = text[start : text.index("\n\n", start)].splitlines()[2:]
    rows = {}
    for line in lines:
        what, rest, grpc, _ = (cell.strip() for cell in line.strip("|").split("|"))
        rows[what] = Row(_failures(rest), _failures(grpc))
    return rows


def _failures(cell: str) -> frozenset[str]:
    return frozenset() if cell == "nothing" else frozenset(part.strip() for part in cell.split(","))
