"""The transition timeline, live: states, memory, requests and latencies on one axis."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from workbench.client.server import ServerClient
from workbench.widgets.base.durable import Durable, Lasting, lasting
from workbench.widgets.base.live import LiveWidget, view
from workbench.widgets.timeline.timeline_figure import frame_of, plot_timeline, text_of, title_of

if TYPE_CHECKING:
    import pandas as pd

    from workbench.experiments.figure import Picture

_FRAME_SECONDS = 0.1
_SETTLED_SECONDS = 3.0
NOTE = "latency from when the server accepted a request, a wait for a version included"


class TimelineWidget(Durable, LiveWidget):
    """The timeline of a server's model; see `Server.timeline`. After each change of version, the
    lasting output is updated."""

    face = view("timeline")

    def __init__(self, server: ServerClient) -> None:
        server.status()
        self._name = f"{server.model} on {server.name}"
        self._changed = math.inf
        about = {"name": self._name, "note": NOTE}
        super().__init__(server.name, server.model, about, interval_seconds=_FRAME_SECONDS)

    def news(self, marks: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """As in `LiveWidget`; also updates the lasting output after a change of version."""
        message, known = super().news(marks)
        if any(event["kind"] == "state" for event in message["pulse"]["events"]):
            self._changed = time.monotonic()
        if self._output is not None and time.monotonic() - self._changed > _SETTLED_SECONDS:
            self._changed = math.inf
            self._renew()
        return message, known

    @property
    def frame(self) -> pd.DataFrame:
        """The last change of version until now: a row a version."""
        return frame_of(self._history())

    def plot(self) -> Picture:
        """The last change of version until now."""
        news = self._history()
        return plot_timeline(news, title_of(self._name, news))

    def lasting(self) -> Lasting:
        """Its contents for a notebook without the kernel."""
        news = self._history()
        title = title_of(self._name, news)
        return lasting(title, text_of(news, title), frame_of(news), plot_timeline(news, title))

    def _history(self) -> dict[str, Any]:
        message, _ = super().news({})
        news: dict[str, Any] = message["pulse"]
        return news

    def __str__(self) -> str:
        news = self._history()
        return text_of(news, title_of(self._name, news))
