"""The transition timeline, live: states, memory, requests and latencies on one axis."""

from __future__ import annotations

from workbench.client.server import Server
from workbench.widgets.live import LiveWidget

_FRAME_SECONDS = 0.1
NOTE = "latency from when the server accepted a request, a wait for a version included"


def timeline(server: Server) -> LiveWidget:
    """What happens to a model's versions, memory and traffic, as it happens.

    Drag to scrub back, Ctrl and the wheel (or + and -) to zoom, space to pause. What a caller
    waited before the server accepted a request is not in it: `record` measures that.

    Raises:
        ServingError: NOT_FOUND, the server has ended.
    """
    server.status()
    about = {"name": f"{server.model} on {server.name}", "note": NOTE}
    return LiveWidget(server.name, server.model, "timeline", about, interval_seconds=_FRAME_SECONDS)
