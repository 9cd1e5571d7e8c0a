"""Records the traffic of a running server: when requests come and how large they are."""

from __future__ import annotations

import time

import numpy as np

from workbench.client.control_answers import RecordedTraffic
from workbench.client.server import ServerClient
from workbench.core.status import failed_precondition
from workbench.experiments.store.running import Running
from workbench.experiments.store.store import keep_result
from workbench.experiments.traffic.recorded_traffic import Traffic
from workbench.load.packed_numbers import unpack_numbers

_POLL_SECONDS = 0.2


def record_traffic(
    server: ServerClient, *, seconds: float = 60.0, keep: bool = True, progress: bool = True
) -> Traffic:
    """Records when requests come and how large they are; see `Server.record_traffic`."""
    control, model = server.control, server.model
    with Running("traffic", server, keep, progress, when_busy=None) as running:
        number = control.record_traffic(model, seconds)["number"]
        try:
            running.say(f"Recording the traffic of {model} for {seconds:g} s")
            while not (about := control.traffic(model, number))["ended"]:
                left = max(seconds - about["seconds"], 0.0)
                running.tell(f"{about['recorded']} requests", about["seconds"] / seconds, left)
                time.sleep(min(_POLL_SECONDS, left))
        except KeyboardInterrupt:
            running.say("Interrupted: what was recorded so far is kept")
        found = control.finish_traffic(model, number)
        if found["full"]:
            running.say(
                f"The recording ended after {found['seconds']:.0f} s: it holds at most "
                f"{found['recorded']} requests"
            )
    if not found["recorded"]:
        raise failed_precondition(
            f"No request came to {model} within {found['seconds']:.1f} s, so there is no traffic "
            "to keep: record for longer, or while the server is in use"
        )
    traffic = to_traffic(found, model)
    return keep_result("traffic", model, traffic, str(traffic)) if keep else traffic


def to_traffic(found: RecordedTraffic, model: str) -> Traffic:
    """The traffic that a server has recorded; raises INVALID_ARGUMENT if there is none."""
    at, rows, sizes = (
        unpack_numbers(text, np.int64) for text in (found["at"], found["rows"], found["bytes"])
    )
    return Traffic(at / 1e6, rows, sizes, found["seconds"], model, found["started_at"])
