"""Makes a `ServiceTime` of a calibration's measurements.

How long a batch holds its slot under full load contains waiting for the event loop, which the
simulator adds by itself. So the run time with several batches in flight is that of the model, as
the worker measures it, and the way to the worker and back as a batch alone takes it. What that does
not explain (threads that share processors and an interpreter) follows from the capacity: the times
are stretched until the simulated closed loop answers as many requests a second as the measured one.
Where the event loop is the limit, its own times are stretched instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.simulator.hiccups import Hiccups, uninterrupted
from workbench.experiments.simulator.loop_costs import LoopCosts
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.experiments.simulator.simulate import simulate_closed, steady_rate

_STEPS, _CLOSE, _NEAR, _SHORTEST = 4, 0.005, 0.03, 0.6
"""Times are matched in so many steps at most, until the rate is that close. If it is not even near,
other times are the limit. Run times become no shorter than a share."""
_MOST_OFF = 2.0
_BATCHES, _PIECES = 300, 16
"""A simulated capacity is of so many batches. Their requests are handled in about so many pieces,
which take the event loop as long as all their requests: that is as exact, and quicker."""
_LOOP_IS_LIMIT = 0.9
_LOOP_SPREAD = 0.5
"""With it, the latencies of a loop that is busy vary as much as measured ones."""
_TURNS, _MOST_REQUESTS = 10, 20_000
_OF_REQUESTS = ("arrival_micros", "answer_micros", "start_request_micros")
_COSTS = (*_OF_REQUESTS, "start_micros", "end_micros")


@dataclass(frozen=True)
class Full:
    """Batches of one size with all slots busy.

    Attributes:
        run_micros: how long the model ran, of each batch.
        slot_micros: how long each held its slot.
        callers: of the closed loop.
        per_second: answered requests a second, without the time of hiccups.
        busy_share: the share of the time in which the server process used a CPU.
        rows_each: rows of each request.
    """

    run_micros: NDArray[np.int64]
    slot_micros: NDArray[np.int64]
    callers: int
    per_second: float
    busy_share: float
    rows_each: int = 1

    def loop_micros(self, requests: int) -> float:
        """The loop's time for a batch of so many requests. A loop that is the limit also waits for
        its processor, so then all its time counts."""
        share = 1.0 if self.busy_share >= _LOOP_IS_LIMIT else self.busy_share
        return share * requests / self.per_second * 1e6


@dataclass(frozen=True)
class Measured:
    """What a calibration measures, by the rows of a batch, in microseconds.

    Attributes:
        slot_micros, run_micros: of batches alone: how long each held its slot, and how long the
            model ran; of some of the sizes, the smallest and the largest among them.
        rested_micros: how long a batch after a pause held its slot.
        rested_loop_micros: the loop's time for such a batch, whose requests came one by one.
        full: by batches in flight, from 1, and rows.
        wake_micros: how late a sleeping loop began with a request.
        hiccups: of each processor.
        rows: of each request.
        processors: of the machine.
    """

    slot_micros: Mapping[int, NDArray[np.int64]]
    run_micros: Mapping[int, NDArray[np.int64]]
    rested_micros: Mapping[int, NDArray[np.int64]]
    rested_loop_micros: Mapping[int, float]
    full: Mapping[tuple[int, int], Full]
    wake_micros: NDArray[np.float64]
    hiccups: Hiccups
    rows: int = 1
    processors: int = 0

    def loop_costs(self) -> LoopCosts:
        """The event loop's costs: the median over the numbers in flight."""
        found = []
        for flight in {flight for flight, _ in self.full}:
            found.append(
                LoopCosts.fitted(
                    {
                        rows // self.rows: full.loop_micros(rows // self.rows)
                        for (f, rows), full in self.full.items()
                        if f == flight
                    }
                )
            )
        return LoopCosts(
            float(np.median([each.batch_micros for each in found])),
            float(np.median([each.request_micros for each in found])),
        )

    def wake_cost_micros(self, costs: LoopCosts) -> float:
        """The loop's time for a wake-up by an arrival: what batches of requests that come one by
        one cost more than others, for each request (the median over the sizes)."""
        more = [
            (micros - costs.batch_micros) / (rows // self.rows) - costs.request_micros
            for rows, micros in self.rested_loop_micros.items()
        ]
        return max(float(np.median(more)), 0.0)


def fitted(measured: Measured) -> ServiceTime:
    """The service time that explains the measurements."""
    samples: dict[tuple[int, int], NDArray[np.float64]] = {}
    alone = {rows: uninterrupted(slot) for rows, slot in measured.slot_micros.items()}
    ways, slower = {}, {}
    for rows, slot in measured.slot_micros.items():
        ways[rows] = max(float(np.median(slot - measured.run_micros[rows])), 0.0)
        rested = samples[0, rows] = uninterrupted(measured.rested_micros[rows])
        slower[rows] = float(rested.mean() / alone[rows].mean())
    for (flight, rows), full in sorted(measured.full.items()):
        way = _between(ways, rows)
        runs = uninterrupted(full.run_micros)
        if flight == 1:
            samples[1, rows] = alone.get(rows, runs + way)
            samples.setdefault((0, rows), samples[1, rows] * _between(slower, rows))
        else:
            # Threads that wait for a processor make the spread; it is that of the slot times.
            held = uninterrupted(full.slot_micros)
            least = float(samples[1, rows].mean())
            samples[flight, rows] = held * (max(float(runs.mean()) + way, least) / held.mean())
    costs = measured.loop_costs()
    steps: dict[str, Any] = costs.steps()
    service = replace(
        ServiceTime.from_samples(samples, wake_micros=measured.wake_micros),
        hiccups=measured.hiccups,
        loop_spread=_LOOP_SPREAD,
        wake_cost_micros=measured.wake_cost_micros(costs),
        processors=measured.processors,
        **steps,
    )
    places = {rows: place for place, rows in enumerate(service.rows.tolist())}
    stretched = np.ones((service.in_flight, len(places)))
    slowing = np.ones((service.in_flight, len(places)))
    for (flight, rows), full in measured.full.items():
        own = costs.batch_micros + costs.request_micros * (rows // measured.rows)
        more = full.loop_micros(rows // measured.rows) / own
        where = flight - 1, places[rows]
        stretched[where], slowing[where] = _matched(service, flight, rows, full, more)
    flights = sorted({flight for flight, _ in measured.full})
    stretched, slowing = (_for_all(found, flights) for found in (stretched, slowing))
    micros = service.micros * stretched[:, :, None]
    return replace(
        service,
        # A batch that is alone is not slowed by what slows a full server.
        micros=np.concatenate([service.micros[:1], micros[1:]]),
        following_micros=micros[0],
        loop_slowing=slowing,
    )


def _for_all(found: NDArray[np.float64], flights: list[int]) -> NDArray[np.float64]:
    """The lines for every number in flight, from those for `flights`."""
    every, known = np.arange(1, len(found) + 1), found[np.array(flights) - 1]
    return np.stack([np.interp(every, flights, column) for column in known.T], axis=1)


def _between(known: Mapping[int, float], rows: int) -> float:
    """The value for `rows` rows, interpolated by their logarithm."""
    sizes = sorted(known)
    return float(np.interp(np.log(rows), np.log(sizes), [known[size] for size in sizes]))


def _matched(
    service: ServiceTime, flight: int, rows: int, full: Full, slower: float
) -> tuple[float, float]:
    """By what the run times of batches of `rows` rows with `flight` in flight, and the loop's times
    for them, have to be multiplied so that the simulated capacity is the measured one.

    The loop's times are `slower` than usual. Where the loop is the limit, they are determined by
    the capacity, and the run times are not.
    """
    quantiles = service.quantiles(rows, flight)[0]
    loop = {name: getattr(service, name) for name in (*_COSTS, "loop_spread")}

    def rate(stretched: float, slowing: float) -> float:
        # As in the result, a batch that is alone takes its own time.
        alone = 1.0 if flight == 1 else stretched
        own = replace(
            ServiceTime.from_samples({(flight, rows): quantiles * alone}),
            following_micros=quantiles[None] * stretched,
            loop_slowing=np.full((flight, 1), slowing),
            **loop,
        )
        return capacity(own, flight, rows, full.callers, full.rows_each)

    wanted = full.per_second
    if full.busy_share >= _LOOP_IS_LIMIT:
        limits = slower / _MOST_OFF, slower * _MOST_OFF
        found = _solved(lambda each: rate(1.0, each), wanted, slower, *limits)
        stretched, slowing = 1.0, found
    else:
        # Executors alone, without any waiting for the loop, would take longest.
        longest = flight * rows / full.rows_each / wanted * 1e6 / float(quantiles.mean())
        found = _solved(lambda each: rate(each, slower), wanted, 1.0, _SHORTEST, max(longest, 1.0))
        stretched, slowing = found, slower
    if abs(rate(stretched, slowing) / wanted - 1) < _NEAR:
        return stretched, slowing
    # Both are limits: with all times multiplied, the rate is divided.
    off = rate(1.0, slower) / wanted
    return off, slower * off


def _solved(
    rate: Callable[[float], float], wanted: float, begin: float, least: float, most: float
) -> float:
    """The factor of times, between the limits, that makes a rate as wanted; rates are nearly
    inverse to times."""
    factor, got = begin, rate(begin)
    for _ in range(_STEPS):
        if abs(got / wanted - 1) < _CLOSE:
            break
        next_factor = min(max(factor * got / wanted, least), most)
        if next_factor == factor:
            break
        factor, got = next_factor, rate(next_factor)
    return factor


def capacity(service: ServiceTime, flight: int, rows: int, callers: int, each: int) -> float:
    """Requests a second that a closed loop of so many callers gets, in batches of `rows` rows made
    of requests of `each` rows."""
    requests = rows // each
    piece = next(n for n in range(max(requests // _PIECES, 1), 0, -1) if requests % n == 0)
    parameters = BatchingParameters(
        max_batch_size=rows,
        batch_timeout_micros=300_000,
        max_enqueued_batches=-(-callers * each // rows) + 1,
    )
    coarse = replace(service, **{name: getattr(service, name) * piece for name in _OF_REQUESTS})
    callers //= piece
    # A prime number of requests has no pieces.
    total = max(min(_BATCHES * requests // piece, _MOST_REQUESTS), _TURNS * callers)
    result = simulate_closed(parameters, callers, coarse, flight, requests=total, rows=each * piece)
    return steady_rate(result.done, callers) * piece
