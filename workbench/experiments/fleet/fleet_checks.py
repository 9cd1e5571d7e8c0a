"""What the balancers of a simulated fleet know: health checks, observed failures and reports."""

from __future__ import annotations

from functools import partial

from workbench.core.fleet.health import ServerHealth
from workbench.experiments.fleet.fleet_outcomes import Outcome
from workbench.experiments.fleet.fleet_server import ANSWERING, Phase, Place
from workbench.experiments.fleet.fleet_simulation import FleetSimulation


class FleetChecks:
    """Keeps every balancer's view of the servers up to date.

    Without a `HealthRule` the balancers know at once which servers serve.
    """

    def __init__(self, simulation: FleetSimulation) -> None:
        setting = simulation.setting
        self._simulation, self._rule, self._retry = simulation, setting.health, setting.retry
        self._way = setting.to_server_micros + setting.from_server_micros
        self._every = setting.report_interval_micros
        if self._every:
            simulation.at(0, self._report)
        if self._rule is not None and self._rule.error_limit:
            simulation.reached = self._reached

    @property
    def all_knowing(self) -> bool:
        """Whether the balancers need no checks."""
        return self._rule is None

    def admit(self, place: Place, *, up: bool) -> None:
        """The balancers may send to this server; `up` is what they assume before they check it."""
        now = self._simulation.now
        for of, balancer in enumerate(self._simulation.balancers):
            health = balancer.admit(place.number, now, up=up)
            if health is not None:
                if now == 0:
                    # Checks of many servers are spread over the interval, as in HAProxy.
                    share = (place.number + 1) / len(self._simulation.places)
                    health.next_check = max(1, round(health.interval_micros * share))
                self._plan(of, place, health)

    def dismiss(self, place: Place, *, forget: bool = False) -> None:
        """The balancers send nothing more to this server; `forget` ends its checks."""
        for balancer in self._simulation.balancers:
            balancer.dismiss(place.number, forget=forget)

    def all_send_to(self, place: Place) -> bool:
        """Whether every balancer may choose this server."""
        number = place.number
        return all(each.policy.is_up(number) for each in self._simulation.balancers)

    def tell(self, place: Place, up: bool) -> None:
        """Balancers that need no checks learn that a server serves, or does not."""
        if self.all_knowing:
            for of, _ in enumerate(self._simulation.balancers):
                self._believe(of, place, up)

    def _believe(self, of: int, place: Place, up: bool) -> None:
        if self._simulation.balancers[of].believe(place.number, up) and self._retry.close_when_down:
            for attempt in list(self._simulation.awaited(place, of)):
                self._simulation.fail(attempt, Outcome.LOST)

    # Checks.

    def _plan(self, of: int, place: Place, health: ServerHealth) -> None:
        self._simulation.at(health.next_check, partial(self._check, of, place, health))

    def _check(self, of: int, place: Place, health: ServerHealth) -> None:
        now = self._simulation.now
        balancer = self._simulation.balancers[of]
        if balancer.healths[place.number] is not health or health.next_check != now:
            return  # it is not checked any more, or was checked sooner
        assert self._rule is not None
        passed = place.phase in ANSWERING
        waits = self._rule.waits_micros
        takes = waits if place.phase is Phase.SILENT else min(self._way, waits)
        self._simulation.at(now + takes, partial(self._checked, of, place, health, passed))

    def _checked(self, of: int, place: Place, health: ServerHealth, passed: bool) -> None:
        if self._simulation.balancers[of].healths[place.number] is health:
            health.checked(passed, self._simulation.now)
            self._believe(of, place, health.up)
            self._plan(of, place, health)

    def _reached(self, of: int, number: int, taken: bool) -> None:
        """A request has reached a server, or was refused a connection."""
        health, now = self._simulation.balancers[of].healths[number], self._simulation.now
        if health is None:
            return
        planned = health.next_check
        health.observed(not taken, now)
        if taken:
            return
        place = self._simulation.places[number]
        self._believe(of, place, health.up)
        if now < health.next_check < planned:
            self._plan(of, place, health)

    # Reports.

    def _report(self) -> None:
        """The servers say how many requests they have, and the balancers know only that."""
        simulation = self._simulation
        board = simulation.counts[0]
        for place in simulation.places:
            if place.phase in ANSWERING:
                for balancer in simulation.balancers:
                    balancer.policy.learn(place.number, board.outstanding[place.number])
        simulation.at(simulation.now + self._every, self._report)
