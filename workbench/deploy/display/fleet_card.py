"""The card of a fleet: HTML that needs neither a kernel nor a script, and no token.

It uses JupyterLab's colours if they exist and its own otherwise, as the card of a server does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.client.display.versions_table import STYLE, escaped
from workbench.core.memory.budget import size
from workbench.deploy.display.fleet_card_text import fleet_text, how_to_ask, plan_words
from workbench.deploy.display.fleet_state import (
    FleetState,
    RolloutState,
    ServerState,
    balanced_words,
    clock,
    rollout_words,
    versions_words,
)

_STYLE = """
.wb-fleet.wb-card{max-width:860px}
.wb-fleet .wb-note{padding:7px 14px;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
.wb-fleet .wb-under{display:block;font-size:11.5px;color:var(--soft)}
.wb-fleet dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 14px;margin:0;
padding:8px 14px;border-bottom:1px solid var(--line)}
.wb-fleet dt{color:var(--soft);font-weight:400}
.wb-fleet dd{margin:0;overflow-wrap:anywhere}
.wb-fleet table.wb-rows{margin-bottom:6px}
.wb-fleet table.wb-rows td.wb-why{padding-top:0}
.wb-fleet table.wb-rows :is(td,th).wb-right{text-align:right}
.wb-fleet code{font-family:var(--jp-code-font-family,ui-monospace,monospace);font-size:12px;
background:var(--fill);color:inherit;border-radius:3px;padding:1px 4px}
"""
# The word names the state; the dot's colour and filling only help.
_DOTS = {
    "serves": "background:#009e73",
    "changing": "background:#e69f00",
    "refused": "background:#d55e00",
    "no answer": "background:#d55e00",
}
_STARTING = "border:1.5px solid #e69f00;box-sizing:border-box"
_COLUMNS = ("node", "state", "versions", "revision", "answered", "failed", "memory", "balancers")
_NUMBERS = _COLUMNS[3:7]


@dataclass(frozen=True)
class FleetCard:
    """A fleet at one moment, for a cell and for a terminal."""

    state: FleetState

    def _repr_html_(self) -> str:
        return fleet_card(self.state)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def __str__(self) -> str:
        return fleet_text(self.state)

    __repr__ = __str__


def fleet_card(state: FleetState, live: bool = False) -> str:
    """The card of a fleet.

    Args:
        live: leave the time out, for a page that shows it itself.
    """
    as_of = "" if live else f"as of {clock(state.wall)}"
    parts = [
        f"<style>{STYLE}{_STYLE}</style><div class='wb-card wb-fleet'><div class='wb-head'>"
        f"<span class='wb-name'>{escaped(state.name)}</span>"
        f"<span class='wb-soft'>{escaped(state.headline)}</span>"
        f"<span class='wb-soft wb-end'>{as_of}</span></div>"
    ]
    if state.troubles:
        said = "".join(f"<div>{escaped(text)}</div>" for text in state.troubles)
        parts.append(f"<div class='wb-note wb-why'>{said}</div>")
    if state.engine:
        parts.append(f"<div class='wb-note wb-soft'>Ray says: {escaped(state.engine)}</div>")
    if state.rollout is not None:
        parts.append(_rollout(state.rollout, len(state.servers)))
    if state.orders is not None:
        pairs = "".join(
            f"<dt>{escaped(name)}</dt><dd>{escaped(text)}</dd>"
            for name, text in plan_words(state.orders.plan)
        )
        parts.append(f"<dl>{pairs}</dl>")
    parts.append(_table(state.servers))
    addresses = "\n".join(state.addresses) or "no balancer is known"
    pieces = "".join(f"<pre>{escaped(text)}</pre>" for text in (addresses, *how_to_ask(state)))
    parts.append(f"<details><summary>addresses, and how to ask</summary>{pieces}</details></div>")
    return "".join(parts)


def _rollout(rollout: RolloutState, servers: int) -> str:
    said, cures = rollout_words(rollout, servers)
    cure = " or ".join(f"<code>{escaped(each)}</code>" for each in cures)
    cure = f" Go on or go back with {cure}." if cure else ""
    return f"<div class='wb-note'><b>{escaped(said)}</b>{cure}</div>"


def _table(servers: Sequence[ServerState]) -> str:
    if not servers:
        return "<div style='padding:10px 14px' class='wb-soft'>no server is known</div>"
    head = "".join(
        f"<th{' class=wb-right' if name in _NUMBERS else ''}>{name}</th>" for name in _COLUMNS
    )
    rows = "".join(row for server in servers for row in _rows(server))
    return f"<div class='wb-scroll'><table class='wb-rows'><tr>{head}</tr>{rows}</table></div>"


def _rows(server: ServerState) -> Iterator[str]:
    dot = _DOTS.get(server.state, _STARTING)
    numbers = [
        "" if value is None else f"{value:,}"
        for value in (server.revision, server.answered, server.failed)
    ]
    numbers.append("" if server.memory_bytes is None else size(server.memory_bytes))
    cells = "".join(f"<td class='wb-num wb-right'>{text}</td>" for text in numbers)
    yield (
        f"<tr><td>{escaped(server.node)}<span class='wb-under'>{escaped(server.name)}</span></td>"
        f"<td class='wb-state'><span class='wb-dot' style='{dot}'></span>{escaped(server.state)}"
        f"</td><td>{escaped(versions_words(server))}</td>{cells}"
        f"<td>{escaped(balanced_words(server))}</td></tr>"
    )
    for text in (*([server.error] if server.error else []), *server.differs):
        yield f"<tr><td></td><td colspan='7' class='wb-why'>{escaped(text)}</td></tr>"
