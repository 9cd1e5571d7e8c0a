"""Measures batching settings under load, with intervals and the reasons for each result.

Each point is measured in windows until the interval of its 99th percentile is narrow enough, or its
time is up; the interval stays valid however often it is checked. The points are measured in random
order, so that a machine that warms up or slows down does not favour one setting.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from workbench.client.server import ServerClient
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import ServingError, invalid_argument
from workbench.experiments.load.borrowed_settings import kept_settings
from workbench.experiments.load.generator import LoadError
from workbench.experiments.load.measure import Where, Window, measure
from workbench.experiments.load.server_load import Payload, make_payload
from workbench.experiments.store.running import Running
from workbench.experiments.store.store import keep_result
from workbench.experiments.sweep.point import Point, latency_intervals, summarize
from workbench.experiments.sweep.sweep_result import SweepResult
from workbench.load.arrivals import Kind, Schedule

WINDOW_SECONDS = {"engine": 0.5, "rest": 1.0, "grpc": 1.0}
OVERHEAD_SECONDS = {"engine": 0.15, "rest": 0.7, "grpc": 0.9}
"""Seconds of a window beside its load: the setting, the result, and the generator's start."""

_CONTINUOUS = ("bursty", "ramp")
"""Arrivals that change over time, so a point must be measured in one window."""

_Plan = tuple[BatchingParameters, dict[str, float]]
"""The setting and the load of one point to measure."""


@dataclass
class _Sweep:
    """The options that all points share, see `Server.sweep`, and the points so far.

    Attributes:
        shape: the schedule of an open loop, of which rate, duration and seed are ignored.
        on_load: called before a point's first window and after each, with the point's number and
            its seconds of load so far.
        failure: the error that ended the sweep early.
    """

    server: ServerClient
    version: int
    payload: Payload
    where: Where
    shape: Schedule
    precision: float
    seconds: float
    window_seconds: float
    seed: int
    on_load: Callable[[int, float], None]
    points: list[Point] = field(default_factory=list)
    interrupted: bool = False
    failure: str | None = None

    def measure_all(self, plans: Sequence[_Plan], on_point: Callable[[Point], None] | None) -> None:
        """Measure one point after another, until an interruption or a failure.

        Raises:
            ServingError, LoadError: the first point failed.
        """
        try:
            for parameters, load in plans:
                self.points.append(self._measure(parameters, load))
                if on_point is not None:
                    on_point(self.points[-1])
        except KeyboardInterrupt:
            self.interrupted = True
        except (ServingError, LoadError) as error:
            if not self.points:
                raise
            self.failure = str(error)

    def _measure(self, parameters: BatchingParameters, load: Mapping[str, float]) -> Point:
        """Measure windows until the point is certain enough or its time is up."""
        number, loaded, each = len(self.points), 0.0, self.window_seconds
        self.on_load(number, loaded)
        self.server.batching = parameters
        windows: list[Window] = []
        while loaded + each <= self.seconds + 1e-9 and not self._certain(windows):
            arrivals: Schedule | int
            if "clients" in load:
                arrivals = int(load["clients"])
            else:
                arrivals = replace(
                    self.shape,
                    rate=load["rate"],
                    duration_s=each,
                    seed=self.seed * 1000 + len(windows),
                )
            windows.append(measure(self.server, self.payload, arrivals, each, self.where))
            loaded += windows[-1].seconds
            self.on_load(number, loaded)
        memory = worker_memory(self.server, self.version)
        return summarize(parameters, load, self.payload.rows, windows, memory)

    def _certain(self, windows: list[Window]) -> bool:
        found = latency_intervals(windows, "p99") if windows else {}
        return "p99" in found and found["p99"].relative_width <= self.precision


def sweep(
    server: ServerClient,
    *,
    batch_timeout_micros: Sequence[int] | int | None = None,
    max_batch_size: Sequence[int] | int | None = None,
    num_batch_threads: Sequence[int] | int | None = None,
    rate: Sequence[float] | float | None = None,
    clients: Sequence[int] | int | None = None,
    payload: Any = None,
    rows: int = 1,
    where: Where = "engine",
    arrivals: Kind | Schedule = "poisson",
    precision: float = 0.2,
    seconds: float = 2.0,
    seed: int = 0,
    base: BatchingParameters | None = None,
    keep: bool = True,
    progress: bool = True,
    on_point: Callable[[Point], None] | None = None,
    on_window: Callable[[int, float], None] | None = None,
) -> SweepResult:
    """Measures every combination of settings and loads; see `Server.sweep`."""
    if (rate is None) == (clients is None):
        raise invalid_argument("Give either rate (an open loop) or clients (a closed loop)")
    if where not in WINDOW_SECONDS:
        raise invalid_argument(f"where must be 'engine', 'rest' or 'grpc'; was {where!r}")
    shape = _shape(arrivals)
    each = seconds if shape.kind in _CONTINUOUS else min(WINDOW_SECONDS[where], seconds)
    payload = make_payload(server, payload, rows=rows)
    version = max(server.versions.available)
    started = time.time()
    with Running("sweep", server, keep, progress) as running, kept_settings(server) as before:
        settings = _settings(
            base or before,
            before.num_batch_threads,
            _listed(batch_timeout_micros),
            _listed(max_batch_size),
            _listed(num_batch_threads),
        )
        loads = [{"rate": r} for r in _listed(rate)] or [{"clients": c} for c in _listed(clients)]
        plans: list[_Plan] = list(product(settings, loads))
        random.Random(seed).shuffle(plans)
        most = predicted_seconds(len(plans), seconds, where, each)
        running.say(f"Measuring {len(plans)} points, {where}: {most:.0f} s at most")
        begun = time.monotonic()

        def on_load(number: int, loaded: float) -> None:
            share = (number + min(1.0, loaded / seconds)) / len(plans)
            left = most * (1 - share)
            running.tell(f"point {number + 1} of {len(plans)}, {left:.0f} s left at most", share)
            if on_window is not None and loaded:
                on_window(number, loaded)

        found = _Sweep(
            server, version, payload, where, shape, precision, seconds, each, seed, on_load
        )
        found.measure_all(plans, on_point)
        if found.interrupted or found.failure:
            ended = found.failure or "Interrupted"
            running.say(f"{ended}: {len(found.points)} of {len(plans)} points were measured")
    result = SweepResult(
        model=server.model,
        version=version,
        where=where,
        arrivals=shape.kind if rate is not None else "closed",
        seed=seed,
        started_at=started,
        seconds=time.monotonic() - begun,
        predicted_seconds=most,
        interrupted=found.interrupted,
        points=tuple(sorted(found.points, key=_order)),
        failure=found.failure,
    )
    if not keep or not found.points:
        return result
    about = f"{len(found.points)} points, {where}, {result.arrivals}"
    return keep_result("sweep", server.model, result, about)


def _shape(arrivals: Kind | Schedule) -> Schedule:
    if isinstance(arrivals, Schedule):
        return arrivals
    try:
        return Schedule(arrivals, 1.0, 1.0)
    except ValueError as error:
        raise invalid_argument(str(error)) from error


def predicted_seconds(
    points: int, seconds: float, where: str, window: float | None = None
) -> float:
    """The most seconds that measuring these points can take, in windows of `window` seconds."""
    windows = max(1, round(seconds / (window or WINDOW_SECONDS[where])))
    return points * (seconds + windows * OVERHEAD_SECONDS[where])


def worker_memory(server: ServerClient, version: int) -> int | None:
    """Private bytes of the version's worker process, measured now."""
    frame = server.memory()
    found = frame[(frame["model"] == server.model) & (frame["version"] == version)]["uss"]
    return int(found.iloc[0]) if len(found) else None


def _listed(values: Any) -> list[Any]:
    if values is None:
        return []
    return list(values) if isinstance(values, Sequence) else [values]


def _settings(
    base: BatchingParameters,
    slots: int | None,
    timeouts: list[int],
    sizes: list[int],
    threads: list[int],
) -> Iterator[BatchingParameters]:
    """Every combination of the values; `base` has the value of a kind without any."""
    for timeout, size, thread in product(
        timeouts or [base.batch_timeout_micros],
        sizes or [base.max_batch_size],
        threads or [base.num_batch_threads or slots or 1],
    ):
        # Batches are padded up to the new largest size.
        allowed = tuple(a for a in base.allowed_batch_sizes if a < size)
        yield replace(
            base,
            batch_timeout_micros=timeout,
            max_batch_size=size,
            num_batch_threads=thread,
            allowed_batch_sizes=(*allowed, size) if base.allowed_batch_sizes else (),
        )


def _order(point: Point) -> tuple[float, ...]:
    return (
        point.parameters["max_batch_size"],
        point.slots,
        point.parameters["batch_timeout_micros"],
        *point.load.values(),
    )
