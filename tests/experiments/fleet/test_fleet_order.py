"""Cause comes before effect: balancers see what has happened and nothing else, and servers do what
they would do if they had known all arrivals."""

from __future__ import annotations

import numpy as np
import pytest

from tests.experiments.fleet.test_fleet_of_one import random_parameters, random_service
from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.fleet.fleet_checks import FleetChecks
from workbench.experiments.fleet.fleet_operations import FleetOperations
from workbench.experiments.fleet.fleet_outcomes import Outcome
from workbench.experiments.fleet.fleet_setting import FleetSetting, RetryRule
from workbench.experiments.fleet.fleet_simulation import FleetSimulation
from workbench.experiments.simulator.hiccups import NEVER
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.experiments.simulator.virtual_server import Share, VirtualServer
from workbench.load.arrivals import poisson


def simulated(
    parameters: BatchingParameters,
    service: ServiceTime,
    slots: int,
    times: list[int],
    setting: FleetSetting,
    seed: int = 3,
) -> FleetSimulation:
    simulation = FleetSimulation(parameters, service, slots, [1], seed, times, setting)
    FleetOperations(simulation, FleetChecks(simulation))
    simulation.run()
    return simulation


def whole_micros(rate: float, count: int, seed: int) -> list[int]:
    times: list[int] = np.rint(poisson(rate, seed=seed, count=count) * 1e6).astype(int).tolist()
    return times


@pytest.mark.parametrize("number", range(25))
def test_a_server_does_what_it_would_do_if_it_had_known_all_arrivals(number: int) -> None:
    random = np.random.default_rng([7, number])
    parameters, service = random_parameters(random), random_service(random)
    slots, servers = int(random.integers(1, 4)), int(random.integers(2, 7))
    rate = 1e6 / service.mean(1) * slots * servers * float(random.choice([0.3, 0.9, 2.0]))
    times = whole_micros(rate, 1500, number)
    setting = FleetSetting(
        servers=servers,
        policy=str(random.choice(["random", "two_choices", "least_outstanding"])),
        to_server_micros=int(random.choice([0, 70])),
        from_server_micros=int(random.choice([0, 40])),
        balancer_micros=int(random.choice([0, 9])),
    )

    fleet = simulated(parameters, service, slots, times, setting)

    share = Share(-(-len(times) // servers), len(times), 1)
    for place in fleet.places:
        (stand,) = place.stands
        seed = 3 if place.number == 0 else [3, place.number, 0]
        arrived = list(stand.server.times)
        alone = VirtualServer(parameters, service, slots, [1], seed, arrived, share=share)
        alone.known_until = NEVER
        alone.run()
        assert len(alone.runs) == len(stand.server.runs)
        for one, other in zip(alone.runs, stand.server.runs, strict=True):
            assert (one.started, one.ended, one.answering, one.size, one.tasks) == (
                other.started,
                other.ended,
                other.answering,
                other.size,
                other.tasks,
            )
        back = setting.from_server_micros
        for run in alone.runs:
            for count, part in enumerate(run.batch.parts, 1):
                seen = run.answering + run.answer_step * count + back
                assert fleet.ended[stand.attempts[part.task]] == pytest.approx(seen, abs=1e-6)
        for task, time in alone.rejected:
            assert fleet.ended[stand.attempts[task]] == time + back


@pytest.mark.parametrize("ways", [(0, 0), (90, 60)])
@pytest.mark.parametrize("balancers", [1, 3])
@pytest.mark.parametrize("enqueued", [2, 10_000])
def test_each_request_goes_to_a_server_with_the_fewest_at_that_moment(
    ways: tuple[int, int], balancers: int, enqueued: int
) -> None:
    """Counted anew from when requests were sent and when their ends were seen. With a short queue
    many are rejected, and some are sent again."""
    setting = FleetSetting(
        servers=5,
        policy="least_outstanding",
        balancers=balancers,
        to_server_micros=ways[0],
        from_server_micros=ways[1],
        retry=RetryRule(attempts=1, on=("rejected",)),
    )
    parameters = BatchingParameters(
        max_batch_size=4, batch_timeout_micros=500, max_enqueued_batches=enqueued
    )
    times = whole_micros(11_000, 2500, 1)

    fleet = simulated(parameters, ServiceTime.linear(1800, 50), 1, times, setting)

    server, sent = np.array(fleet.server), np.array(fleet.sent)
    seen = np.rint(np.array(fleet.ended)).astype(int)
    of = np.array([fleet._of[fleet.request_of(attempt)] for attempt in range(len(server))])
    assert (np.bincount(server) > 100).all()
    rejected = np.count_nonzero(np.frombuffer(fleet.outcomes, np.uint8) == Outcome.REJECTED)
    assert (rejected > 50) == (enqueued == 2)
    assert (len(fleet.again) > 50) == (enqueued == 2)
    # Attempts of the same microsecond are sent in an order that the result does not have.
    times_sent, how_many = np.unique(sent, return_counts=True)
    alone = np.isin(sent, times_sent[how_many == 1])
    for attempt in np.flatnonzero(alone).tolist():
        at = sent[attempt]
        waiting = (of == of[attempt]) & (sent < at) & (seen >= at)
        counts = np.bincount(server[waiting], minlength=5)
        # An answer of this very microsecond is seen after it.
        assert counts[server[attempt]] == counts.min()


def test_a_rejection_is_known_when_it_happens() -> None:
    """All executors are busy for 10 ms; the third request finds the queue full at 2 ms."""
    parameters = BatchingParameters(max_batch_size=1, max_enqueued_batches=1)
    setting = FleetSetting(servers=1, from_server_micros=30)
    fleet = simulated(parameters, ServiceTime.linear(10_000), 1, [0, 1000, 2000, 3000], setting)
    assert [Outcome(each) for each in fleet.outcomes] == [
        Outcome.ANSWERED,
        Outcome.ANSWERED,
        Outcome.REJECTED,
        Outcome.REJECTED,
    ]
    assert fleet.ended == [10_030, 20_030, 2030, 3030]


def test_a_balancer_handles_one_request_after_another() -> None:
    setting = FleetSetting(servers=2, balancer_micros=100, to_server_micros=7)
    parameters = BatchingParameters(max_batch_size=1)
    fleet = simulated(parameters, ServiceTime.linear(50), 1, [0, 10, 1000], setting)
    assert fleet.sent == [100, 200, 1100]
    assert fleet.ended == [157, 257, 1157]
