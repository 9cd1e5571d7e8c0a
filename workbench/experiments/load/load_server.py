"""Loads a server with its current settings: one point, measured in one window, and kept."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from workbench.client.server import ServerClient
from workbench.core.status import invalid_argument
from workbench.experiments.load.borrowed_settings import in_force
from workbench.experiments.load.measure import Where
from workbench.experiments.load.server_load import Payload, make_payload
from workbench.experiments.store.running import Running
from workbench.experiments.store.server_turns import WhenBusy
from workbench.experiments.store.store import keep_result
from workbench.experiments.sweep.certainty import Goal
from workbench.experiments.sweep.measuring import Measuring
from workbench.experiments.sweep.sweep_result import SweepResult
from workbench.experiments.sweep.time_budget import Trial
from workbench.load.arrivals import Kind, Schedule


def load_server(
    server: ServerClient,
    *,
    rate: float | None = None,
    clients: int | None = None,
    payload: Any = None,
    rows: int = 1,
    where: Where = "engine",
    arrivals: Kind = "poisson",
    seconds: float = 5.0,
    seed: int = 0,
    keep: bool = True,
    when_busy: WhenBusy = "refuse",
) -> SweepResult:
    """Load the server for `seconds`, without changing its settings.

    Args:
        rate, clients, payload, rows, where, arrivals, seed, keep, when_busy: as for `sweep`.

    Returns:
        A result with one point, of kind ``load`` in the store.

    Raises:
        ServingError: INVALID_ARGUMENT, not exactly one of `rate` and `clients`, or values that
            are not allowed; or the server's refusal.
        LoadError: the load generator failed.
    """
    if (rate is None) == (clients is None):
        raise invalid_argument("Give either rate (an open loop) or clients (a closed loop)")
    try:
        shape = Schedule(arrivals, 1.0 if rate is None else rate, seconds, seed)
    except ValueError as error:
        raise invalid_argument(str(error)) from error
    named = {"rate": shape.rate} if clients is None else {"clients": float(clients)}
    asked = make_payload(server, payload, rows=rows)
    with Running("load", server, False, False, when_busy):
        result = measure_point(server, asked, shape, named, where)
    return keep_load(result) if keep else result


def measure_point(
    server: ServerClient,
    payload: Payload,
    shape: Schedule,
    load: Mapping[str, float],
    where: Where,
) -> SweepResult:
    """Measure the server as it is set, in one window as long as the schedule.

    Args:
        load: ``{"rate": ...}``: by the schedule; or ``{"clients": ...}``: by a closed loop.

    Raises:
        ServingError, LoadError: as `Measuring.add_window`.
    """
    started, begun = time.time(), time.monotonic()
    measuring = Measuring(server, None, payload, where, shape, shape.seed)
    trial = Trial(in_force(server), load, shape.duration_s, shape.duration_s)
    measuring.add_window(trial)
    return SweepResult(
        model=server.model,
        version=measuring.version,
        where=where,
        arrivals="closed" if "clients" in load else shape.kind,
        seed=shape.seed,
        started_at=started,
        seconds=time.monotonic() - begun,
        predicted_seconds=shape.duration_s,
        interrupted=False,
        points=(measuring.point(trial, Goal()),),
        voids=tuple(measuring.voids),
    )


def keep_load(result: SweepResult) -> SweepResult:
    """Keep the result of a load; see `keep_result`."""
    about = f"{result.loop}, {result.where}: {result.points[0].verdict_text()}"
    return keep_result("load", result.model, result, about)
