"""What a batching setting would do, in virtual time: the server's own batching, without it.

The queue and the slots are those of `core.batching.queue`, the very code that the live scheduler
drives with an event loop. Here a list of arrivals drives it, and a batch takes as long as a
`ServiceTime` says. A second of traffic takes some milliseconds, which is fast enough to
redraw a curve while somebody drags a slider.

Like the live server, the simulated one takes in and answers requests on one event loop, turn
by turn: everything that is ready is handled, and then free slots look for batches; only a
batch that is closed already takes the place of one that ends before that one's answers go out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.core.batching.parameters import BatchingParameters, next_allowed_batch_size
from workbench.core.batching.queue import Batch, BatchQueue, CloseReason
from workbench.core.batching.slots import SlotScheduler
from workbench.core.status import ServingError
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.load.arrivals import Seconds, poisson

if TYPE_CHECKING:
    import pandas as pd

CURVE_REQUESTS = 2500
"""Requests for each point of a curve: enough for a 99th percentile to look at, few enough for
fifteen points in 150 ms."""

PAUSE_MICROS = 50
"""After a longer time with nothing to do with any batch, caches are cold and threads asleep."""

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)

_NEVER = 1 << 62
_REASONS = tuple(CloseReason)


@dataclass(frozen=True, eq=False)
class SimulationResult:
    """What came of every request and every batch. Times are seconds of virtual time.

    Attributes:
        parameters, slots, rows: the setting; `rows` is of each request.
        arrived, done: shape (n,), of each request; `done` is NaN where it was rejected.
        batch: shape (n,), the batch that answered it, or -1.
        started, ended: shape (b,), when each batch got its slot and gave it back.
        sizes, tasks, padding: shape (b,), rows, requests, and rows of padding of each batch.
        reasons: shape (b,), why it was closed, as an index into `CloseReason`.
    """

    parameters: BatchingParameters
    slots: int
    rows: int
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
        """Batches by why they were closed."""
        counts = np.bincount(self.reasons, minlength=len(_REASONS)).tolist()
        return {r.value: n for r, n in zip(_REASONS, counts, strict=True) if n}

    def summary(self) -> dict[str, Any]:
        """The run in a few numbers; rates are per second, times in seconds.

        `achieved_per_s` is of the answers while requests still arrived, so that the time in
        which the last ones are answered does not lower it.
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
    rows: int = 1,
    seed: int = 0,
) -> SimulationResult:
    """An open loop: requests of `rows` rows that arrive when `arrivals` (shape (n,), in
    seconds, increasing) say, whatever becomes of them.

    The same `seed` draws the same run times.

    Raises:
        ServingError: INVALID_ARGUMENT, the requests are larger than `max_batch_size`.
    """
    times = np.rint(np.asarray(arrivals) * 1e6).astype(np.int64).tolist()
    return _Simulation(parameters, service, slots, rows, seed).run(times, 0)


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
    """A closed loop: each of `callers` sends its next request when the last one was answered;
    `requests` in all. A caller whose request is rejected is not seen again.

    Raises:
        ServingError: as `simulate`.
    """
    times = [0] * min(callers, requests)
    return _Simulation(parameters, service, slots, rows, seed).run(times, requests - len(times))


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

    All points share their random numbers, so that what differs between them is the setting.

    Args:
        arrivals: of (rate, count, seed), the arrivals in seconds; Poisson without.
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


class _Simulation:
    """One run; time is in whole microseconds, as in the server."""

    def __init__(
        self,
        parameters: BatchingParameters,
        service: ServiceTime,
        slots: int,
        rows: int,
        seed: int,
    ) -> None:
        self._parameters = parameters
        self._slots = slots
        self._rows = rows
        self._service = service
        self._random = np.random.default_rng(seed)

    def run(self, times: list[int], followers: int) -> SimulationResult:
        """Arrivals at `times`, and one more after each answer until there were `followers`."""
        total = len(times) + followers
        parameters, rows, slots, service = self._parameters, self._rows, self._slots, self._service
        queue: BatchQueue[int] = BatchQueue(parameters)
        scheduler: SlotScheduler[int] = SlotScheduler(slots)
        scheduler.add(queue)
        offer, take, due = queue.offer, scheduler.next, queue.next_deadline

        # Batches of few requests are never longer than those requests.
        most = min(parameters.batch_limit, max(total * rows, 1))
        most = max(most, next_allowed_batch_size(most, parameters.allowed_batch_sizes))
        table = service.table(most)
        padded = [
            next_allowed_batch_size(r, parameters.allowed_batch_sizes) for r in range(most + 1)
        ]
        deepest = service.in_flight
        levels = service.micros.shape[2]
        draws = self._random.integers(0, levels, total + 1).tolist()
        taking = _whole_steps(service.arrival_micros, total)
        answering = service.answer_micros
        wakes = np.rint(self._random.choice(service.wake_micros, total + 1)).astype(int).tolist()
        woken = 0

        batches: list[Batch[int]] = []
        started: list[int] = []
        ended: list[int] = []
        running: list[tuple[int, int, int]] = []  # (end, number of the batch, its executor)
        hiccups = service.hiccups
        loop = hiccups.timeline(self._random)
        executors = [hiccups.timeline(self._random) for _ in range(slots)]
        idle = list(range(slots))

        last_end, ending = -PAUSE_MICROS - 1, False

        def start(now: int) -> None:
            found = take(now)
            assert found is not None
            batch = found[1]
            number = len(batches)
            flight = len(running) + 1
            if flight == 1 and now - last_end > PAUSE_MICROS:
                flight = 0
            micros = table[flight if flight < deepest else deepest][padded[batch.size]][
                draws[number % len(draws)]
            ]
            batches.append(batch)
            started.append(now)
            ended.append(0)
            which = idle.pop()
            executor = executors[which]
            end = now + micros
            if end >= executor.calm_until:
                end = executor.end_of(now, micros)
            heappush(running, (end, number, which))

        now, coming, known = 0, 0, len(times)
        while True:
            free = len(running) < slots
            end = running[0][0] if running else _NEVER
            arrival = times[coming] if coming < known else _NEVER
            if free:
                deadline = due()
                event = min(end, arrival, _NEVER if deadline is None else deadline)
            else:
                event = end
                # Nobody can take a batch before `end`: whoever comes until then just waits.
                arrival = _NEVER
            if event == _NEVER:
                break
            turn = now
            if event > now:
                turn = event
                if event < end:
                    # The loop was asleep; that it wakes up late for an answer is in the run times.
                    turn += wakes[woken % len(wakes)]
                    woken += 1
            if turn >= loop.calm_until:
                turn = loop.end_of(turn, 0)
            if not free:
                while coming < known and times[coming] <= turn:
                    at = times[coming]
                    if at > now:
                        now = at
                    try:
                        offer(coming, rows, now)
                    except ServingError as error:
                        _check_full(error, rows, parameters)
                    now += taking[coming]
                    coming += 1
            if turn > now:
                now = turn
            while running and running[0][0] <= turn:
                _, number, which = heappop(running)
                idle.append(which)
                scheduler.finished(queue)
                ended[number] = last_end = now
                ending = True
                if queue.has_closed:
                    # It runs while the answers of this one are handed out.
                    start(now)
                parts = len(batches[number].parts)
                now += round(answering * parts)
                if known < total:
                    more = min(sum(_is_last(part) for part in batches[number].parts), total - known)
                    times.extend([now] * more)
                    known += more
                    turn = now
            while coming < known and times[coming] <= turn:
                try:
                    offer(coming, rows, now)
                except ServingError as error:
                    _check_full(error, rows, parameters)
                now += taking[coming]
                coming += 1
            if ending:
                # Only now has the loop nothing left to do with what has ended.
                last_end, ending = now, False
            # Asking for the deadline first is the same, and cheaper than a look that is in vain.
            while len(running) < slots and (deadline := due()) is not None and deadline <= now:
                start(now)
        return self._result(times, batches, started, ended, padded)

    def _result(
        self,
        times: list[int],
        batches: Sequence[Batch[int]],
        started: list[int],
        ended: list[int],
        padded: list[int],
    ) -> SimulationResult:
        counts = np.array([len(batch.parts) for batch in batches], np.int64)
        sizes = np.array([batch.size for batch in batches], np.int64)
        tasks = np.fromiter(
            chain.from_iterable([part.task for part in batch.parts] for batch in batches),
            np.int64,
            int(counts.sum()),
        )
        of_batch = np.repeat(np.arange(len(batches)), counts)
        place = np.arange(len(tasks)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
        finish = np.array(ended, float)[of_batch] + self._service.answer_micros * place
        done = np.full(len(times), -np.inf)
        batch = np.full(len(times), -1, np.int64)
        # The parts of a split request: it is answered with the last of them.
        np.maximum.at(done, tasks, finish)
        np.maximum.at(batch, tasks, of_batch)
        done[batch < 0] = np.nan
        index = {reason: i for i, reason in enumerate(_REASONS)}
        return SimulationResult(
            parameters=self._parameters,
            slots=self._slots,
            rows=self._rows,
            arrived=np.array(times, float) / 1e6,
            done=done / 1e6,
            batch=batch,
            started=np.array(started, float) / 1e6,
            ended=np.array(ended, float) / 1e6,
            sizes=sizes,
            tasks=counts,
            padding=np.array(padded)[sizes] - sizes if len(sizes) else sizes,
            reasons=np.array([index[b.reason] for b in batches if b.reason], np.int64),
        )


def _whole_steps(micros: float, count: int) -> list[int]:
    """`count` whole numbers whose mean is `micros`."""
    steps = np.diff(np.floor(micros * np.arange(count + 1)))
    whole: list[int] = steps.astype(np.int64).tolist()
    return whole


def _is_last(part: Any) -> bool:
    return bool(part.offset + part.size == part.total)


def _check_full(error: ServingError, rows: int, parameters: BatchingParameters) -> None:
    """A full queue is a result; a request that no batch can hold is a mistake."""
    if rows > parameters.max_batch_size:
        raise error
