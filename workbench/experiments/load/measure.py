"""Measures one window of load at one setting, from inside the server or over the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from workbench.client.server import ServerClient
from workbench.core.status import failed_precondition
from workbench.experiments.load.generator import Closed, LoadJob, run_load
from workbench.experiments.load.server_load import Payload, run_engine
from workbench.formats.wire.predict_message import METHOD, predict_request
from workbench.ipc import TENSORS
from workbench.load.arrivals import Schedule

Where = Literal["engine", "rest", "grpc"]

CONNECTIONS, TIMEOUT_SECONDS = 256, 10.0
"""Limits of a load over the network: requests in flight, and the time for each."""
_WARM_UP_SHARE, _WARM_UP_SECONDS = 0.1, 0.2
_BUSY = 0.95
"""Above this share of a CPU, the server's loop, which also sends an engine load, is the limit."""


@dataclass(frozen=True, eq=False)
class Window:
    """The measurements of one window of load.

    Attributes:
        seconds: of sending.
        sent: requests that were due.
        latency: shape (n,), seconds from the intended time to the answer, of answered requests
            after the warm-up.
        batch: shape (n,), the number of the batch that answered them; -1 where unknown.
        ended: shape (n,), seconds from the start at which they were answered.
        answered: requests answered before the sending ended, warm-up included.
        failures: by reason; ``rejected``: the queue was full.
        send_delay_p99: the 99th percentile of seconds by which requests were sent late.
        limited: whether the load generator was the limit.
        batches: the server's counters over the window, as in its `BatchStatistics`.
    """

    seconds: float
    sent: int
    latency: NDArray[np.float64] = field(repr=False)
    batch: NDArray[np.int64] = field(repr=False)
    ended: NDArray[np.float64] = field(repr=False)
    answered: int
    failures: Mapping[str, int]
    send_delay_p99: float
    limited: bool
    batches: Mapping[str, Any] = field(repr=False)


def measure(
    server: ServerClient,
    payload: Payload,
    load: Schedule | int,
    seconds: float,
    where: Where,
) -> Window:
    """Load the server for `seconds`, by a schedule or by a number of clients in a closed loop.

    Raises:
        ServingError, LoadError: the load could not be sent.
    """
    before = _counters(server)
    if where == "engine":
        window = _engine(server, payload, load, seconds)
    else:
        window = _network(server, payload, load, seconds, where)
    counted = _difference(before, _counters(server))
    return Window(**{**window, "batches": counted})


def _engine(
    server: ServerClient, payload: Payload, load: Schedule | int, seconds: float
) -> dict[str, Any]:
    result = run_engine(server, payload, load, seconds)
    warm = _warm_up(seconds) * 1e6
    answered = result.done >= 0
    kept = answered & (result.intended >= warm)
    latency = (result.done - result.intended)[kept] / 1e6
    late = float(np.quantile(result.sent - result.intended, 0.99)) / 1e6 if len(kept) else 0.0
    return {
        "seconds": seconds,
        "sent": len(result.intended),
        "latency": latency,
        "batch": result.batch[kept],
        "ended": result.done[kept] / 1e6,
        "answered": int((answered & (result.done <= seconds * 1e6)).sum()),
        "failures": result.failures,
        "send_delay_p99": late,
        "limited": result.busy_share > _BUSY,
    }


def _network(
    server: ServerClient, payload: Payload, load: Schedule | int, seconds: float, where: Where
) -> dict[str, Any]:
    result = run_load(load_job(server, payload, load, seconds, where))
    kept = result.succeeded & (result.intended >= _warm_up(seconds))
    failures = dict(result.failures)
    for status in np.unique(result.status).tolist():
        if status not in (0, 200):
            reason = "rejected" if status == 503 else f"HTTP {status}"
            failures[reason] = failures.get(reason, 0) + int((result.status == status).sum())
    sent = ~np.isnan(result.sent)
    delays = (result.sent - result.intended)[sent]
    return {
        "seconds": seconds,
        "sent": len(result.intended),
        "latency": result.latency[kept],
        "batch": np.full(int(kept.sum()), -1, np.int64),
        "ended": result.done[kept],
        "answered": int((result.succeeded & (result.done <= seconds)).sum()),
        "failures": failures,
        "send_delay_p99": float(np.quantile(delays, 0.99)) if len(delays) else 0.0,
        "limited": result.limited,
    }


def load_job(
    server: ServerClient, payload: Payload, load: Schedule | int, seconds: float, where: Where
) -> LoadJob:
    """The requests of a load over the network.

    Raises:
        ServingError: FAILED_PRECONDITION, the server does not offer gRPC.
    """
    schedule = Closed(load, seconds) if isinstance(load, int) else load
    if where == "rest":
        job = rest_job(server, payload.encoded(), TENSORS, schedule, CONNECTIONS)
        return replace(job, timeout_s=TIMEOUT_SECONDS)
    entry = server.control.entry()
    if entry.grpc_port is None:
        raise failed_precondition(
            f"{server.name} does not offer gRPC: serve it with a grpc_port, or measure with "
            "where='rest'"
        )
    return LoadJob(
        address=(entry.host, entry.grpc_port),
        target=METHOD,
        bodies=[predict_request(server.model, payload.signature, i) for i in payload.inputs],
        schedule=schedule,
        headers=_authorization(entry.token),
        connections=CONNECTIONS,
        timeout_s=TIMEOUT_SECONDS,
        protocol="grpc",
    )


def rest_job(
    server: ServerClient,
    bodies: Sequence[bytes],
    content_type: str,
    schedule: Schedule | Closed,
    connections: int,
) -> LoadJob:
    """Predict requests to the server's model over REST, with the server's token."""
    entry = server.control.entry()
    return LoadJob(
        address=(entry.host, entry.port),
        target=f"/v1/models/{quote(server.model, safe='')}:predict",
        bodies=bodies,
        schedule=schedule,
        headers={**_authorization(entry.token), "Content-Type": content_type},
        connections=connections,
    )


def _authorization(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def _warm_up(seconds: float) -> float:
    return min(_WARM_UP_SHARE * seconds, _WARM_UP_SECONDS)


def _counters(server: ServerClient) -> dict[str, Any]:
    """The counters of the version that serves now."""
    versions = server.describe()["versions"]
    serving = [v for v in versions if v["state"] == "AVAILABLE" and "batches" in v]
    return dict(serving[0]["batches"]) if serving else {}


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in after.items():
        if isinstance(value, Mapping):
            old = before.get(name, {})
            found[name] = {k: n - old.get(k, 0) for k, n in value.items() if n > old.get(k, 0)}
        else:
            found[name] = value - before.get(name, 0)
    return found


def add_counters(windows: list[Window]) -> dict[str, Any]:
    """The server's counters over all windows."""
    total: dict[str, Any] = {}
    for window in windows:
        for name, value in window.batches.items():
            if isinstance(value, Mapping):
                sums = total.setdefault(name, {})
                for key, count in value.items():
                    sums[key] = sums.get(key, 0) + count
            else:
                total[name] = total.get(name, 0) + value
    return total
