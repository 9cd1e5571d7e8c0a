"""The fleet against what is known of balancing: each with its stated error."""

from __future__ import annotations

import math

import numpy as np
import pytest

from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.fleet.fleet_result import FleetResult
from workbench.experiments.fleet.fleet_setting import FleetSetting
from workbench.experiments.fleet.simulate_fleet import simulate_fleet
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.load.arrivals import poisson

SINGLES = BatchingParameters(max_batch_size=1, max_enqueued_batches=1_000_000)
SERVICE = ServiceTime.exponential(1000)
T_95 = 2.776
"""The 97.5 % quantile of Student's t with 4 degrees of freedom: for intervals of five runs."""


def fleet(servers: int, rho: float, count: int, seed: int, **setting: object) -> FleetResult:
    arrivals = poisson(servers * rho * 1000, seed=seed, count=count)
    return simulate_fleet(
        SINGLES, arrivals, SERVICE, 1, FleetSetting(servers=servers, **setting), seed=seed
    )


def mean_ms(servers: int, rho: float, count: int, **setting: object) -> tuple[float, float]:
    """The mean latency with half its 95 % interval, over five seeds."""
    means = [
        float(fleet(servers, rho, count, seed, **setting).latency.mean()) * 1e3 for seed in range(5)
    ]
    return float(np.mean(means)), T_95 * float(np.std(means, ddof=1)) / math.sqrt(5)


def test_random_splitting_makes_each_server_an_m_m_1() -> None:
    """A random part of Poisson arrivals is Poisson, so the time in the system is exponential with
    mean 1 / (mu - lambda): within 5 % for the mean and 8 % for the 99th percentile."""
    result = fleet(10, 0.7, 100_000, seed=3, policy="random")
    mean = 1 / (1 - 0.7)
    assert result.latency.mean() * 1e3 == pytest.approx(mean, rel=0.05)
    assert np.quantile(result.latency, 0.99) * 1e3 == pytest.approx(mean * math.log(100), rel=0.08)
    taken = [len(lane.came) for lane in result.lanes]
    assert sum(taken) == 100_000
    assert max(taken) < 10_000 + 4 * math.sqrt(10_000)


def test_round_robin_makes_each_server_an_e_n_m_1() -> None:
    """Every tenth arrival has Erlang gaps, so the wait is between those of M/M/1 and D/M/1."""
    result = fleet(10, 0.7, 60_000, seed=3, policy="round_robin")
    # sigma solves sigma = E[exp(-mu (1 - sigma) A)] for Erlang-10 gaps of mean 1 / 0.7.
    sigma = 0.5
    for _ in range(100):
        sigma = (1 + (1 - sigma) / (10 * 0.7)) ** -10
    assert result.latency.mean() * 1e3 == pytest.approx(1 / (1 - sigma), rel=0.05)


def test_two_choices_keep_the_longest_queue_short() -> None:
    """In balance, a share of rho^(2^i - 1) of the servers has at least i requests, and rho^i with
    random choices (Mitzenmacher 2001). So at rho = 0.7 fewer than one of 1000 servers has 5 or
    more, and one has 19. That is how log log n differs from log n."""
    count, rho = 50_000, 0.7
    random, two = (
        fleet(1000, rho, count, seed=1, policy=policy) for policy in ("random", "two_choices")
    )
    # After the first half of the run the shares have settled.
    at = np.linspace(0.5, 1.0, 8) * two.arrived[-1]
    for result, share in ((two, lambda i: rho ** (2**i - 1)), (random, lambda i: rho**i)):
        held = np.array([lane.outstanding(at) for lane in result.lanes])
        for least in (1, 2, 3, 4):
            assert float((held >= least).mean()) == pytest.approx(share(least), abs=0.03)
        longest = held.max(axis=0)
        if result is two:
            assert longest.max() <= 5
        else:
            assert 10 < longest.mean() < 24


def test_the_longest_queue_of_two_choices_hardly_grows_with_the_servers() -> None:
    """From 10 to 1000 servers: log log n grows by 1.1 (to base 2: 1.6), log n by 4.6."""

    def longest(policy: str, servers: int) -> float:
        result = fleet(servers, 0.7, 12 * max(servers, 200), seed=2, policy=policy)
        at = np.linspace(0.4, 1.0, 20) * result.arrived[-1]
        return float(np.mean(np.max([lane.outstanding(at) for lane in result.lanes], axis=0)))

    assert longest("two_choices", 1000) - longest("two_choices", 10) < 2.5
    assert longest("random", 1000) - longest("random", 10) > 5


def test_balancers_that_do_not_see_each_other_lose_what_least_outstanding_gains() -> None:
    """Ten balancers, each of which counts its own requests: least outstanding takes more than twice
    as long as with one balancer, and longer than two choices of one that sees everything."""
    least, least_error = mean_ms(20, 0.8, 6000, policy="least_outstanding")
    blind, blind_error = mean_ms(20, 0.8, 6000, policy="least_outstanding", balancers=10)
    two, two_error = mean_ms(20, 0.8, 6000, policy="two_choices")
    assert least + least_error < two - two_error
    assert blind - blind_error > two + two_error
    assert blind - blind_error > 2 * (least + least_error)


def test_balancers_with_the_same_old_news_are_a_herd() -> None:
    """Ten balancers that hear every 2 ms what the servers have, which is two run times: all send to
    the server that was best. That is worse than to look at nothing, and two choices stay good."""
    old = {"balancers": 10, "report_interval_micros": 2000}
    least, least_error = mean_ms(20, 0.8, 6000, policy="least_outstanding", **old)
    two, two_error = mean_ms(20, 0.8, 6000, policy="two_choices", **old)
    random, random_error = mean_ms(20, 0.8, 6000, policy="random", **old)
    assert least - least_error > 2 * (random + random_error)
    assert two + two_error < random - random_error


def test_a_slower_way_adds_itself_to_every_answer() -> None:
    near = fleet(3, 0.5, 5000, seed=2, policy="round_robin")
    far = fleet(
        3, 0.5, 5000, seed=2, policy="round_robin", to_server_micros=400, from_server_micros=100
    )
    assert np.allclose(far.done - near.done, 500e-6, atol=1e-9)
