"""The versions of a model as an HTML table, in the style of the server card."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import Any

from workbench.client.display.version_view import VersionView

STYLE = """
.wb-card{--ink:var(--jp-ui-font-color1,#1f2328);--soft:var(--jp-ui-font-color2,#656d76);
--line:var(--jp-border-color2,#d0d7de);--fill:var(--jp-layout-color2,#f0f2f4);
font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;line-height:1.45;
color:var(--ink);background:var(--jp-layout-color1,#fff);border:1px solid var(--line);
border-radius:6px;max-width:720px;overflow:hidden}
.wb-card .wb-head{display:flex;flex-wrap:wrap;gap:4px 12px;align-items:baseline;padding:10px 14px;
border-bottom:1px solid var(--line)}
.wb-card .wb-name{font-size:15px;font-weight:600}
.wb-card .wb-soft{color:var(--soft)}
.wb-card .wb-end{margin-left:auto}
.wb-card table.wb-rows{border-collapse:collapse;width:100%;margin:0;font-size:13px;color:inherit;
table-layout:auto;border:none}
.wb-card table.wb-rows tr{background:none}
.wb-card table.wb-rows th,.wb-card table.wb-rows td{padding:6px 7px;text-align:left;
vertical-align:baseline;background:none;border:none}
.wb-card table.wb-rows th{font-weight:400;white-space:nowrap;
color:var(--soft);font-size:12px;padding-bottom:0}
.wb-card table.wb-rows :is(th,td):first-child{padding-left:14px}
.wb-card table.wb-rows :is(th,td):last-child{padding-right:14px}
.wb-card table.wb-rows td.wb-num{font-variant-numeric:tabular-nums;white-space:nowrap}
.wb-card .wb-state{white-space:nowrap}
.wb-card .wb-dot{display:inline-block;width:8px;height:8px;border-radius:50%;margin-right:6px}
.wb-card .wb-bar{display:inline-block;height:6px;border-radius:3px;background:#0072b2;
vertical-align:middle;margin-right:8px;min-width:2px}
.wb-card .wb-why{color:var(--jp-error-color1,#b00020);overflow-wrap:anywhere}
.wb-card .wb-outcome{padding:8px 14px 0;white-space:pre-line;overflow-wrap:anywhere}
.wb-card .wb-scroll{overflow-x:auto}
.wb-card details{border-top:1px solid var(--line);padding:8px 14px}
.wb-card summary{cursor:pointer;color:var(--soft)}
.wb-card pre{margin:8px 0 4px;padding:8px 10px;background:var(--fill);border-radius:4px;
color:var(--ink);font-family:var(--jp-code-font-family,ui-monospace,monospace);font-size:12px;
white-space:pre-wrap;overflow-wrap:anywhere}
"""

# The word names the state; the dot's colour (Okabe and Ito's) and filling only help.
_DOTS = {
    "AVAILABLE": "background:#009e73",
    "LOADING": "background:#e69f00",
    "START": "border:1.5px solid #e69f00;box-sizing:border-box",
    "UNLOADING": "border:1.5px solid #56b4e9;box-sizing:border-box",
    "END": "border:1.5px solid #8c959f;box-sizing:border-box",
    "failed": "background:#d55e00",
}
_BAR_PIXELS = 64


def versions_card(
    versions: Iterable[VersionView], waiting: Mapping[int, str], warnings: Iterable[str]
) -> str:
    """A card of the table alone."""
    table = versions_table(versions, waiting, warnings)
    return f"<style>{STYLE}</style><div class='wb-card'>{table}</div>"


def versions_table(
    versions: Iterable[VersionView], waiting: Mapping[int, str], warnings: Iterable[str]
) -> str:
    """The rows of one model: its versions, with state and measured memory; the folders that wait,
    with the reason; and the warnings about the model's folder."""
    views = list(versions)
    largest = max((view.memory_bytes or 0 for view in views), default=0)
    rows = [_row(view, largest) for view in views]
    rows += [
        f"<tr><td class='wb-num'>{version}</td><td class='wb-state'>"
        f"<span class='wb-dot' style='{_DOTS['START']}'></span>waiting</td>"
        f"<td colspan='2' class='wb-soft'>{escaped(reason)}</td></tr>"
        for version, reason in sorted(waiting.items())
    ]
    rows += [_below("why", warning) for warning in warnings]
    return (
        "<div class='wb-scroll'><table class='wb-rows'><tr><th>version</th><th>state</th>"
        "<th>memory, measured</th><th style='width:22%'>loaded in</th></tr>"
        f"{''.join(rows)}</table></div>"
    )


def _row(view: VersionView, largest: int) -> str:
    state = "failed" if view.error else view.state
    memory = ""
    if view.memory_bytes is not None:
        width = round(_BAR_PIXELS * view.memory_bytes / largest) if largest else 0
        memory = f"<span class='wb-bar' style='width:{width}px'></span>{view.memory}"
    row = (
        f"<tr><td class='wb-num'>{view.version}</td><td class='wb-state'>"
        f"<span class='wb-dot' style='{_DOTS[state]}'></span>{state.lower()}</td>"
        f"<td class='wb-num'>{memory}</td><td class='wb-num'>{view.loaded_in}</td></tr>"
    )
    if view.error:
        why = view.error if view.quarantine is None else f"{view.error} ({view.quarantine})"
        row += _below("why", why)
    return row + "".join(_below("soft", note) for note in view.notes)


def _below(look: str, text: str) -> str:
    return f"<tr><td></td><td colspan='3' class='wb-{look}'>{escaped(text)}</td></tr>"


def escaped(value: Any) -> str:
    """A value as text in HTML."""
    return html.escape(str(value))
