"""News of a model for a live view, which asks for them repeatedly (`ControlClient.pulse`).

Each request carries the marks of the answer before, and so gets only what is new.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BACKLOG_SECONDS = 600.0
_BACKLOG_EVENTS = 2000

FIRST: Mapping[str, float] = {"events": 0, "memory": 0, "traffic": 0}
"""The marks of a new view: it gets everything that the server remembers."""


def marks_of(news: Mapping[str, Any]) -> dict[str, float]:
    """The marks for the next request, which gets what has happened since `news`."""
    return {"events": news["seq"], "memory": news["now"], "traffic": news["now"]}


def backlog(news: Mapping[str, Any]) -> dict[str, Any]:
    """The part of all news that a new view needs: the last minutes, and the earlier states that
    still hold."""
    since = news["now"] - BACKLOG_SECONDS
    last: dict[Any, Any] = {}
    for event in news["events"]:
        if event["kind"] == "state" and event["monotonic"] <= since:
            last[event.get("version")] = event
    recent = [e for e in news["events"] if e["monotonic"] > since][-_BACKLOG_EVENTS:]
    standing = [e for e in last.values() if e["data"]["state"] != "END"]
    memory = [s for s in news["memory"] if s[0] > since]
    return {**news, "events": standing + recent, "memory": memory}
