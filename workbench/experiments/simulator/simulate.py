"""Predicts the effect of a batching setting, in virtual time.

A list of arrivals drives a `VirtualServer`, in which a batch runs for as long as a `ServiceTime`
says. A second of traffic takes some milliseconds, fast enough to redraw a curve while a slider is
dragged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.batching.queue import CloseReason
from workbench.core.status import invalid_argument
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.experiments.simulator.virtual_server import Run, VirtualServer
from workbench.load.arrivals import Seconds, poisson

if TYPE_CHECKING:
    import pandas as pd

CURVE_REQUESTS = 1800
"""Requests for each point of a curve: enough to estimate a 99th percentile, few enough for fifteen
points in about 100 ms."""

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)

_REASONS = tuple(CloseReason)
_INDEX = {reason: index for index, reason in enumerate(_REASONS)}


class Batches(NamedTuple):
    """The batches of one server; see `SimulationResult`."""

    started: Seconds
    ended: Seconds
    sizes: NDArray[np.int64]
    tasks: NDArray[np.int64]
    padding: NDArray[np.int64]
    reasons: NDArray[np.int64]

    @classmethod
    def of(cls, runs: Sequence[Run], padded: Sequence[int]) -> Batches:
        """The batches of these runs; `padded` gives the rows with which each size runs."""
        sizes = np.array([run.size for run in runs], np.int64)
        return cls(
            np.array([run.started for run in runs], float) / 1e6,
            np.array([run.ended for run in runs], float) / 1e6,
            sizes,
            np.array([run.tasks for run in runs], np.int64),
            np.array(padded)[sizes] - sizes if len(sizes) else sizes,
            np.array([_INDEX[run.reason] for run in runs if run.reason], np.int64),
        )


@dataclass(frozen=True, eq=False)
class SimulationResult:
    """The outcome of every request and batch. Times are seconds of virtual time.

    Attributes:
        parameters, slots, rows: the setting; `rows` are those of each request, or their mean.
        arrived, done: shape (n,), times of each request; `done` is NaN where it was rejected.
        batch: shape (n,), the number of the batch that answered it, or -1.
        started, ended: shape (b,), when each batch got its slot and gave it back.
        sizes, tasks, padding: shape (b,), rows, requests, and rows of padding of each batch.
        reasons: shape (b,), the close reason, as an index into `CloseReason`.
    """

    parameters: BatchingParameters
    slots: int
    rows: float
    arrived: Seconds = field(repr=False)
    done: Seconds = field(repr=False)
    batch: NDArray[np.int64] = field(repr=False)
    started: Seconds = field(repr=False)
    ended: Seconds = field(repr=False)
    sizes: NDArray[np.int64] = field(repr=False)
    tasks: NDArray[np.int64] = field(repr=False)
    padding: NDArray[np.int64] = field(repr=False)
    reasons: NDArray[np.int64] = field(repr=False)

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Which requests were answered; the others found the queue full."""
        return self.batch >= 0

    @property
    def latency(self) -> Seconds:
        """Seconds from arrival to answer of the requests that were answered."""
        return (self.done - self.arrived)[self.answered]

    @property
    def queued(self) -> Seconds:
        """Seconds from arrival to the start of the batch, of the requests that were answered."""
        return self.started[self.batch[self.answered]] - self.arrived[self.answered]

    @property
    def seconds(self) -> float:
        """From the first arrival to the last answer."""
        if not len(self.ended):
            return 0.0
        return float(np.nanmax(self.done) - self.arrived[0])

    @property
    def reason_counts(self) -> dict[str, int]:
        """Batches by close reason."""
        counts = np.bincount(self.reasons, minlength=len(_REASONS)).tolist()
        return {r.value: n for r, n in zip(_REASONS, counts, strict=True) if n}

    def summary(self) -> dict[str, Any]:
        """The run in a few numbers; rates are per second, times in seconds.

        `achieved_per_s` counts answers until the last arrival, so the time in which the last
        requests are answered does not lower it.
        """
        latency = self.latency
        until = float(self.arrived[-1]) if len(self.arrived) else 0.0
        span = max(until - float(self.arrived[0]), 1e-9) if len(self.arrived) else 1e-9
        with np.errstate(invalid="ignore"):
            in_time = int((self.done <= until).sum())
        busy = float((self.ended - self.started).sum())
        levels = PERCENTILES if len(latency) else ()
        found = np.quantile(latency, np.array(levels) / 100).tolist() if levels else []
        return {
            "requests": len(self.arrived),
            "offered_per_s": len(self.arrived) / span,
            "achieved_per_s": in_time / span,
            "rejected_share": float(1 - self.answered.mean()) if len(self.arrived) else 0.0,
            "latency_s": dict(zip(levels, found, strict=True)),
            "latency_mean_s": float(latency.mean()) if len(latency) else float("nan"),
            "queued_mean_s": float(self.queued.mean()) if len(latency) else float("nan"),
            "batch_rows_mean": float(self.sizes.mean()) if len(self.sizes) else 0.0,
            "occupancy": busy / (self.slots * self.seconds) if self.seconds else 0.0,
            "reasons": self.reason_counts,
        }


def simulate(
    parameters: BatchingParameters,
    arrivals: Seconds,
    service: ServiceTime,
    slots: int,
    *,
    rows: int | NDArray[np.int64] = 1,
    seed: int = 0,
) -> SimulationResult:
    """An open loop: requests of `rows` rows arrive at the times `arrivals` (shape (n,), in seconds,
    increasing). The same `seed` draws the same run times.

    Args:
        rows: of all requests, or shape (n,), of each of them.

    Raises:
        ServingError: INVALID_ARGUMENT, a request is larger than `max_batch_size`, or there are not
            as many `rows` as arrivals.
    """
    times = np.rint(np.asarray(arrivals) * 1e6).astype(np.int64).tolist()
    return _simulated(parameters, service, slots, rows, seed, times)


def request_sizes(rows: int | NDArray[np.int64], requests: int) -> tuple[list[int], float]:
    """The rows of each request, in turn, and their mean.

    Raises:
        ServingError: INVALID_ARGUMENT, there is neither one number nor one for each request.
    """
    if isinstance(rows, int):
        return [rows], rows
    if len(rows) != requests:
        raise invalid_argument(
            f"rows must be one number, or one for each arrival; there are {len(rows)} for "
            f"{requests} arrivals"
        )
    sizes = np.maximum(rows, 1).tolist() or [1]
    return sizes, float(np.mean(sizes))


def simulate_closed(
    parameters: BatchingParameters,
    callers: int,
    service: ServiceTime,
    slots: int,
    *,
    requests: int,
    rows: int = 1,
    seed: int = 0,
) -> SimulationResult:
    """A closed loop: each of `callers` sends its next request when the last one was answered,
    `requests` in total. A caller whose request is rejected stops.

    Raises:
        ServingError: as `simulate`.
    """
    times = [0] * min(callers, requests)
    return _simulated(parameters, service, slots, rows, seed, times, requests - len(times))


def steady_rate(done: Seconds, callers: int) -> float:
    """Answers a second of a simulated closed loop, without its beginning, in which nothing is warm,
    and its end, at which callers stop."""
    times = np.sort(done[~np.isnan(done)])
    begin, last = len(times) // 4, len(times) - callers - 1
    # Answers come in batches: whole turns of the callers begin and end at the same place of one.
    last -= (last - begin) % callers
    if last <= begin:
        begin, last = 0, len(times) - 1
    return float((last - begin) / max(times[last] - times[begin], 1e-9))


def curve(
    settings: Iterable[tuple[BatchingParameters, float]],
    service: ServiceTime,
    slots: int,
    *,
    rows: int = 1,
    requests: int = CURVE_REQUESTS,
    seed: int = 0,
    arrivals: Callable[[float, int, int], Seconds] | None = None,
) -> pd.DataFrame:
    """A row of predictions for each (parameters, requests a second), fast enough to drag.

    All points share their random numbers, so they differ only by the setting.

    Args:
        arrivals: a function of (rate, count, seed) that returns times in seconds; by default
            Poisson arrivals.
    """
    import pandas as pd

    draw = arrivals or (lambda rate, count, seed: poisson(rate, seed=seed, count=count))
    lines = []
    for parameters, rate in settings:
        result = simulate(
            parameters, draw(rate, requests, seed), service, slots, rows=rows, seed=seed
        )
        summary = result.summary()
        latency = summary["latency_s"]
        lines.append(
            {
                "batch_timeout_micros": parameters.batch_timeout_micros,
                "max_batch_size": parameters.max_batch_size,
                "offered_per_s": rate,
                "achieved_per_s": summary["achieved_per_s"],
                **{f"p{level:g}_ms": latency.get(level, np.nan) * 1e3 for level in (50, 90, 99)},
                "batch_rows": summary["batch_rows_mean"],
                "rejected_share": summary["rejected_share"],
                "occupancy": summary["occupancy"],
            }
        )
    return pd.DataFrame(lines)


def _simulated(
    parameters: BatchingParameters,
    service: ServiceTime,
    slots: int,
    rows: int | NDArray[np.int64],
    seed: int,
    times: list[int],
    followers: int = 0,
) -> SimulationResult:
    """Arrivals at `times`, in microseconds, and one more after each answer until there were
    `followers`."""
    sizes_asked, mean = request_sizes(rows, len(times))
    server = VirtualServer(parameters, service, slots, sizes_asked, seed, times, followers)
    server.run()
    ran = Batches.of(server.runs, server.padded)
    tasks = np.fromiter(
        chain.from_iterable([part.task for part in run.batch.parts] for run in server.runs),
        np.int64,
        int(ran.tasks.sum()),
    )
    of_batch = np.repeat(np.arange(len(server.runs)), ran.tasks)
    place = np.arange(len(tasks)) - np.repeat(np.cumsum(ran.tasks) - ran.tasks, ran.tasks) + 1
    answering = np.array([run.answering for run in server.runs])
    steps = np.array([run.answer_step for run in server.runs])
    finish = answering[of_batch] + steps[of_batch] * place
    done = np.full(len(server.times), -np.inf)
    batch = np.full(len(server.times), -1, np.int64)
    # A split request is answered with its last part.
    np.maximum.at(done, tasks, finish)
    np.maximum.at(batch, tasks, of_batch)
    done[batch < 0] = np.nan
    return SimulationResult(
        parameters=parameters,
        slots=slots,
        rows=mean,
        arrived=np.array(server.times, float) / 1e6,
        done=done / 1e6,
        batch=batch,
        **ran._asdict(),
    )
