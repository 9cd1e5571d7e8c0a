"""A fleet of one server takes the same steps as that server alone, to the microsecond."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.fleet.fleet_setting import FleetSetting
from workbench.experiments.fleet.simulate_fleet import simulate_fleet
from workbench.experiments.simulator.hiccups import Hiccups
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.experiments.simulator.simulate import simulate
from workbench.load.arrivals import bursty, poisson

SETTINGS = 100
REQUESTS = 400


def random_parameters(random: np.random.Generator) -> BatchingParameters:
    splitting = bool(random.random() < 0.3)
    size = int(random.integers(1, 40))
    allowed = (size // 2, size) if size > 2 and random.random() < 0.3 else ()
    return BatchingParameters(
        max_batch_size=size,
        batch_timeout_micros=int(random.choice([0, 0, 300, 2000, 9000])),
        max_enqueued_batches=int(random.choice([1, 2, 5, 10_000])),
        allowed_batch_sizes=allowed,
        enable_large_batch_splitting=splitting,
        max_execution_batch_size=int(random.integers(1, size + 1)) if splitting else None,
    )


def random_service(random: np.random.Generator) -> ServiceTime:
    deepest = int(random.integers(1, 4))
    base = float(random.choice([50.0, 400.0, 3000.0]))
    samples = {
        (flight, rows): (base * (1 + 0.4 * flight) + 5.0 * rows) * random.lognormal(0, 0.3, 60)
        for flight in range(deepest + 1)
        for rows in (1, 4, 40)
    }
    some = random.random(6) < 0.5
    service = ServiceTime.from_samples(
        samples,
        arrival_micros=7.3 * some[0],
        answer_micros=4.6 * some[1],
        wake_micros=random.gamma(4, 12, 100) if some[2] else (0.0,),
        hiccups=Hiccups(float(random.integers(1, 60)), random.uniform(1000, 9000, 30))
        if some[3]
        else Hiccups(),
    )
    if some[4]:
        service = replace(
            service,
            start_micros=31.0,
            start_request_micros=1.7,
            end_micros=8.0,
            wake_cost_micros=29.0,
            processors=int(random.integers(0, 4)),
            loop_spread=0.5,
        )
    if some[5]:
        shape = (service.in_flight, len(service.rows))
        service = replace(
            service,
            loop_slowing=random.uniform(0.8, 1.6, shape),
            following_micros=service.micros[0] * 1.2,
        )
    return service


@pytest.mark.parametrize("number", range(SETTINGS))
def test_a_fleet_of_one_equals_the_server_alone(number: int) -> None:
    random = np.random.default_rng([18, number])
    parameters, service = random_parameters(random), random_service(random)
    slots, seed = int(random.integers(1, 5)), int(random.integers(0, 1000))
    per_second = 1e6 / service.mean(1) * slots * float(random.choice([0.2, 0.8, 1.0, 2.5, 8.0]))
    draw = poisson if random.random() < 0.5 else bursty
    arrivals = draw(per_second, seed=seed, count=REQUESTS)
    rows: int | np.ndarray = 1
    if random.random() < 0.5:
        rows = random.integers(1, parameters.max_batch_size + 1, REQUESTS)
    policy = str(random.choice(["round_robin", "random", "two_choices", "least_outstanding"]))

    alone = simulate(parameters, arrivals, service, slots, rows=rows, seed=seed)
    fleet = simulate_fleet(
        parameters,
        arrivals,
        service,
        slots,
        FleetSetting(servers=1, policy=policy),
        rows=rows,
        seed=seed,
    )

    assert np.array_equal(fleet.done, alone.done, equal_nan=True)
    assert np.array_equal(fleet.answered, alone.answered)
    (lane,) = fleet.lanes
    for name in ("started", "ended", "sizes", "tasks", "padding", "reasons"):
        assert np.array_equal(getattr(lane.batches, name), getattr(alone, name)), name
    assert fleet.rows == alone.rows


def test_the_settings_cover_what_a_server_can_do() -> None:
    """Among the hundred are rejections, splits, timeouts and hiccups."""
    rejected = 0
    reasons: set[str] = set()
    for number in range(SETTINGS):
        random = np.random.default_rng([18, number])
        parameters, service = random_parameters(random), random_service(random)
        rate = 4e6 / service.mean(1)
        found = simulate(
            parameters, poisson(rate, seed=number, count=REQUESTS), service, 1, seed=number
        )
        rejected += int((~found.answered).sum())
        reasons |= set(found.reason_counts)
    assert rejected > 1000
    assert reasons >= {"full", "timeout", "executor_idle"}
