"""What the browser is told of the running servers: plain data, and nothing that is secret."""

from __future__ import annotations

from typing import Any

from workbench.client.control import ControlClient
from workbench.core.status import ServingError
from workbench.runtime import registry


def describe(entry: registry.Entry, timeout: float) -> dict[str, Any]:
    """A server as plain data. Blocks for up to `timeout` seconds a question (there are two).

    Returns:
        `name`; `url`, the data plane's address; `state`, ``running`` or ``unreachable`` (its
        server process does not answer just now); `memory_bytes` of all its processes (PSS),
        None where it cannot be known; and `models`, each with its `name` and `versions`, highest
        first: `version`, `state`, `error` in words or None, `memory_bytes` (USS) or None.
    """
    data: dict[str, Any] = {"name": entry.name, "url": entry.url}
    control = ControlClient(entry.name)
    try:
        models = control.request("GET", "/models", timeout=timeout)["models"]
        samples = control.request("GET", "/memory", timeout=timeout)["samples"]
    except ServingError:
        return {**data, "state": "unreachable", "memory_bytes": None, "models": []}
    private = {(s["model"], s["version"]): s["uss"] for s in samples}
    return {
        **data,
        "state": "running",
        "memory_bytes": sum(sample["pss"] for sample in samples) or None,
        "models": [_model(model, private) for model in models],
    }


def _model(model: dict[str, Any], private: dict[tuple[str, int], int]) -> dict[str, Any]:
    name = model["name"]
    versions = [
        {
            "version": v["version"],
            "state": v["state"],
            "error": None
            if v["error"] is None
            else f"{v['error']['code']}: {v['error']['message']}",
            "memory_bytes": private.get((name, v["version"])),
        }
        for v in model["versions"]
    ]
    return {"name": name, "versions": versions}
