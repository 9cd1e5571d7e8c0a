"""Measures batching settings under load, with intervals and the reasons for each result.

Each point is measured in windows until the interval of its 99th percentile is narrow enough, or its
time is up; the interval stays valid however often it is checked. The points are measured in random
order, so that a machine that warms up or slows down does not favour one setting.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from workbench.client.server import ServerClient
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import ServingError, invalid_argument
from workbench.experiments.load.borrowed_settings import kept_settings
from workbench.experiments.load.generator import LoadError
from workbench.experiments.load.measure import Where, Window, measure
from workbench.experiments.load.server_load import Payload, make_payload
from workbench.experiments.store.progress import Progress
from workbench.experiments.store.running import Running
from workbench.experiments.store.store import keep_result
from workbench.experiments.sweep.point import CONFIDENCE, Point, clusters, summarize
from workbench.experiments.sweep.sweep_result import SweepResult
from workbench.load.arrivals import Kind, Schedule
from workbench.load.intervals import quantile_interval

WINDOW_SECONDS = {"engine": 0.5, "rest": 1.0, "grpc": 1.0}
OVERHEAD_SECONDS = {"engine": 0.15, "rest": 0.7, "grpc": 0.9}
"""Seconds of a window beside its load: the setting, the result, and the generator's start."""

_CONTINUOUS = ("bursty", "ramp")
"""Arrivals that change over time, so a point must be measured in one window."""


@dataclass(frozen=True)
class _Plan:
    """One point to measure."""

    parameters: BatchingParameters
    load: dict[str, float]


@dataclass(frozen=True)
class _Options:
    """The options that all points share, see `Server.sweep`. `shape` is the schedule of an open
    loop, of which rate, duration and seed are ignored."""

    payload: Payload
    where: Where
    shape: Schedule
    precision: float
    seconds: float
    window_seconds: float
    seed: int

    def load(self, plan: _Plan, window: int) -> Schedule | int:
        """The load of a point's window, counted from 0: arrivals, or a number of clients."""
        if "clients" in plan.load:
            return int(plan.load["clients"])
        return replace(
            self.shape,
            rate=plan.load["rate"],
            duration_s=self.window_seconds,
            seed=self.seed * 1000 + window,
        )


@dataclass
class _Measured:
    """The points so far, and what ended the sweep early."""

    points: list[Point] = field(default_factory=list)
    interrupted: bool = False
    failure: str | None = None


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
    options = _Options(payload, where, shape, precision, seconds, each, seed)
    version = max(server.versions.available)
    said = Progress(progress)
    started = time.time()
    with Running("sweep", server, keep, said) as running, kept_settings(server) as before:
        settings = _settings(
            base or before,
            before.num_batch_threads,
            _listed(batch_timeout_micros),
            _listed(max_batch_size),
            _listed(num_batch_threads),
        )
        loads = [{"rate": r} for r in _listed(rate)] or [{"clients": c} for c in _listed(clients)]
        plans = [_Plan(parameters, load) for parameters in settings for load in loads]
        random.Random(seed).shuffle(plans)
        most = predicted_seconds(len(plans), seconds, where, each)
        said.say(f"Measuring {len(plans)} points, {where}: {most:.0f} s at most")
        begun = time.monotonic()

        def on_load(number: int, loaded: float) -> None:
            share = (number + min(1.0, loaded / seconds)) / len(plans)
            left = most * (1 - share)
            running.tell(f"point {number + 1} of {len(plans)}, {left:.0f} s left at most", share)
            if on_window is not None and loaded:
                on_window(number, loaded)

        try:
            found = _measure_all(server, plans, options, version, on_load, on_point)
        finally:
            said.close()
        if found.interrupted or found.failure:
            ended = found.failure or "Interrupted"
            said.say(f"{ended}: {len(found.points)} of {len(plans)} points were measured")
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


def _measure_all(
    server: ServerClient,
    plans: Sequence[_Plan],
    options: _Options,
    version: int,
    on_load: Callable[[int, float], None],
    on_point: Callable[[Point], None] | None,
) -> _Measured:
    """Measure one point after another, until an interruption or a failure.

    Args:
        on_load: called before a point's first window and after each, with the point's number and
            its seconds of load so far.

    Raises:
        ServingError, LoadError: the first point failed.
    """
    found = _Measured()
    try:
        for number, plan in enumerate(plans):
            point = _measure_point(server, plan, options, version, partial(on_load, number))
            found.points.append(point)
            if on_point is not None:
                on_point(point)
    except KeyboardInterrupt:
        found.interrupted = True
    except (ServingError, LoadError) as error:
        if not found.points:
            raise
        found.failure = str(error)
    return found


def _measure_point(
    server: ServerClient,
    plan: _Plan,
    options: _Options,
    version: int,
    on_load: Callable[[float], None],
) -> Point:
    """Measure windows until the point is certain enough or its time is up."""
    on_load(0.0)
    server.batching = plan.parameters
    windows: list[Window] = []
    loaded, each = 0.0, options.window_seconds
    while loaded + each <= options.seconds + 1e-9 and not _certain(windows, options.precision):
        load = options.load(plan, len(windows))
        windows.append(measure(server, options.payload, load, each, options.where))
        loaded = sum(window.seconds for window in windows)
        on_load(loaded)
    memory = worker_memory(server, version)
    return summarize(plan.parameters, plan.load, options.payload.rows, windows, memory)


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


def _certain(windows: list[Window], precision: float) -> bool:
    if not any(len(window.latency) for window in windows):
        return False
    latency = np.concatenate([window.latency for window in windows])
    members, largest = clusters(windows)
    found = quantile_interval(
        latency, 0.99, confidence=CONFIDENCE, batches=members, max_batch=largest
    )
    return found.relative_width <= precision


def _order(point: Point) -> tuple[float, ...]:
    return (
        point.parameters["max_batch_size"],
        point.slots,
        point.parameters["batch_timeout_micros"],
        *point.load.values(),
    )
