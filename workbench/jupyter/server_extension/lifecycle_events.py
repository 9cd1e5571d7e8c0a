"""Changes of servers and versions, as events of the Jupyter Server (`jupyter_events`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from workbench.jupyter.server_extension.route_answers import Server

SCHEMA_FILE = Path(__file__).parent / "schemas" / "lifecycle.yaml"
SCHEMA = "https://events.serving-workbench.org/lifecycle/v1"

Servers = Sequence[Server]


class Lifecycle:
    """Emits an event for each change between one look at all servers and the next.

    Args:
        events: the Jupyter Server's event logger, with the schema registered.
    """

    def __init__(self, events: Any) -> None:
        self._events = events
        self._before: Servers | None = None

    def tell(self, servers: Servers) -> None:
        """Emit the changes since the last call; the first call emits nothing."""
        before, self._before = self._before, servers
        if before is not None:
            for event in changes(before, servers):
                self._events.emit(schema_id=SCHEMA, data=event)


def changes(before: Servers, after: Servers) -> Iterator[dict[str, Any]]:
    """The changes between two looks, as events of the schema."""
    old = {server["name"]: server for server in before}
    new = {server["name"]: server for server in after}
    for name in old.keys() - new.keys():
        if old[name]["state"] != "dead":
            yield {"action": "server_ended", "server": name}
    for name, server in new.items():
        was = old.get(name)
        if server["state"] == "dead":
            if was is not None and was["state"] != "dead":
                yield {"action": "server_killed", "server": name}
            continue
        if was is None or was["state"] == "dead":
            yield {"action": "server_started", "server": name}
        if server["state"] == "running":
            known = _states(was) if was is not None and was["state"] == "running" else {}
            for (model, version), state in _states(server).items():
                if known.get((model, version)) != state:
                    yield {
                        "action": "version_changed",
                        "server": name,
                        "model": model,
                        "version": version,
                        "state": state[0],
                        "failed": state[1],
                    }


def _states(server: Server) -> dict[tuple[str, int], tuple[str, bool]]:
    return {
        (model["name"], v["version"]): (v["state"], v["error"] is not None)
        for model in server["models"]
        for v in model["versions"]
    }
