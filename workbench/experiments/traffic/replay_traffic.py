"""Sends recorded traffic again: with its own times and sizes, at any speed, at any setting."""

from __future__ import annotations

from typing import Any

from workbench.client.server import ServerClient
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import invalid_argument
from workbench.experiments.load.borrowed_settings import kept_settings
from workbench.experiments.load.load_server import keep_load, measure_point
from workbench.experiments.load.measure import Where
from workbench.experiments.load.server_load import make_payload
from workbench.experiments.store.running import Running
from workbench.experiments.store.server_turns import WhenBusy
from workbench.experiments.sweep.sweep_result import SweepResult
from workbench.experiments.traffic.recorded_traffic import Traffic


def replay(
    server: ServerClient,
    traffic: Traffic,
    *,
    speed: float = 1.0,
    batching: BatchingParameters | None = None,
    where: Where = "engine",
    payload: Any = None,
    keep: bool = True,
    progress: bool = True,
    when_busy: WhenBusy = "refuse",
) -> SweepResult:
    """Measures the server with recorded traffic; see `Server.replay`."""
    asked = make_payload(server, payload, sizes=traffic.rows)
    schedule = traffic.schedule(asked.order, speed)
    with (
        Running("load", server, keep, progress, when_busy) as running,
        kept_settings(server) as borrowed,
    ):
        if batching is not None:
            borrowed.use(batching)
        check_sizes(traffic, server.batching)
        text = f"Replaying {len(traffic)} requests, {where}: {schedule.duration_s:.1f} s"
        running.say(text)
        running.tell(text)
        named = {"rate": schedule.rate, "speed": speed}
        result = measure_point(server, asked, schedule, named, where)
    return keep_load(result) if keep else result


def check_sizes(traffic: Traffic, batching: BatchingParameters | None) -> None:
    """Raise INVALID_ARGUMENT if these parameters refuse the largest requests. With automatic
    batching (None) no request is too large."""
    if batching is None:
        return
    larger = int((traffic.rows > batching.max_batch_size).sum())
    if larger:
        raise invalid_argument(
            f"The server would refuse {larger} of {len(traffic)} requests, which have more rows "
            f"than max_batch_size {batching.max_batch_size}: raise it to {traffic.rows.max()} or "
            "more"
        )
