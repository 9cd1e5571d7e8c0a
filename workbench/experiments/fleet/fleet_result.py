"""What came of every request and every server of a simulated fleet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.figure import Picture
from workbench.experiments.fleet.fleet_outcomes import Outcome
from workbench.experiments.fleet.fleet_server import Phase, Place
from workbench.experiments.fleet.fleet_setting import FleetSetting
from workbench.experiments.fleet.fleet_simulation import FleetSimulation
from workbench.experiments.showing import figures
from workbench.experiments.simulator.simulate import PERCENTILES, Batches
from workbench.load.arrivals import Seconds

_PHASES_THAT_SERVE = frozenset({Phase.SERVING, Phase.SLOWER})


class Spell(NamedTuple):
    """A time, in seconds, in which a server was in one phase."""

    phase: Phase
    start: float
    end: float


@dataclass(frozen=True, eq=False)
class ServerLane:
    """One place for a server, over the whole run. Times are seconds.

    Attributes:
        spells: what its server did, in order, without gaps.
        batches: of all servers that stood there; `ended` is NaN for those that were lost.
        came, went: shape (a,), when each request that it took came, and when it was answered,
            rejected or lost.
    """

    spells: Sequence[Spell]
    batches: Batches = field(repr=False)
    came: Seconds = field(repr=False)
    went: Seconds = field(repr=False)

    def outstanding(self, at: Seconds) -> NDArray[np.int64]:
        """Shape (t,): the requests in its queue and in its executors at these times."""
        came = np.searchsorted(self.came, at, side="right")
        gone = np.searchsorted(np.sort(self.went), at, side="right")
        return came - gone

    @property
    def longest(self) -> int:
        """The most requests that it ever had at once."""
        return int(self.outstanding(self.came).max()) if len(self.came) else 0

    def seconds_of(self, *phases: Phase) -> float:
        """How long it was in these phases."""
        return sum(each.end - each.start for each in self.spells if each.phase in phases)


@dataclass(frozen=True, eq=False)
class FleetResult:
    """The outcome of every request to a simulated fleet. Times are seconds of virtual time.

    Attributes:
        setting: the fleet.
        parameters, slots, rows: of each server; `rows` are those of each request, or their mean.
        arrived, done: shape (n,), when each request came to a balancer, and when its answer did;
            `done` is NaN where there was none.
        outcome: shape (n,), the `Outcome` of each request.
        server: shape (n,), the server that was asked last, or -1.
        retries: shape (n,), how often it was sent again.
        lanes: the servers.
        wanted: every number of servers that was wanted: since when, how many, and why.
        seconds: from 0 to the end of the last request.
    """

    setting: FleetSetting
    parameters: BatchingParameters
    slots: int
    rows: float
    arrived: Seconds = field(repr=False)
    done: Seconds = field(repr=False)
    outcome: NDArray[np.int64] = field(repr=False)
    server: NDArray[np.int64] = field(repr=False)
    retries: NDArray[np.int64] = field(repr=False)
    lanes: Sequence[ServerLane] = field(repr=False)
    wanted: Sequence[tuple[float, int, str]] = field(repr=False)
    seconds: float

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Which requests were answered."""
        found: NDArray[np.bool_] = self.outcome == Outcome.ANSWERED
        return found

    @property
    def latency(self) -> Seconds:
        """Seconds from arrival to answer of the requests that were answered, with the ways and with
        all attempts."""
        return (self.done - self.arrived)[self.answered]

    @property
    def outcome_counts(self) -> dict[str, int]:
        """Requests by how they ended."""
        counts = np.bincount(self.outcome, minlength=len(Outcome)).tolist()
        return {each.words: counts[each] for each in Outcome if counts[each]}

    def summary(self) -> dict[str, Any]:
        """The run in a few numbers; rates are per second, times in seconds.

        `achieved_per_s` counts answers until the last arrival. `longest_queue` is the most requests
        that any server had at once, and `busiest_share` how many times the mean the busiest server
        got.
        """
        latency, arrived = self.latency, self.arrived
        until = float(arrived[-1]) if len(arrived) else 0.0
        span = max(until - float(arrived[0]), 1e-9) if len(arrived) else 1e-9
        with np.errstate(invalid="ignore"):
            in_time = int((self.done <= until).sum())
        levels = PERCENTILES if len(latency) else ()
        found = np.quantile(latency, np.array(levels) / 100).tolist() if levels else []
        taken = [len(lane.came) for lane in self.lanes]
        busy = sum(float(np.nansum(b.ended - b.started)) for b in (x.batches for x in self.lanes))
        serving = sum(lane.seconds_of(*_PHASES_THAT_SERVE) for lane in self.lanes)
        sizes = np.concatenate([lane.batches.sizes for lane in self.lanes])
        return {
            "requests": len(arrived),
            "offered_per_s": len(arrived) / span,
            "achieved_per_s": in_time / span,
            "failed_share": float(1 - self.answered.mean()) if len(arrived) else 0.0,
            "retries": int(self.retries.sum()),
            "latency_s": dict(zip(levels, found, strict=True)),
            "latency_mean_s": float(latency.mean()) if len(latency) else float("nan"),
            "longest_queue": max(lane.longest for lane in self.lanes),
            "busiest_share": max(taken) * len(taken) / max(sum(taken), 1),
            "batch_rows_mean": float(sizes.mean()) if len(sizes) else 0.0,
            "occupancy": busy / (self.slots * serving) if serving else 0.0,
            "servers_mean": serving / self.seconds if self.seconds else float(self.setting.servers),
            "outcomes": self.outcome_counts,
        }

    def plot(self) -> Picture:
        """The servers as lanes, and queue and latency over time."""
        return figures(self)

    def _repr_png_(self) -> bytes:
        return self.plot()._repr_png_()


def result_of(
    simulation: FleetSimulation,
    wanted: Sequence[tuple[int, int, str]],
    parameters: BatchingParameters,
    slots: int,
    rows: float,
) -> FleetResult:
    """The result of a simulation that has run."""
    arrived = np.array(simulation.times, float)
    count = len(arrived)
    ended = np.array(simulation.ended)
    outcome = np.frombuffer(bytes(simulation.outcomes), np.uint8).astype(np.int64)
    # The last attempt of each request; further attempts are in order.
    last = np.arange(count)
    again = np.array(simulation.again, np.int64)
    last[again] = count + np.arange(len(again))
    done = np.where(outcome == Outcome.ANSWERED, ended[last], np.nan)
    end = max(simulation.now, float(np.nanmax(ended)) if count else 0.0) / 1e6
    return FleetResult(
        setting=simulation.setting,
        parameters=parameters,
        slots=slots,
        rows=rows,
        arrived=arrived / 1e6,
        done=done / 1e6,
        outcome=outcome,
        server=np.array(simulation.server, np.int64)[last],
        retries=np.bincount(again, minlength=count) if count else again,
        lanes=[_lane(place, ended, simulation.setting, end) for place in simulation.places],
        wanted=[(at / 1e6, servers, why) for at, servers, why in wanted],
        seconds=end,
    )


def _lane(
    place: Place, ended: NDArray[np.float64], setting: FleetSetting, end: float
) -> ServerLane:
    begins = [at / 1e6 for at, _ in place.phases]
    spells = [
        Spell(phase, begin, until)
        for (_, phase), begin, until in zip(place.phases, begins, [*begins[1:], end], strict=True)
    ]
    batches, came, went = [], [], []
    for stand in place.stands:
        found = Batches.of(stand.server.runs, stand.server.padded)
        gone = end if stand.ended_at is None else stand.ended_at / 1e6
        # A batch that was running at the end was never given back.
        over = (found.ended == 0.0) | (found.ended > gone)
        batches.append(found._replace(ended=np.where(over, np.nan, found.ended)))
        came.append(np.array(stand.server.times, float) / 1e6)
        seen = ended[np.array(stand.attempts, np.int64)] - setting.from_server_micros
        seen[seen <= 0] = np.inf
        went.append(np.minimum(seen / 1e6, max(gone, 0.0)))
    return ServerLane(
        spells,
        Batches(*(np.concatenate(each) for each in zip(*batches, strict=True)))
        if batches
        else Batches.of([], [0]),
        np.concatenate(came) if came else np.zeros(0),
        np.concatenate(went) if went else np.zeros(0),
    )
