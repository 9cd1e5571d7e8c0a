"""Loads a server with its current settings: one point, measured in one window, and kept."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from workbench.client.server import ServerClient
from workbench.core.status import invalid_argument
from workbench.experiments.load.borrowed_settings import in_force
from workbench.experiments.load.measure import Where, measure
from workbench.experiments.load.server_load import Payload, make_payload
from workbench.experiments.store.store import keep_result
from workbench.experiments.sweep.point import summarize
from workbench.experiments.sweep.sweep import worker_memory
from workbench.experiments.sweep.sweep_result import SweepResult
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
) -> SweepResult:
    """Load the server for `seconds`, without changing its settings.

    Args:
        rate, clients, payload, rows, where, arrivals, seed, keep: as for `sweep`.

    Returns:
        A result with one point, of kind ``load`` in the store.

    Raises:
        ServingError: INVALID_ARGUMENT, not exactly one of `rate` and `clients`, or values that
            are not allowed; or the server's refusal.
        LoadError: the load generator failed.
    """
    if (rate is None) == (clients is None):
        raise invalid_argument("Give either rate (an open loop) or clients (a closed loop)")
    load: Schedule | int
    named: dict[str, float]
    if rate is not None:
        try:
            load = Schedule(arrivals, rate, seconds, seed)
        except ValueError as error:
            raise invalid_argument(str(error)) from error
        named = {"rate": rate}
    else:
        assert clients is not None
        load, named = clients, {"clients": clients}
    asked = make_payload(server, payload, rows=rows)
    result = measure_point(server, asked, load, named, seconds, where, seed)
    return keep_load(result) if keep else result


def measure_point(
    server: ServerClient,
    payload: Payload,
    load: Schedule | int,
    named: Mapping[str, float],
    seconds: float,
    where: Where,
    seed: int = 0,
) -> SweepResult:
    """Measure the server as it is set, in one window.

    Args:
        load: the schedule, or the number of clients; `named`: the same for a point of a result.

    Raises:
        ServingError, LoadError: the load could not be sent.
    """
    version = max(server.versions.available)
    started, begun = time.time(), time.monotonic()
    window = measure(server, payload, load, seconds, where)
    memory = worker_memory(server, version)
    return SweepResult(
        model=server.model,
        version=version,
        where=where,
        arrivals="closed" if isinstance(load, int) else load.kind,
        seed=seed,
        started_at=started,
        seconds=time.monotonic() - begun,
        predicted_seconds=seconds,
        interrupted=False,
        points=(summarize(in_force(server), named, payload.rows, [window], memory),),
    )


def keep_load(result: SweepResult) -> SweepResult:
    """Keep the result of a load; see `keep_result`."""
    about = f"{result.loop}, {result.where}: {result.points[0].verdict}"
    return keep_result("load", result.model, result, about)
