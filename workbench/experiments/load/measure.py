"""Measures one window of load at one setting, from inside the server or over the network.

A window during which the version, the settings or a process of the server changed measures neither
state: it is void. The server's event log shows each such change.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from workbench.client.server import ServerClient
from workbench.core.status import failed_precondition, not_found
from workbench.experiments.load.generator import Closed, LoadJob, LoadResult, run_load
from workbench.experiments.load.server_load import EngineResult, Payload, run_engine
from workbench.formats.wire.predict_message import METHOD, predict_request
from workbench.ipc import TENSORS
from workbench.load.arrivals import Schedule

Where = Literal["engine", "rest", "grpc"]

CONNECTIONS, TIMEOUT_SECONDS = 256, 10.0
"""Limits of a load over the network: requests in flight, and the time for each."""
_WARM_UP_SHARE, _WARM_UP_SECONDS = 0.1, 0.2
_BUSY = 0.95
"""Above this share of a CPU, the server's loop, which also sends an engine load, is the limit."""
_ON_ITS_WAY = ("START", "LOADING", "UNLOADING")
_LOOK_SECONDS = 0.05
_CHANGES = {
    "model_added": "the model was added",
    "model_changed": "the model's settings were changed",
    "model_removed": "the model was removed",
    "slots_changed": "num_batch_threads was changed",
    "staging": "version {version} was staged",
    "loading": "version {version} was loaded",
    "available": "version {version} became available",
    "quiescing": "version {version} was being unloaded",
    "unloaded": "version {version} was unloaded",
    "worker_exited": "the worker of version {version} ended",
}
"""The events that make a window void, in words."""


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
        batches: the server's counters over the window, as in its `BatchStatistics`, with
            `all_answered`, the requests of everybody that the version answered.
        version: the version that was measured.
        void: why the window says nothing; empty if it counts.
        first_error: the message of the first failure that was no full queue.
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
    version: int = 0
    void: str = ""
    first_error: str = ""

    @property
    def others(self) -> int:
        """Requests of others that the version answered meanwhile."""
        mine = self.sent - sum(self.failures.values())
        return max(0, int(self.batches.get("all_answered", mine)) - mine)


@dataclass(frozen=True)
class _Moment:
    """A server before a window: the version that answers, its counters, and the last event.

    Attributes:
        started: when the server process started, which counts events from 1 again.
    """

    started: float
    seq: int
    version: int
    counters: Mapping[str, Any]

    @classmethod
    def of(cls, server: ServerClient) -> _Moment:
        about = server.control.describe_server()
        versions = server.describe()["versions"]
        serving = [v for v in versions if v["state"] == "AVAILABLE" and "batches" in v]
        if not serving:
            raise not_found(
                f"No version of {server.model} is available: publish one, or wait for one"
            )
        now = serving[0]
        counters = {**now["batches"], "all_answered": now["requests"]["answered"]}
        return cls(about["started"], about["last_seq"], now["version"], counters)

    def change_until(self, server: ServerClient, later: _Moment) -> str:
        """What changed; empty if nothing did that matters."""
        if later.started != self.started:
            return "the server was started again"
        for event in server.control.events(self.seq)["events"]:
            mine = event.get("model") in (None, server.model)
            if mine and event["kind"] in _CHANGES:
                return _CHANGES[event["kind"]].format(version=event.get("version"))
        if later.version != self.version:
            return f"version {later.version} answers instead of version {self.version}"
        return ""


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
    before = _Moment.of(server)
    result: EngineResult | LoadResult
    if where == "engine":
        result, unit = run_engine(server, payload, load, seconds), 1e6
        answered, batch = result.done >= 0, result.batch
        failures, limited = Counter(result.failures), result.busy_share > _BUSY
    else:
        result, unit = run_load(load_job(server, payload, load, seconds, where)), 1.0
        answered, batch = result.succeeded, np.full(len(result.done), -1, np.int64)
        failures, limited = Counter(result.failures), result.limited
        for status in result.status[(result.status != 0) & (result.status != 200)].tolist():
            failures["rejected" if status == 503 else f"HTTP {status}"] += 1
    after = _Moment.of(server)
    warm_up = min(_WARM_UP_SHARE * seconds, _WARM_UP_SECONDS)
    kept = answered & (result.intended >= warm_up * unit)
    delays = (result.sent - result.intended)[~np.isnan(result.sent)]
    return Window(
        seconds=seconds,
        sent=len(result.intended),
        latency=(result.done - result.intended)[kept] / unit,
        batch=batch[kept],
        ended=result.done[kept] / unit,
        answered=int((answered & (result.done <= seconds * unit)).sum()),
        failures=failures,
        send_delay_p99=float(np.quantile(delays, 0.99)) / unit if len(delays) else 0.0,
        limited=limited,
        batches=_difference(before.counters, after.counters),
        version=before.version,
        void=before.change_until(server, after),
        first_error=result.first_error,
    )


def wait_until_settled(server: ServerClient, seconds: float) -> float:
    """Wait until no version of the model is on its way, at most so long: loading a version takes
    processor time from the one that is measured. Returns the seconds that it took."""
    begun = time.monotonic()
    while (waited := time.monotonic() - begun) < seconds:
        versions = server.describe()["versions"]
        if not any(v["state"] in _ON_ITS_WAY for v in versions):
            break
        time.sleep(_LOOK_SECONDS)
    return waited


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


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: Counter(value) - Counter(before.get(name, {}))
        if isinstance(value, Mapping)
        else value - before.get(name, 0)
        for name, value in after.items()
    }


def add_counters(windows: Sequence[Window]) -> dict[str, Any]:
    """The server's counters over all windows."""
    total: dict[str, Any] = {}
    for name, value in chain.from_iterable(window.batches.items() for window in windows):
        if isinstance(value, Mapping):
            total.setdefault(name, Counter()).update(value)
        else:
            total[name] = total.get(name, 0) + value
    return total
