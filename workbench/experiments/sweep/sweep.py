"""Measures batching settings under load, with intervals and the reasons for each result.

Each point is measured in windows until it has its answer, or its time is up; the intervals stay
valid however often they are checked. The points are measured in random order, so that a machine
that warms up or slows down does not favour one setting. A window during which somebody changed the
server is void and measured again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from workbench.client.server import ServerClient
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import ServingError, invalid_argument
from workbench.experiments.load.borrowed_settings import kept_settings
from workbench.experiments.load.generator import LoadError
from workbench.experiments.load.measure import Where
from workbench.experiments.load.server_load import make_payload
from workbench.experiments.store.running import Running
from workbench.experiments.store.server_turns import WhenBusy
from workbench.experiments.store.store import keep_result
from workbench.experiments.sweep.certainty import Goal
from workbench.experiments.sweep.measuring import Measuring
from workbench.experiments.sweep.point import Point
from workbench.experiments.sweep.sweep_result import SweepResult
from workbench.experiments.sweep.time_budget import Trial, spend
from workbench.experiments.traffic.recorded_traffic import Traffic
from workbench.load.arrivals import Kind, Schedule

WINDOW_SECONDS = {"engine": 0.5, "rest": 1.0, "grpc": 1.0}
OVERHEAD_SECONDS = {"engine": 0.15, "rest": 0.7, "grpc": 0.9}
"""Seconds of a window beside its load: the setting, the result, and the generator's start."""

DEFAULT_RATE = 500.0
"""Requests a second of a sweep that names no load."""
_REQUESTS = 1200
"""About enough for a 99th percentile with two bounds, where requests do not depend on another."""
_LEAST_SECONDS, _MOST_SECONDS = 2.0, 12.0
_WINDOWS = 6
"""A point is looked at about this often."""
_LONGEST_WINDOW = 2.0
"""Seconds, so that an interruption between two windows does not take longer."""

_CONTINUOUS = ("bursty", "ramp", "replay")
"""Arrivals that change over time, so a point must be measured in one window."""


@dataclass
class _Sweep:
    """A sweep under way.

    Attributes:
        points: those whose own time is over, or that have their answer.
        failure: the error that ended the sweep early.
    """

    measuring: Measuring
    goal: Goal
    points: dict[Trial, Point] = field(default_factory=dict)
    interrupted: bool = False
    failure: str | None = None

    def measure_all(
        self,
        trials: Sequence[Trial],
        on_load: Callable[[Trial], None],
        on_point: Callable[[Point], None] | None,
    ) -> None:
        """Measure until each point has its answer, the time is over, or an interruption or a
        failure ends it.

        Args:
            on_load: called before each window and after it.

        Raises:
            ServingError, LoadError: the first point failed.
        """

        def measure(trial: Trial) -> None:
            on_load(trial)
            self.measuring.add_window(trial)
            on_load(trial)

        def on_first(trial: Trial) -> None:
            self.points[trial] = self.measuring.point(trial, self.goal)
            if on_point is not None:
                on_point(self.points[trial])

        try:
            spend(trials, self.goal, measure, on_first)
        except KeyboardInterrupt:
            self.interrupted = True
        except (ServingError, LoadError) as error:
            if not self.points:
                raise
            self.failure = str(error)
        for trial, point in self.points.items():
            if trial.loaded > point.seconds:
                self.points[trial] = self.measuring.point(trial, self.goal, point.memory_bytes)


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
    arrivals: Kind | Schedule | Traffic = "poisson",
    precision: float = 0.2,
    p99_ms: float | None = None,
    seconds: float | None = None,
    seed: int = 0,
    base: BatchingParameters | None = None,
    keep: bool = True,
    progress: bool = True,
    when_busy: WhenBusy = "refuse",
    on_point: Callable[[Point], None] | None = None,
    on_window: Callable[[int, float], None] | None = None,
) -> SweepResult:
    """Measures every combination of settings and loads; see `Server.sweep`."""
    if rate is not None and clients is not None:
        raise invalid_argument("Give either rate (an open loop) or clients (a closed loop)")
    if where not in WINDOW_SECONDS:
        raise invalid_argument(f"where must be 'engine', 'rest' or 'grpc'; was {where!r}")
    if isinstance(arrivals, Traffic):
        payload = make_payload(server, payload, sizes=arrivals.rows)
        shape = arrivals.schedule(payload.order)
    else:
        payload = make_payload(server, payload, rows=rows)
        shape = _shape(arrivals)
    usual = shape.rate if isinstance(arrivals, Traffic) else DEFAULT_RATE
    loads = [{"clients": c} for c in _listed(clients)] or [
        {"rate": r} for r in _listed(usual if rate is None else rate)
    ]
    started = time.time()
    with (
        Running("sweep", server, keep, progress, when_busy) as running,
        kept_settings(server) as borrowed,
    ):
        settings = _settings(
            base or borrowed.before,
            borrowed.before.num_batch_threads,
            _listed(batch_timeout_micros),
            _listed(max_batch_size),
            _listed(num_batch_threads),
        )
        trials = [
            _trial(parameters, load, where, shape, seconds)
            for parameters, load in product(settings, loads)
        ]
        random.Random(seed).shuffle(trials)
        most = sum(map(predicted_seconds, trials, [where] * len(trials)))
        running.say(f"Measuring {len(trials)} points, {where}: {most:.0f} s at most")
        begun = time.monotonic()
        total = sum(trial.seconds for trial in trials)

        def on_load(trial: Trial) -> None:
            share = sum(each.loaded for each in trials) / total
            number = trials.index(trial)
            words = f"point {number + 1} of {len(trials)}"
            running.tell(words, share, max(0.0, most - (time.monotonic() - begun)))
            if on_window is not None and trial.windows:
                on_window(number, trial.loaded)

        measuring = Measuring(server, borrowed, payload, where, shape, seed)
        found = _Sweep(measuring, Goal(precision, p99_ms))
        found.measure_all(trials, on_load, on_point)
        if found.interrupted or found.failure:
            ended = found.failure or "Interrupted"
            running.say(f"{ended}: {len(found.points)} of {len(trials)} points were measured")
    result = SweepResult(
        model=server.model,
        version=measuring.version,
        where=where,
        arrivals="closed" if clients is not None else shape.kind,
        seed=seed,
        started_at=started,
        seconds=time.monotonic() - begun,
        predicted_seconds=most,
        interrupted=found.interrupted,
        points=tuple(sorted(found.points.values(), key=_order)),
        failure=found.failure,
        p99_ms=p99_ms,
        voids=tuple(measuring.voids),
    )
    if not keep or not found.points:
        return result
    return keep_result("sweep", server.model, result, result.finding())


def _trial(
    parameters: BatchingParameters,
    load: dict[str, float],
    where: Where,
    shape: Schedule,
    seconds: float | None,
) -> Trial:
    if seconds is None:
        wanted = _REQUESTS / load["rate"] if "rate" in load else _LEAST_SECONDS
        seconds = min(max(_LEAST_SECONDS, wanted), _MOST_SECONDS)
        if shape.kind == "replay" and "rate" in load:
            # The whole pattern once.
            seconds = shape.duration_s * shape.rate / load["rate"]
    if shape.kind in _CONTINUOUS and "rate" in load:
        return Trial(parameters, load, seconds, seconds)
    window = min(max(WINDOW_SECONDS[where], seconds / _WINDOWS), _LONGEST_WINDOW, seconds)
    return Trial(parameters, load, seconds, window)


def _shape(arrivals: Kind | Schedule) -> Schedule:
    if isinstance(arrivals, Schedule):
        return arrivals
    try:
        return Schedule(arrivals, 1.0, 1.0)
    except ValueError as error:
        raise invalid_argument(str(error)) from error


def predicted_seconds(trial: Trial, where: str) -> float:
    """The most seconds that measuring a trial can take."""
    windows = max(1, round(trial.seconds / trial.window_seconds))
    return trial.seconds + windows * OVERHEAD_SECONDS[where]


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
