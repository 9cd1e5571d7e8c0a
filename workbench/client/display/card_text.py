"""The server card as text, for a terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.client.display.card import how_to_ask
from workbench.client.display.version_view import VersionView
from workbench.client.display.views import Versions
from workbench.client.outcomes import Outcome

_HEAD = ("version", "state", "memory, measured", "loaded in")


def server_text(
    name: str,
    address: str,
    models: Sequence[tuple[Mapping[str, Any], Versions]],
    outcome: Outcome | None = None,
) -> str:
    """The card of a running server; for the arguments see `card.server_card`."""
    lines = [f"{name} at {address}, as of {time.strftime('%H:%M:%S')}"]
    if outcome is not None:
        lines += outcome.message.splitlines()
    for about, versions in models:
        lines += ["", f"{about['name']}, {about['transition']} transitions", *_rows(versions)]
        for piece in how_to_ask(name, address, about["name"], versions):
            lines += ["", *(f"  {line}" for line in piece.splitlines())] if piece else []
    return "\n".join(lines if models else [*lines, "no models yet"])


def _rows(versions: Versions) -> list[str]:
    rows = [_HEAD, *(_row(view) for view in versions)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    lines = []
    for row, view in zip(rows, [None, *versions], strict=True):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append(("  " + "  ".join(cells)).rstrip())
        if view is not None and view.error:
            lines.append(f"  {'':{widths[0]}}  {view.error}")
        if view is not None:
            lines += [f"  {'':{widths[0]}}  note: {note}" for note in view.notes]
    waiting = sorted(versions.waiting.items())
    lines += [f"  {str(v).ljust(widths[0])}  waiting: {reason}" for v, reason in waiting]
    return lines + [f"  {'':{widths[0]}}  warning: {warning}" for warning in versions.warnings]


def _row(view: VersionView) -> tuple[str, str, str, str]:
    return (
        str(view.version),
        "failed" if view.error else view.state.lower(),
        view.memory,
        view.loaded_in,
    )
