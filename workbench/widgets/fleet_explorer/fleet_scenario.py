"""Turns the sliders of a fleet explorer into a simulation, and runs it with every policy.

The number of requests is bounded, so that a slider can be dragged. So the run is short where the
rate is high, and the times of what happens are shares of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.fleet.autoscaling import ScalingRule
from workbench.core.fleet.balancing import POLICIES
from workbench.core.status import invalid_argument
from workbench.experiments.fleet.fleet_result import FleetResult
from workbench.experiments.fleet.fleet_setting import FleetSetting, RollingChange, ServerLoss
from workbench.experiments.fleet.simulate_fleet import PolicyComparison, compare_policies
from workbench.experiments.simulator.calibration import Calibration
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.load.arrivals import Seconds, poisson
from workbench.widgets.fleet_explorer.fleet_choice import MOST_SERVERS, FleetChoice, scales

FORMULA_MICROS = (4000, 200)
"""Without a calibration: the run time of a batch, and that of each row more."""
BUDGET_MICROS = 150_000
"""For the simulation of all policies, on a quiet machine."""
_REQUEST_MICROS, _BATCH_MICROS, _REPORT_MICROS = 5.0, 20.0, 0.5
"""What the simulator itself takes for a request, a batch, and a report to a balancer."""
_LOOP_FACTOR = 1.5
"""A calibrated server takes it so many times as long, because it has an event loop."""
_FEWEST_REQUESTS = 100

# Shares of the run.
LOST_AT, LOST_FOR = 0.25, 0.35
CHANGE_AT = 0.2
_CHANGE_FOR = 0.6
SLOWER_BY = 1.5
CALM_FROM, CALM_RATE = 0.5, 0.25
"""With autoscaling the rate falls to this share of itself."""
_LOOKS, _START_UP, _UP_PAUSE, _DOWN_PAUSE = 60, 0.05, 0.05, 0.1
_TARGET = 0.8
"""The autoscaler gives a server this share of what it can answer."""
_USUAL_LOAD = 0.9
"""The first rate is below this share of what the fleet can answer."""
_FIRST_SERVERS, _FIRST_REQUESTS_OF_A_BATCH = 4, 16


@dataclass(frozen=True, eq=False)
class ServerModel:
    """What each server of the fleet is.

    Attributes:
        service: its run times; slots: its executors; rows: of each request.
        about: where the run times come from, in a sentence.
    """

    service: ServiceTime
    slots: int
    rows: int
    about: str

    @classmethod
    def of(
        cls, source: ServiceTime | Calibration | None, slots: int | None, rows: int | None
    ) -> ServerModel:
        """The model of servers with these run times.

        Raises:
            ServingError: INVALID_ARGUMENT, `rows` differ from those of the calibration, or a number
                is below 1.
        """
        for name, value in (("slots", slots), ("rows", rows)):
            if value is not None and value < 1:
                raise invalid_argument(f"{name} must be at least 1; was {value}")
        if isinstance(source, Calibration):
            if rows not in (None, source.rows):
                raise invalid_argument(
                    f"The calibration is for requests of {source.rows} rows, not {rows}: calibrate "
                    f"with rows={rows}"
                )
            about = f"Run times: calibration of {source.model}, version {source.version}."
            return cls(source.service, slots or source.slots, source.rows, about)
        about = "Run times: as given."
        if source is None:
            batch, row = FORMULA_MICROS
            source = ServiceTime.linear(batch, row)
            about = (
                f"Run times: a formula, {batch / 1e3:g} ms for a batch and {row / 1e3:g} ms for "
                "each row."
            )
        return cls(source, slots or 1, rows or 1, about)

    def capacity(self, max_batch_size: int) -> float:
        """The most requests per second that a server answers."""
        requests = max(1, max_batch_size // self.rows)
        return self.service.capacity(max_batch_size, self.slots, requests) / self.rows

    def first_choice(self) -> FleetChoice:
        """Where the sliders are at first: a fleet that can hardly do without one of its servers."""
        size = self.rows * _FIRST_REQUESTS_OF_A_BATCH
        most = _USUAL_LOAD * _FIRST_SERVERS * self.capacity(size)
        rates = scales(FleetChoice(max_batch_size=size), self.rows)["rate"]
        rate = max((rate for rate in rates if rate <= most), default=rates[0])
        return FleetChoice(rate, _FIRST_SERVERS, max_batch_size=size, event="loss")

    def usual_batch(self, choice: FleetChoice) -> float:
        """About how many requests a batch has."""
        rate, most = choice.rate / choice.servers / 1e6, choice.max_batch_size / self.rows
        batch = 1.0
        for _ in range(20):
            rows = max(1, round(batch * self.rows))
            busy = self.service.mean(rows) / self.slots
            batch = min(most, max(1.0, rate * max(busy, choice.batch_timeout_micros)))
        return batch


@dataclass(frozen=True, eq=False)
class FleetRun:
    """A choice, and what came of it.

    Attributes:
        comparison: with each policy.
        span: from the first to the last arrival, in seconds.
        millis: how long the simulation took.
    """

    choice: FleetChoice
    model: ServerModel
    comparison: PolicyComparison
    span: float
    millis: float

    @property
    def result(self) -> FleetResult:
        """With the chosen policy."""
        return self.comparison.results[self.choice.policy]

    def offered(self, servers: float) -> float:
        """The offered rate as a share of what so many servers can answer."""
        return self.choice.rate / (servers * self.model.capacity(self.choice.max_batch_size))


def run(choice: FleetChoice, model: ServerModel, seed: int = 0) -> FleetRun:
    """Simulate a choice with each policy.

    Raises:
        ServingError: INVALID_ARGUMENT, requests have more rows than a batch may have.
    """
    begun = time.perf_counter()
    times = arrivals(choice, request_count(choice, model), seed)
    span = float(times[-1])
    parameters = BatchingParameters(
        max_batch_size=choice.max_batch_size, batch_timeout_micros=choice.batch_timeout_micros
    )
    comparison = compare_policies(
        parameters,
        times,
        model.service,
        model.slots,
        fleet_setting(choice, model, span),
        rows=model.rows,
        seed=seed,
    )
    return FleetRun(choice, model, comparison, span, 1e3 * (time.perf_counter() - begun))


def request_count(choice: FleetChoice, model: ServerModel) -> int:
    """As many requests as can be simulated within `BUDGET_MICROS`, in hundreds."""
    each = _REQUEST_MICROS + _BATCH_MICROS / model.usual_batch(choice)
    if model.service.loop_micros(1):
        each *= _LOOP_FACTOR
    if choice.report_interval_micros:
        reports = 1e6 / choice.rate / choice.report_interval_micros
        each += _REPORT_MICROS * reports * choice.servers * choice.balancers
    return max(_FEWEST_REQUESTS, 100 * round(BUDGET_MICROS / each / len(POLICIES) / 100))


def arrivals(choice: FleetChoice, count: int, seed: int) -> Seconds:
    """The times of so many requests; with autoscaling, the second half of the time is calm."""
    if choice.event != "autoscaling":
        return poisson(choice.rate, seed=seed, count=count)
    calm = round(count * CALM_RATE / (1 + CALM_RATE))
    busy = poisson(choice.rate, seed=seed, count=count - calm)
    return np.concatenate(
        [busy, busy[-1] + poisson(CALM_RATE * choice.rate, seed=seed + 1, count=calm)]
    )


def fleet_setting(choice: FleetChoice, model: ServerModel, span: float) -> FleetSetting:
    """The fleet and its event, for a run of `span` seconds."""
    events: dict[str, dict[str, Any]] = {
        "nothing": {},
        "loss": {
            "losses": [
                ServerLoss(
                    server=min(1, choice.servers - 1),
                    at_s=LOST_AT * span,
                    back_after_s=LOST_FOR * span,
                )
            ]
        },
        "smooth": {
            "change": RollingChange(
                at_s=CHANGE_AT * span,
                slower_s=_CHANGE_FOR * span / choice.servers,
                slower_by=SLOWER_BY,
            )
        },
        "unload_first": {
            "change": RollingChange(
                at_s=CHANGE_AT * span, away_s=_CHANGE_FOR * span / choice.servers
            )
        },
        "autoscaling": {
            "scaling": ScalingRule(
                max_servers=MOST_SERVERS,
                target_rate=_TARGET * model.capacity(choice.max_batch_size),
                target_queued=2.0 * choice.max_batch_size / model.rows,
                up_cooldown_s=_UP_PAUSE * span,
                down_cooldown_s=_DOWN_PAUSE * span,
                start_patience_s=span,
            ),
            "scaling_interval_s": span / _LOOKS,
            "start_up_s": _START_UP * span,
        },
    }
    return FleetSetting(
        servers=choice.servers,
        policy=choice.policy,
        balancers=choice.balancers,
        report_interval_micros=choice.report_interval_micros,
        **events[choice.event],
    )
