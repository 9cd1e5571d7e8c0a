"""What the browser is told of the servers: plain data, and nothing that is secret.

A server that was killed is told of as dead, and what it served is remembered, so that it can be
started again. One that has ended in order is gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.client.control import ControlClient
from workbench.core.status import ServingError, not_found
from workbench.runtime import registry
from workbench.server_extension.handler import Rooms

# What `ModelConfig` does not take of what the control plane tells of a model.
_NO_SETTINGS = ("versions", "waiting", "warnings", "held")
_SHORTEST_SECONDS = 0.5


@dataclass
class Known:
    """What was last seen of a server.

    Attributes:
        configs: its models' settings, as the control plane takes them.
        total, at: requests it had finished, and when that was (monotonic seconds).
        rate: requests a second, as last told.
    """

    entry: registry.Entry
    told: dict[str, Any]
    configs: list[dict[str, Any]]
    total: int = 0
    at: float = 0.0
    rate: float = 0.0


class Lister:
    """Looks at this user's servers, and remembers them while this process lives.

    Args:
        timeout: seconds that a server has for each answer.
        is_given_up: whether Jupyter has given up starting the kernel of that id again.
        on_look: told of all servers whenever they have been looked at.
    """

    def __init__(
        self,
        rooms: Rooms,
        timeout: float,
        is_given_up: Callable[[str], bool],
        on_look: Callable[[list[dict[str, Any]]], None],
    ) -> None:
        self._rooms = rooms
        self._timeout = timeout
        self._is_given_up = is_given_up
        self._on_look = on_look
        self._known: dict[str, Known] = {}
        self._killed: dict[str, registry.Entry] = {}
        self._end = registry.on_killed(self._on_killed)

    async def look(self) -> list[dict[str, Any]]:
        """All servers, oldest first, then those that are dead; see `describe`."""
        told = await self._look()
        self._on_look(told)
        return told

    async def _look(self) -> list[dict[str, Any]]:
        before = list(self._known.items())
        entries = await self._rooms.ask(registry.entries)
        told = await asyncio.gather(
            *(self._rooms.ask(describe, entry, self._timeout) for entry in entries)
        )
        for entry, (about, models) in zip(entries, told, strict=True):
            self._remember(entry, about, models)
        alive = {entry.name for entry in entries}
        gone = [(name, known) for name, known in before if name not in alive]
        kept = await self._rooms.ask(_kept, [name for name, _ in gone])
        away = [self._away(name, known, name in kept) for name, known in gone]
        return [about for about, _ in told] + [about for about in away if about is not None]

    def killed(self, name: str) -> Known:
        """What is known of a dead server.

        Raises:
            ServingError: NOT_FOUND, no server of that name is known to be dead.
        """
        if not self.is_dead(name):
            raise not_found(f"No server named {name!r} is known to have been killed")
        return self._known[name]

    def is_dead(self, name: str) -> bool:
        return name in self._killed and name in self._known

    def forget(self, name: str) -> None:
        """It has been ended on purpose, or nobody wants to hear of it any more."""
        self._known.pop(name, None)
        self._killed.pop(name, None)

    def close(self) -> None:
        self._end()

    def _on_killed(self, entry: registry.Entry) -> None:
        # In whichever thread has found it; a dictionary takes that.
        self._killed[entry.name] = entry

    def _remember(
        self, entry: registry.Entry, about: dict[str, Any], models: list[dict[str, Any]] | None
    ) -> None:
        known = self._known.get(entry.name)
        killed = self._killed.get(entry.name)
        if killed is not None and killed.supervisor != entry.supervisor:
            self._killed.pop(entry.name, None)
            known = None
        if known is None:
            known = self._known[entry.name] = Known(entry, about, [])
        replaced = known.entry.server != entry.server
        known.entry, known.told = entry, about
        if models is None:
            return
        known.configs = [
            {key: value for key, value in model.items() if key not in _NO_SETTINGS}
            for model in models
        ]
        now, total = time.monotonic(), _finished(models)
        if replaced or total < known.total or known.at == 0:
            known.rate = 0.0
        elif now - known.at < _SHORTEST_SECONDS:
            # Two pages that look at the same moment see the same rate.
            about["requests_per_second"] = known.rate
            return
        else:
            known.rate = float(f"{(total - known.total) / (now - known.at):.3g}")
        known.total, known.at = total, now
        about["requests_per_second"] = known.rate

    def _away(self, name: str, known: Known, kept: bool) -> dict[str, Any] | None:
        """What is told of a server that is not looked after; None where it has ended in order."""
        kernel = known.entry.kernel_id
        if kept and kernel is not None and self._is_given_up(kernel):
            self._killed[name] = known.entry
        elif kept:
            return {**_away_from(known.told), "state": "unreachable"}
        if name in self._killed:
            return {**_away_from(known.told), "state": "dead"}
        self.forget(name)
        return None


def _kept(names: list[str]) -> set[str]:
    return {name for name in names if registry.is_kept(name)}


def _away_from(told: Mapping[str, Any]) -> dict[str, Any]:
    models = [{"name": model["name"], "versions": []} for model in told["models"]]
    return {
        "name": told["name"],
        "url": told["url"],
        "kernel_id": told["kernel_id"],
        "memory_bytes": None,
        "budget_bytes": None,
        "requests_per_second": 0.0,
        "models": models,
    }


def describe(
    entry: registry.Entry, timeout: float
) -> tuple[dict[str, Any], list[dict[str, Any]] | None]:
    """A server as plain data, and its models as it tells them itself (None: it tells nothing).
    Blocks for up to `timeout` seconds a question (there are three).

    Returns:
        `name`; `url`, the data plane's address; `kernel_id` of the Jupyter kernel that supervises
        it, or None; `state`, ``running`` or ``unreachable`` (its server process does not answer
        just now; in a list also ``dead``); `memory_bytes` of all its processes (PSS) and
        `budget_bytes`, what its versions may have of the host together, None where they cannot be
        known; `requests_per_second` since it was looked at before; and `models`, each with its
        `name` and `versions`, highest first: `version`, `state`, `error` in words or None,
        `memory_bytes` (USS) or None.
    """
    data: dict[str, Any] = {
        "name": entry.name,
        "url": entry.url,
        "kernel_id": entry.kernel_id,
        "requests_per_second": 0.0,
    }
    control = ControlClient(entry.name)
    try:
        models = control.request("GET", "/models", timeout=timeout)["models"]
        samples = control.request("GET", "/memory", timeout=timeout)["samples"]
        budget = control.request("GET", "/server", timeout=timeout)["budget"]
    except ServingError:
        nothing: dict[str, Any] = {"memory_bytes": None, "budget_bytes": None, "models": []}
        return {**data, "state": "unreachable", **nothing}, None
    private = {(s["model"], s["version"]): s["uss"] for s in samples}
    return {
        **data,
        "state": "running",
        "memory_bytes": sum(sample["pss"] for sample in samples) or None,
        "budget_bytes": budget.get("host", {}).get("limit"),
        "models": [_model(model, private) for model in models],
    }, models


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


def _finished(models: list[dict[str, Any]]) -> int:
    requests = [v["requests"] for model in models for v in model["versions"] if "requests" in v]
    return sum(r["answered"] + r["failed"] for r in requests)
