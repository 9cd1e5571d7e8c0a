"""The server card as text, for a terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.client.display.card import how_to_ask
from workbench.client.display.tables import aligned
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
    head, *rows = aligned([_HEAD, *(_row(view) for view in versions)])
    width = max([len(_HEAD[0]), *(len(str(view.version)) for view in versions)])
    lines = [head]
    for row, view in zip(rows, versions, strict=True):
        lines.append(row)
        if view.error:
            lines.append(f"{'':{width}}  {view.error}")
        lines += [f"{'':{width}}  note: {note}" for note in view.notes]
    lines += [f"{v:<{width}}  waiting: {why}" for v, why in sorted(versions.waiting.items())]
    lines += [f"{'':{width}}  warning: {warning}" for warning in versions.warnings]
    return [f"  {line}" for line in lines]


def _row(view: VersionView) -> tuple[str, str, str, str]:
    state = "failed" if view.error else view.state.lower()
    return str(view.version), state, view.memory, view.loaded_in
