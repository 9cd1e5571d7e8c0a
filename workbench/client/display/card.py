"""The server card: HTML that needs neither a kernel nor a script.

It uses JupyterLab's colours if they exist and its own otherwise, so it can be read in light themes,
in dark themes and on paper. It never contains the token: the snippets read it when they are run.
"""

from __future__ import annotations

import json
import math
import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from workbench.client.display.versions_table import STYLE, escaped, versions_table
from workbench.client.display.views import Versions
from workbench.client.outcomes import Outcome
from workbench.core.signature import DEFAULT_SIGNATURE, Signature

_EXAMPLE_VALUES = 100


def server_card(
    name: str,
    address: str,
    models: Sequence[tuple[Mapping[str, Any], Versions]],
    outcome: Outcome | None = None,
) -> str:
    """The card of a running server.

    Args:
        models: the description and the versions of each model.
        outcome: how the caller obtained the server.
    """
    parts = [_head(name, address)]
    if outcome is not None:
        parts.append(f"<div class='wb-outcome'>{escaped(outcome)}</div>")
    for about, versions in models:
        title = escaped(f"{about['name']}, {about['transition']} transitions")
        parts.append(f"<div style='padding:8px 14px 0' class='wb-soft'>{title}</div>")
        parts.append(versions_table(versions, versions.waiting, versions.warnings))
        asking = how_to_ask(name, address, about["name"], versions)
        pieces = "".join(f"<pre>{escaped(piece)}</pre>" for piece in asking)
        parts.append(f"<details><summary>signatures, and how to ask</summary>{pieces}</details>")
    if not models:
        parts.append("<div style='padding:10px 14px' class='wb-soft'>no models yet</div>")
    parts.append("</div>")
    return "".join(parts)


def stopped_card(name: str) -> str:
    """The card of a server that has ended."""
    return f"{_head(name, 'stopped', 'border:none')}</div>"


def _head(name: str, state: str, style: str = "") -> str:
    return (
        f"<style>{STYLE}</style><div class='wb-card'><div class='wb-head' style='{style}'>"
        f"<span class='wb-name'>{escaped(name)}</span><span class='wb-soft'>{escaped(state)}</span>"
        f"<span class='wb-soft wb-end'>as of {time.strftime('%H:%M:%S')}</span></div>"
    )


def how_to_ask(name: str, address: str, model: str, versions: Versions) -> tuple[str, str, str]:
    """A model's signatures, and the code that asks it in Python and with curl."""
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
    """A request body with one row of zeros; dots if it would be long."""
    if signature is None:
        return '{"instances": [...]}'
    row = {}
    for name, info in signature.inputs.items():
        if info.shape is None or info.shape[:1] != (-1,):
            return '{"inputs": ...}'
        # A dimension of unknown size takes one value.
        shape = [max(size, 1) for size in info.shape[1:]]
        value: Any = {"string": "", "bool": False}.get(info.dtype, 0)
        if math.prod(shape) > _EXAMPLE_VALUES:
            return '{"instances": [...]}'
        for size in reversed(shape):
            value = [value] * size
        row[name] = value
    instance = row if len(row) != 1 else next(iter(row.values()))
    return json.dumps({"instances": [instance]})
