"""What happens to the servers of a simulated fleet: they start, are lost, leave, and change.

Each of these is a *process*: a generator that does something, yields the seconds until its next
step, and must look then whether its server is still there. The autoscaler asks
`core.fleet.autoscaling` how many servers are wanted, as a deployment does.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from workbench.core.fleet.autoscaling import FleetLoad, ScalingRule, ScalingState, decide
from workbench.experiments.fleet.fleet_checks import FleetChecks
from workbench.experiments.fleet.fleet_outcomes import Outcome
from workbench.experiments.fleet.fleet_server import Phase, Place
from workbench.experiments.fleet.fleet_setting import RollingChange, ServerLoss
from workbench.experiments.fleet.fleet_simulation import FleetSimulation
from workbench.experiments.simulator.service_time import ServiceTime

_READY = (Phase.SERVING, Phase.SLOWER)
_GONE = (Phase.ABSENT, Phase.LOST, Phase.SILENT)
_LOOK_S = 0.001
"""How often a server that is being emptied is looked at."""


class FleetOperations:
    """Plans what happens to the servers, and does it when its time has come.

    Attributes:
        wanted: every number of servers that was wanted: when (microseconds), how many, and why.
    """

    def __init__(self, simulation: FleetSimulation, checks: FleetChecks) -> None:
        self._simulation, self._checks, self._setting = simulation, checks, simulation.setting
        setting = self._setting
        self.wanted: list[tuple[int, int, str]] = [(0, setting.servers, "")]
        self._leaving: set[int] = set()
        self._returning: set[int] = set()
        for place in simulation.places[: setting.servers]:
            self._serve(place, up=True)
        for loss in setting.losses:
            self._follow(self._lose(simulation.places[loss.server], loss))
        if setting.change is not None:
            self._follow(self._roll(setting.change))
        if setting.scaling is not None:
            self._follow(self._scale(setting.scaling))

    def _follow(self, process: Iterator[float]) -> None:
        """Take the next step of a process, and plan the one after it."""
        seconds = next(process, None)
        if seconds is not None:
            later = self._simulation.now + round(seconds * 1e6)
            self._simulation.at(later, partial(self._follow, process))

    # Starts and losses.

    def _serve(self, place: Place, *, up: bool) -> None:
        """A new server serves at this place from now on."""
        if place.stands:
            # The new server does not know the connections of the one before it.
            self._close(list(self._simulation.unanswered(place)))
        self._simulation.put_server(place)
        self._checks.admit(place, up=up)
        self._checks.tell(place, True)

    def _close(self, attempts: list[int]) -> None:
        """The balancers see that these connections are closed."""
        for attempt in attempts:
            self._simulation.fail(attempt, Outcome.LOST)

    def _start(self, place: Place) -> Iterator[float]:
        place.enter(Phase.STARTING, self._simulation.now)
        begun = place.phases[-1]
        yield self._setting.start_up_s
        if place.phases[-1] is begun:
            self._serve(place, up=self._checks.all_knowing)

    def _lose(self, place: Place, loss: ServerLoss) -> Iterator[float]:
        yield loss.at_s
        if place.phase in _GONE:
            return
        unanswered: list[int] = []
        if place.phase is not Phase.STARTING:
            unanswered = list(self._simulation.unanswered(place))
            place.clear(self._simulation.now)
        self._leaving.discard(place.number)
        place.enter(Phase.SILENT if loss.silent else Phase.LOST, self._simulation.now)
        begun = place.phases[-1]
        back = loss.back_after_s
        if back is not None:
            self._returning.add(place.number)
        if loss.silent:
            retry = self._setting.retry
            noticed = retry.close_when_down or retry.timeout_micros is not None or back is not None
            for attempt in unanswered:
                self._simulation.hang(attempt, for_ever=not noticed)
        else:
            way = self._setting.from_server_micros
            self._simulation.at(self._simulation.now + way, partial(self._close, unanswered))
        self._checks.tell(place, False)
        if back is not None:
            yield back
            self._returning.discard(place.number)
            if place.phases[-1] is begun:
                self._serve(place, up=self._checks.all_knowing)

    # A new version.

    def _roll(self, change: RollingChange) -> Iterator[float]:
        yield change.at_s
        slower = self._simulation.service.scaled(change.slower_by)
        changed: set[int] = set()
        while True:
            places = self._simulation.places
            serving = [each.number for each in places if each.phase is Phase.SERVING]
            number = change.next_server(serving, changed)
            if number is None:
                return
            changed.add(number)
            yield from self._change(places[number], change, slower)
            yield change.pause_s

    def _change(self, place: Place, change: RollingChange, slower: ServiceTime) -> Iterator[float]:
        """One server changes its version, unless it is lost meanwhile."""
        server = place.server

        def there() -> bool:
            return place.phase not in _GONE and place.server is server

        if change.slower_s:
            place.enter(Phase.SLOWER, self._simulation.now)
            server.change_speed(slower)
            yield change.slower_s
            server.change_speed(self._simulation.service)
            if there():
                place.enter(Phase.SERVING, self._simulation.now)
        if change.away_s and there():
            if change.drained:
                yield from self._drain(place)
            if there():
                place.enter(Phase.AWAY, self._simulation.now)
                self._checks.tell(place, False)
                yield change.away_s
            if there():
                place.enter(Phase.SERVING, self._simulation.now)
                self._checks.admit(place, up=True)
                self._checks.tell(place, True)
            # The next server must not go before this one gets requests again.
            while there() and not self._checks.all_send_to(place):
                yield _LOOK_S

    def _drain(self, place: Place) -> Iterator[float]:
        """Until a server that gets nothing more has answered everything, or is lost."""
        place.enter(Phase.DRAINING, self._simulation.now)
        self._checks.dismiss(place)
        while place.phase is Phase.DRAINING and self._simulation.outstanding(place.number):
            yield _LOOK_S

    # More servers, and fewer.

    def _scale(self, rule: ScalingRule) -> Iterator[float]:
        simulation, every = self._simulation, self._setting.scaling_interval_s
        state = ScalingState(self._setting.servers)
        arrived = rejected = 0
        while True:
            yield every
            before = (arrived, rejected)
            arrived, rejected = simulation.arrived, simulation.rejected
            places = simulation.places
            ready = [each for each in places if each.phase in _READY]
            starting = [each for each in places if each.phase is Phase.STARTING]
            load = FleetLoad(
                ready=len(ready),
                starting=len(starting),
                queued=sum(each.server.waiting for each in ready),
                requests_per_s=(arrived - before[0]) / every,
                rejected_per_s=(rejected - before[1]) / every,
            )
            wanted, state = decide(rule, state, simulation.now / 1e6, load)
            if wanted != self.wanted[-1][1]:
                self.wanted.append((simulation.now, wanted, state.reason))
            self._adjust(wanted)

    def _adjust(self, wanted: int) -> None:
        """Start or remove servers until as many as wanted are there, or soon will be."""
        free, staying = [], []
        for place in self._simulation.places:
            if place.phase in _GONE and place.number not in self._returning:
                free.append(place)
            elif place.number not in self._leaving:
                staying.append(place)
        for place in free[: max(wanted - len(staying), 0)]:
            self._follow(self._start(place))
        serving = [place for place in staying if place.phase is Phase.SERVING]
        for place in serving[::-1][: max(len(staying) - wanted, 0)]:
            self._follow(self._leave(place))

    def _leave(self, place: Place) -> Iterator[float]:
        self._leaving.add(place.number)
        yield from self._drain(place)
        self._leaving.discard(place.number)
        if place.phase is Phase.DRAINING:
            self._checks.dismiss(place, forget=True)
            place.clear(self._simulation.now)
            place.enter(Phase.ABSENT, self._simulation.now)
