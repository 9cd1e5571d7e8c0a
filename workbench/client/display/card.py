"""The server card: what a server is and does, as HTML that needs neither a kernel nor a script.

It uses JupyterLab's colours where there are any and has its own where there are none, so that it
reads in light, dark and on paper. The token is never part of it: the snippets ask for it when they
are run.
"""

from __future__ import annotations

import html
import json
import math
import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from workbench.client.display.views import Versions, VersionView
from workbench.client.outcomes import Outcome
from workbench.core.signature import DEFAULT_SIGNATURE, Signature

_STYLE = """
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

# A state is told by its word; the dot's colour (Okabe and Ito's) and filling only help.
_DOTS = {
    "AVAILABLE": "background:#009e73",
    "LOADING": "background:#e69f00",
    "START": "border:1.5px solid #e69f00;box-sizing:border-box",
    "UNLOADING": "border:1.5px solid #56b4e9;box-sizing:border-box",
    "END": "border:1.5px solid #8c959f;box-sizing:border-box",
    "failed": "background:#d55e00",
}
_BAR_PIXELS = 64
_EXAMPLE_VALUES = 100


def server_card(
    name: str,
    address: str,
    models: Sequence[tuple[Mapping[str, Any], Versions]],
    outcome: Outcome | None = None,
) -> str:
    """The card of a running server.

    Args:
        models: for each model what the server tells of it, and its versions.
        outcome: how the caller came by it.
    """
    parts = [
        f"<style>{_STYLE}</style><div class='wb-card'><div class='wb-head'>"
        f"<span class='wb-name'>{_text(name)}</span><span class='wb-soft'>{_text(address)}</span>"
        f"<span class='wb-soft wb-end'>as of {time.strftime('%H:%M:%S')}</span></div>"
    ]
    if outcome is not None:
        parts.append(f"<div class='wb-outcome'>{_text(outcome)}</div>")
    for about, versions in models:
        parts.append(versions_table(versions, about))
        parts.append(_snippets(name, address, about["name"], versions))
    if not models:
        parts.append("<div style='padding:10px 14px' class='wb-soft'>no models yet</div>")
    parts.append("</div>")
    return "".join(parts)


def versions_card(versions: Versions) -> str:
    """The card of one model's versions alone."""
    return f"<style>{_STYLE}</style><div class='wb-card'>{_rows(versions)}</div>"


def stopped_card(name: str) -> str:
    """The card of a server that has ended."""
    return (
        f"<style>{_STYLE}</style><div class='wb-card'><div class='wb-head' style='border:none'>"
        f"<span class='wb-name'>{_text(name)}</span><span class='wb-soft'>stopped</span>"
        f"<span class='wb-soft wb-end'>as of {time.strftime('%H:%M:%S')}</span></div></div>"
    )


def versions_table(versions: Versions, about: Mapping[str, Any]) -> str:
    """The rows of one model, under its name: its versions, with state and measured memory."""
    title = f"{about['name']}, {about['transition']} transitions"
    return f"<div style='padding:8px 14px 0' class='wb-soft'>{_text(title)}</div>{_rows(versions)}"


def _rows(versions: Versions) -> str:
    largest = max((v.memory_bytes or 0 for v in versions), default=0)
    rows = [_row(view, largest) for view in versions]
    rows += [
        f"<tr><td class='wb-num'>{version}</td><td class='wb-state'>"
        f"<span class='wb-dot' style='{_DOTS['START']}'></span>waiting</td>"
        f"<td colspan='2' class='wb-soft'>{_text(reason)}</td></tr>"
        for version, reason in sorted(versions.waiting.items())
    ]
    rows += [
        f"<tr><td></td><td colspan='3' class='wb-why'>{_text(warning)}</td></tr>"
        for warning in versions.warnings
    ]
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
        memory = (
            f"<span class='wb-bar' style='width:{width}px'></span>"
            f"{view.memory_bytes / 2**20:.0f} MB"
        )
    loaded = f"{view.load_seconds:.2f} s" if view.load_seconds else ""
    row = (
        f"<tr><td class='wb-num'>{view.version}</td><td class='wb-state'>"
        f"<span class='wb-dot' style='{_DOTS[state]}'></span>{state.lower()}</td>"
        f"<td class='wb-num'>{memory}</td><td class='wb-num'>{loaded}</td></tr>"
    )
    if view.error:
        why = view.error if view.quarantine is None else f"{view.error} ({view.quarantine})"
        row += f"<tr><td></td><td colspan='3' class='wb-why'>{_text(why)}</td></tr>"
    for note in view.notes:
        row += f"<tr><td></td><td colspan='3' class='wb-soft'>{_text(note)}</td></tr>"
    return row


def _snippets(name: str, address: str, model: str, versions: Versions) -> str:
    pieces = "".join(f"<pre>{_text(p)}</pre>" for p in how_to_ask(name, address, model, versions))
    return f"<details><summary>signatures, and how to ask</summary>{pieces}</details>"


def how_to_ask(name: str, address: str, model: str, versions: Versions) -> tuple[str, str, str]:
    """A model's signatures, and how to ask it in Python and with curl."""
    signatures = next((v.signatures for v in versions if v.state == "AVAILABLE"), {})
    about = "\n".join(f"{n}{s}" for n, s in sorted(signatures.items()) if n[:2] != "__")
    url = f"{address}/v1/models/{quote(model, safe='')}:predict"
    curl = (
        f'curl -H "Authorization: Bearer $(workbench status {name} --token)" \\\n'
        f"     -d {shlex.quote(_example(signatures.get(DEFAULT_SIGNATURE)))} {url}"
    )
    python = f'import workbench as wb\nwb.connect("{name}").predict(x)'
    return about, python, curl


def _example(signature: Signature | None) -> str:
    """A body that can be sent as it stands: one row of zeros; dots where it would be long."""
    if signature is None:
        return '{"instances": [...]}'
    row = {}
    for name, info in signature.inputs.items():
        if info.shape is None or info.shape[:1] != (-1,):
            return '{"inputs": ...}'
        # A dimension that the signature leaves open takes one value.
        shape = [max(size, 1) for size in info.shape[1:]]
        value: Any = {"string": "", "bool": False}.get(info.dtype, 0)
        if math.prod(shape) > _EXAMPLE_VALUES:
            return '{"instances": [...]}'
        for size in reversed(shape):
            value = [value] * size
        row[name] = value
    instance = row if len(row) != 1 else next(iter(row.values()))
    return json.dumps({"instances": [instance]})


def _text(value: Any) -> str:
    return html.escape(str(value))
