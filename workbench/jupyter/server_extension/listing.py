"""The list of servers for the browser: plain data without secrets.

A server that was killed is listed as dead, and its models are remembered, so it can be started
again. A server that was stopped is gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workbench.client.control_answers import ModelDescription, error_text
from workbench.client.control_client import ControlClient
from workbench.client.publishing.saving import version_folders
from workbench.core.status import ServingError, not_found
from workbench.jupyter.server_extension.base_handler import ThreadPools
from workbench.jupyter.server_extension.route_answers import Model, Server, Version
from workbench.processes import registry

# Fields of the control plane's answer about a model that are not settings.
_NO_SETTINGS = ("versions", "waiting", "warnings", "held", "outages")
_SHORTEST_SECONDS = 0.5


@dataclass
class Known:
    """The last known state of a server.

    Attributes:
        reported: its last description.
        configs: its models' settings, as the control plane takes them.
        total, at: the requests that it had finished, and when (monotonic seconds).
        rate: requests per second, as last reported.
    """

    entry: registry.Entry
    reported: Server
    configs: list[dict[str, Any]]
    total: int = 0
    at: float = 0.0
    rate: float = 0.0


class Lister:
    """Polls this user's servers, and remembers them while this process lives.

    Args:
        timeout: seconds that a server has for each answer.
        is_given_up: whether no one will start that server's kernel again.
        on_look: called with all servers after each poll.
    """

    def __init__(
        self,
        pools: ThreadPools,
        timeout: float,
        is_given_up: Callable[[registry.Entry], bool],
        on_look: Callable[[list[Server]], None],
    ) -> None:
        self._pools = pools
        self._timeout = timeout
        self._is_given_up = is_given_up
        self._on_look = on_look
        self._known: dict[str, Known] = {}
        self._given_up: dict[str, registry.Entry] = {}

    async def look(self) -> list[Server]:
        """Poll all servers: running ones, oldest first, then dead ones."""
        before = list(self._known.items())
        entries = await self._pools.ask(registry.entries)
        reported = await asyncio.gather(
            *(self._pools.ask(describe, entry, self._timeout) for entry in entries)
        )
        for entry, (about, models) in zip(entries, reported, strict=True):
            self._remember(entry, about, models)
        alive = {entry.name for entry in entries}
        gone = {name: known for name, known in before if name not in alive}
        kept = await self._pools.ask(_kept, list(gone))
        killed = {each.entry.name: each for each in await self._pools.ask(registry.killed)}
        for name in killed.keys() - alive - gone.keys():
            # It was killed before this process saw it, or another process noticed first.
            gone[name] = self._known[name] = _known(killed[name])
        away = [
            self._away(name, known, name in kept, name in killed) for name, known in gone.items()
        ]
        listed = [about for about in away if about is not None]
        for about in listed:
            if about["state"] == "dead":
                configs = gone[about["name"]].configs
                about["cannot_restart"] = await self._pools.ask(obstacle, configs)
        servers = [about for about, _ in reported] + listed
        self._on_look(servers)
        return servers

    def killed(self, name: str) -> Known:
        """The last known state of a dead server.

        Raises:
            ServingError: NOT_FOUND, no server of that name is known to be dead.
        """
        noted = registry.read_killed(name)
        if name not in self._known and noted is not None:
            self._known[name] = _known(noted)
        if not self.is_dead(name):
            raise not_found(f"No server named {name!r} is known to have been killed")
        return self._known[name]

    def is_dead(self, name: str) -> bool:
        """Whether a server was killed, or Jupyter has given up on its kernel."""
        return name in self._given_up or registry.read_killed(name) is not None

    def forget(self, name: str) -> None:
        """Forget a server that was stopped, or a dead one that is no longer of interest."""
        self._known.pop(name, None)
        self._given_up.pop(name, None)
        registry.forget_killed(name)

    def _remember(
        self, entry: registry.Entry, about: Server, models: list[ModelDescription] | None
    ) -> None:
        known = self._known.get(entry.name)
        given_up = self._given_up.get(entry.name)
        if given_up is not None and given_up.supervisor != entry.supervisor:
            self._given_up.pop(entry.name, None)
            known = None
        if known is None:
            known = self._known[entry.name] = Known(entry, about, [])
        replaced = known.entry.server != entry.server
        known.entry, known.reported = entry, about
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

    def _away(self, name: str, known: Known, kept: bool, killed: bool) -> Server | None:
        """The description of a server without a supervisor; None if it was stopped."""
        given_up = kept and self._is_given_up(known.entry)
        if given_up:
            self._given_up[name] = known.entry
        models = [model["name"] for model in known.reported["models"]]
        if kept and not given_up:
            return _silent(known.entry, "unreachable", models)
        if killed or name in self._given_up:
            return _silent(known.entry, "dead", models)
        self.forget(name)
        return None


def _kept(names: list[str]) -> set[str]:
    return {name for name in names if registry.is_kept(name)}


def _known(killed: registry.Killed) -> Known:
    """The state of a server that was never polled while it lived."""
    models = [str(model["name"]) for model in killed.models]
    return Known(killed.entry, _silent(killed.entry, "dead", models), list(killed.models))


def _silent(
    entry: registry.Entry, state: Literal["unreachable", "dead"], models: Sequence[str] = ()
) -> Server:
    """A server that does not answer."""
    return {
        "name": entry.name,
        "url": entry.url,
        "kernel_id": entry.kernel_id,
        "state": state,
        "memory_bytes": None,
        "budget_bytes": None,
        "requests_per_second": 0.0,
        "models": [{"name": name, "versions": []} for name in models],
    }


def obstacle(configs: Sequence[Mapping[str, Any]]) -> str | None:
    """Why the models of a killed server cannot be served again, as a sentence; None if they can.
    Reads the disk."""
    if not configs:
        return "Its models are unknown."
    for config in configs:
        if not version_folders(Path(config["base_path"])):
            return f"The versions of {config['name']} in {config['base_path']} are gone."
    return None


def describe(entry: registry.Entry, timeout: float) -> tuple[Server, list[ModelDescription] | None]:
    """Describe a server, with its models as it reports them (None: no answer). Blocks for up to
    `timeout` seconds for each of three questions."""
    control = ControlClient(entry.name, timeout)
    try:
        models = control.describe_models()
        samples = control.memory()
        budget = control.describe_server()["budget"]
    except ServingError:
        return _silent(entry, "unreachable"), None
    private = {(s["model"], s["version"]): s["uss"] for s in samples}
    return {
        "name": entry.name,
        "url": entry.url,
        "kernel_id": entry.kernel_id,
        "state": "running",
        "memory_bytes": sum(sample["pss"] for sample in samples) or None,
        "budget_bytes": budget.get("host", {}).get("limit"),
        "requests_per_second": 0.0,
        "models": [_model(model, private) for model in models],
    }, models


def _model(model: ModelDescription, private: dict[tuple[str, int], int]) -> Model:
    name = model["name"]
    versions: list[Version] = [
        {
            "version": v["version"],
            "state": v["state"],
            "error": error_text(v["error"]),
            "memory_bytes": private.get((name, v["version"])),
        }
        for v in model["versions"]
    ]
    return {"name": name, "versions": versions}


def _finished(models: Sequence[ModelDescription]) -> int:
    requests = [v["requests"] for model in models for v in model["versions"] if "requests" in v]
    return sum(r["answered"] + r["failed"] for r in requests)
