"""Remembers which servers a balancer had, what they served, and the requests that it sent them.

A server that died can be asked nothing any more. Its balancers have seen it, so a timeline of the
fleet can show when it came, what it served and when it went.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workbench.deploy.balancer.haproxy_socket import ServerStatistics

_SERVERS, _ROWS, _CHANGES = 200, 12_000, 100
"""The most servers, rows of requests, and changes of one server that are kept."""


class ServerHistory:
    """A bounded memory; `saw` and `counted` take the time in seconds since the epoch, and may be
    called from another thread than `to_json`.

    Args:
        rows: the most rows of requests that are kept, of all servers together.
    """

    def __init__(self, rows: int = _ROWS) -> None:
        self._lock = threading.Lock()
        self._servers: dict[str, dict[str, Any]] = {}
        self._rows: deque[tuple[str, float, float, int, int]] = deque(maxlen=rows)
        self._totals: dict[str, tuple[int, int]] = {}
        self._counted_at: float | None = None

    def saw(self, wall: float, found: Iterable[Mapping[str, Any]]) -> None:
        """These servers have reported, each with `server`, `node`, `began` and `serves`: its
        versions by model."""
        with self._lock:
            for report in found:
                name = report["server"]
                # The one that was seen last stands last, so that the first is the oldest.
                about = self._servers.pop(name, None)
                if about is None:
                    about = {"server": name, "node": report["node"], "began": report["began"]}
                    about["serves"] = []
                self._servers[name] = about
                about["seen"] = wall
                _note_change(about["serves"], wall, report.get("serves", {}))
            while len(self._servers) > _SERVERS:
                del self._servers[next(iter(self._servers))]

    def counted(self, wall: float, statistics: Mapping[str, Sequence[ServerStatistics]]) -> None:
        """HAProxy has counted so much, by the name of the server. The counts only grow, and a place
        that gets another server goes on from where it was."""
        with self._lock:
            before, since = self._totals, self._counted_at
            self._totals, self._counted_at = {}, wall
            for name, backends in statistics.items():
                requests = sum(each.requests for each in backends)
                failed = sum(each.failed for each in backends)
                self._totals[name] = requests, failed
                if since is None or name not in before:
                    continue
                sent, lost = requests - before[name][0], failed - before[name][1]
                if sent > 0 or lost > 0:
                    self._rows.append((name, since, wall, sent, lost))

    def to_json(self) -> dict[str, Any]:
        """As plain data.

        Returns:
            `servers`: for each, `server`, `node`, `began` and `seen`, when it reported last, and
            `serves`, the changes of its versions, each with its time. `requests`: rows of server,
            from, to, requests, failed ones; a time without a row had none.
        """
        with self._lock:
            return {
                "servers": [
                    {**about, "serves": list(about["serves"])} for about in self._servers.values()
                ],
                "requests": [
                    (name, round(since, 2), round(until, 2), *counts)
                    for name, since, until, *counts in self._rows
                ],
            }


def _note_change(changes: list[Any], wall: float, now: Any) -> None:
    if not changes or changes[-1][1] != now:
        changes.append([wall, now])
        del changes[:-_CHANGES]
