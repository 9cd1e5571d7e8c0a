"""The simulator against queueing theory, and against the live algorithm's known histories."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import ServingError
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.experiments.simulator.simulate import (
    SimulationResult,
    curve,
    simulate,
    simulate_closed,
    steady_rate,
)
from workbench.load.arrivals import constant, poisson
from workbench.load.intervals import group_size, quantile_interval

SINGLES = BatchingParameters(max_batch_size=1, max_enqueued_batches=1_000_000)
WITHIN = 0.05
"""What 120 000 simulated requests may differ from the formulas in relative terms."""


def single_server(service: ServiceTime, rho: float) -> SimulationResult:
    rate = rho / service.mean(1) * 1e6
    return simulate(SINGLES, poisson(rate, seed=11, count=120_000), service, 1, seed=3)


@pytest.mark.parametrize("rho", [0.3, 0.7])
def test_waits_of_fixed_run_times_are_those_of_m_d_1(rho: float) -> None:
    result = single_server(ServiceTime.linear(1000), rho)

    expected = rho / (2 * (1 - rho)) * 1e-3  # Pollaczek and Khinchine, no variance
    assert result.queued.mean() == pytest.approx(expected, rel=WITHIN)
    assert result.summary()["occupancy"] == pytest.approx(rho, rel=WITHIN)


@pytest.mark.parametrize("rho", [0.3, 0.7])
def test_times_in_system_of_exponential_run_times_are_those_of_m_m_1(rho: float) -> None:
    result = single_server(ServiceTime.exponential(1000), rho)

    mean = 1e-3 / (1 - rho)
    assert result.latency.mean() == pytest.approx(mean, rel=WITHIN)
    # The time in the system is exponential itself.
    assert np.quantile(result.latency, 0.99) == pytest.approx(mean * math.log(100), rel=0.08)


def test_two_slots_are_m_m_2() -> None:
    rho = 0.7
    result = simulate(
        SINGLES,
        poisson(2 * rho * 1000, seed=5, count=120_000),
        ServiceTime.exponential(1000),
        2,
        seed=7,
    )

    a = 2 * rho
    waits = (a**2 / 2 / (1 - rho)) / (1 + a + a**2 / 2 / (1 - rho))  # Erlang C
    assert result.queued.mean() == pytest.approx(waits * 1e-3 / (2 * (1 - rho)), rel=WITHIN)


def mean_inside(entered: np.ndarray, left: np.ndarray) -> float:
    """How many are inside, averaged over time, from the moments at which somebody enters or
    leaves."""
    times = np.concatenate([entered, left])
    steps = np.repeat([1, -1], len(entered))
    order = np.argsort(times, kind="stable")
    inside = np.cumsum(steps[order])[:-1]
    return float((inside * np.diff(times[order])).sum() / (times.max() - times.min()))


def test_slots_held_obey_littles_law() -> None:
    """Slots in use, counted over time, are the rate that was offered times the mean run time that
    was given; neither is taken from the result."""
    rate, mean_seconds = 1400.0, 1e-3
    result = simulate(
        SINGLES, poisson(rate, seed=2, count=120_000), ServiceTime.exponential(1000), 2, seed=1
    )

    assert mean_inside(result.started, result.ended) == pytest.approx(
        rate * mean_seconds, rel=WITHIN
    )


@pytest.mark.parametrize("size", [2, 16])
def test_requests_that_wait_for_company_obey_littles_law(size: int) -> None:
    """Where batches go when they are full and never wait for a slot, the open batch holds from 0 to
    size - 1 requests, each as often: (size - 1) / 2 of them in the mean, whatever the rate."""
    rate = 3000.0
    never = BatchingParameters(max_batch_size=size, batch_timeout_micros=3600 * 10**6)
    result = simulate(never, poisson(rate, seed=8, count=size * 8000), ServiceTime.linear(50), 64)

    waiting = mean_inside(result.arrived, result.started[result.batch])
    assert waiting == pytest.approx((size - 1) / 2, rel=WITHIN)
    # And by Little's law each waits for that number divided by the rate.
    assert result.queued.mean() == pytest.approx((size - 1) / 2 / rate, rel=WITHIN)


@pytest.mark.parametrize("rho", [0.3, 0.7])
def test_poisson_arrivals_see_time_averages(rho: float) -> None:
    """PASTA: what an arrival finds is what is there in the mean, and that is rho / (1 - rho) in
    M/M/1."""
    result = single_server(ServiceTime.exponential(1000), rho)

    gone = np.searchsorted(np.sort(result.done), result.arrived, side="right")
    found = np.arange(len(result.arrived)) - gone
    expected = rho / (1 - rho)
    assert found.mean() == pytest.approx(expected, rel=0.08)
    assert mean_inside(result.arrived, result.done) == pytest.approx(expected, rel=0.08)
    # The share that finds nobody is the share of time in which nobody is there.
    assert (found == 0).mean() == pytest.approx(1 - rho, rel=WITHIN)


@pytest.mark.slow
def test_intervals_cover_the_truth_of_m_d_1() -> None:
    """Latencies of a queue are correlated over many requests. Of the intervals that a point would
    give for the 99th percentile, 95 % must hold the true one; of those for independent requests,
    not even 60 % do."""
    rho, runs = 0.7, 60

    def latencies(seed: int, count: int) -> np.ndarray:
        arrivals = poisson(rho * 1000, seed=seed, count=count)
        return simulate(SINGLES, arrivals, ServiceTime.linear(1000), 1).latency

    true = np.quantile(latencies(1, 300_000), 0.99)
    covered = naive = 0
    for seed in range(runs):
        sample = latencies(1000 + seed, 5000)
        numbers = np.arange(len(sample))
        together = group_size(sample[:1000], numbers[:1000])
        found = quantile_interval(sample, 0.99, batches=numbers // together, max_batch=together)
        covered += found.low <= true <= found.high
        alone = quantile_interval(sample, 0.99)
        naive += alone.low <= true <= alone.high
    assert covered >= 0.95 * runs
    assert naive < 0.6 * runs


@pytest.mark.parametrize("rho", [0.2, 0.5, 0.8])
def test_mean_latency_of_timeout_0_is_below_inoues_bound(rho: float) -> None:
    """Inoue, "Queueing analysis of GPU-based inference servers with dynamic batching: a
    closed-form characterization", arXiv:1912.06322: batches of all that waits, run time
    alpha * b + tau0, Poisson arrivals at lambda with rho = lambda * alpha < 1."""
    alpha, tau0 = 0.1e-3, 1e-3
    rate = rho / alpha
    result = simulate(
        BatchingParameters(max_batch_size=10_000),
        poisson(rate, seed=4, count=100_000),
        ServiceTime.linear(tau0 * 1e6, alpha * 1e6),
        1,
    )

    bound = inoue_bound(rate, alpha, tau0)
    mean = float(result.latency.mean())
    assert mean <= bound * 1.01
    # The paper calls the bound tight; it is within a tenth of what is simulated.
    assert mean >= 0.9 * bound


def inoue_bound(rate: float, alpha: float, tau0: float) -> float:
    """Theorem 2's closed form: the smaller of phi_0 and phi_1, in seconds."""
    rho = rate * alpha
    phi_0 = (alpha + tau0) / (2 * (1 - rho)) * (1 + 2 * rate * tau0 + (1 - rate * tau0) / (1 + rho))
    phi_1 = 1.5 * tau0 / (1 - rho) + 0.5 * alpha * (rho + 2) / (1 - rho**2)
    return min(phi_0, phi_1)


def test_a_full_batch_goes_at_once_and_the_rest_after_its_timeout() -> None:
    parameters = BatchingParameters(max_batch_size=2, batch_timeout_micros=1000)
    arrivals = np.array([0.0, 0.0001, 0.0002])

    result = simulate(parameters, arrivals, ServiceTime.linear(500), 2)

    assert result.batch.tolist() == [0, 0, 1]
    assert np.rint(result.started * 1e6).tolist() == [100, 1200]
    assert np.rint(result.done * 1e6).tolist() == [600, 600, 1700]
    assert result.reason_counts == {"full": 1, "timeout": 1}


def test_a_full_queue_rejects() -> None:
    parameters = BatchingParameters(max_batch_size=1, max_enqueued_batches=1)

    result = simulate(parameters, np.array([0.0, 0.0001, 0.0002]), ServiceTime.linear(1000), 1)

    assert result.answered.tolist() == [True, True, False]
    assert np.isnan(result.done[2])
    assert result.summary()["rejected_share"] == pytest.approx(1 / 3)


def test_requests_larger_than_any_batch_are_a_mistake() -> None:
    with pytest.raises(ServingError) as refused:
        simulate(
            BatchingParameters(max_batch_size=2),
            constant(1, count=1),
            ServiceTime.linear(1),
            1,
            rows=3,
        )
    assert str(refused.value) == "Task size 3 is larger than maximum input batch size 2"


def test_requests_of_several_sizes_fill_batches_by_their_rows() -> None:
    """Three requests of 1, 2 and 1 rows are a batch; one of 3 rows finds no room beside 2."""
    parameters = BatchingParameters(
        max_batch_size=4, batch_timeout_micros=1000, max_enqueued_batches=100
    )
    rows, arrivals = np.array([1, 2, 1, 2, 3]), np.arange(5) * 1e-6
    service = ServiceTime.linear(100, 10)
    result = simulate(parameters, arrivals, service, 1, rows=rows)
    assert result.answered.all()
    assert (result.sizes.tolist(), result.tasks.tolist()) == ([4, 2, 3], [3, 1, 1])
    assert result.rows == 1.8

    same = simulate(parameters, constant(3000, count=500), service, 1, rows=2, seed=4)
    each = simulate(parameters, constant(3000, count=500), service, 1, rows=np.full(500, 2), seed=4)
    assert np.array_equal(same.done, each.done)
    with pytest.raises(ServingError, match="Task size 5 is larger than maximum input batch size 4"):
        simulate(parameters, arrivals, service, 1, rows=np.array([1, 1, 5, 1, 1]))
    with pytest.raises(ServingError, match="there are 4 for 5 arrivals"):
        simulate(parameters, arrivals, service, 1, rows=np.ones(4, np.int64))


def test_padding_makes_a_batch_run_as_long_as_the_allowed_size() -> None:
    parameters = BatchingParameters(max_batch_size=8, allowed_batch_sizes=(4, 8))

    result = simulate(parameters, np.array([0.0]), ServiceTime.linear(0, 100), 1)

    assert result.padding.tolist() == [3]
    assert result.latency.tolist() == pytest.approx([400e-6])


def test_the_parts_of_a_split_request_end_with_the_last() -> None:
    parameters = BatchingParameters(
        max_batch_size=8, max_execution_batch_size=4, enable_large_batch_splitting=True
    )

    result = simulate(parameters, np.array([0.0]), ServiceTime.linear(0, 100), 1, rows=8)

    assert result.sizes.tolist() == [4, 4]
    assert result.latency.tolist() == pytest.approx([800e-6])


def test_closed_callers_share_full_batches() -> None:
    result = simulate_closed(
        BatchingParameters(max_batch_size=32), 64, ServiceTime.linear(1000), 2, requests=6400
    )

    # Two slots, each a full batch every millisecond.
    assert result.sizes.tolist() == [32] * 200
    assert result.reason_counts == {"full": 200}
    assert result.latency.tolist() == pytest.approx([1e-3] * 6400)


def test_too_few_callers_wait_out_every_timeout() -> None:
    parameters = BatchingParameters(max_batch_size=32, batch_timeout_micros=100_000)

    result = simulate_closed(parameters, 16, ServiceTime.linear(1000), 1, requests=160)

    assert result.reason_counts == {"timeout": 10}
    assert result.latency.tolist() == pytest.approx([0.101] * 160)


def test_the_event_loop_limits_what_executors_could_do() -> None:
    service = ServiceTime(np.array([1]), np.array([[[10.0]]]), 60.0, 40.0)

    result = simulate(
        BatchingParameters(max_enqueued_batches=100), constant(20_000, count=20_000), service, 2
    )

    assert len(result.arrived) / result.seconds == pytest.approx(10_000, rel=0.01)
    assert service.capacity(64, 2) == 10_000


def test_a_slowed_loop_takes_and_answers_fewer_requests() -> None:
    def rate(slowing: float) -> float:
        service = ServiceTime(
            np.array([1]),
            np.array([[[20.0]], [[20.0]]]),
            arrival_micros=4.3,
            answer_micros=3.2,
            start_micros=9.0,
            start_request_micros=1.0,
            loop_slowing=np.full((2, 1), slowing),
        )
        setting = BatchingParameters(max_batch_size=8, max_enqueued_batches=100_000)
        flood = simulate(setting, constant(300_000, count=60_000), service, 2)
        return 60_000 / flood.seconds

    quick, usual, slow = (rate(slowing) for slowing in (0.7, 1.0, 1.5))
    assert usual == pytest.approx(8e6 / (9 + 8 * 8.5), rel=0.05)
    # A batch that is alone is not slowed, so it is less than the factor.
    assert 1.1 < quick / usual < 1 / 0.7
    assert 1.1 < usual / slow < 1.5


def test_a_short_closed_loop_has_the_mean_of_all_run_times() -> None:
    service = ServiceTime.exponential(1000, levels=100)
    found = {
        steady_rate(simulate_closed(SINGLES, 2, service, 1, requests=400, seed=seed).done, 2)
        for seed in range(5)
    }
    assert len(found) > 1
    assert list(found) == pytest.approx([1000] * len(found), rel=0.03)


def test_the_same_seed_gives_the_same_run() -> None:
    def latencies(seed: int) -> list[float]:
        arrivals = poisson(800, seed=1, count=500)
        return simulate(
            SINGLES, arrivals, ServiceTime.exponential(1000), 1, seed=seed
        ).latency.tolist()

    assert latencies(1) == latencies(1)
    assert latencies(1) != latencies(2)


def test_a_curve_has_a_row_for_each_setting() -> None:
    settings = [
        (BatchingParameters(max_batch_size=64, batch_timeout_micros=timeout), rate)
        for timeout in (0, 2000)
        for rate in (500.0, 50_000.0)
    ]

    frame = curve(settings, ServiceTime.linear(500, 10), 1, requests=2000)

    assert frame["batch_timeout_micros"].tolist() == [0, 0, 2000, 2000]
    assert frame["offered_per_s"].tolist() == [500, 50_000, 500, 50_000]
    slow, fast = frame["p50_ms"][0], frame["p50_ms"][2]
    assert slow < 1 < 2 < fast  # a lone request waits for the whole timeout
    assert frame["batch_rows"][1] > 20 > 2 > frame["batch_rows"][0]


@pytest.mark.parametrize(("size", "slots"), [(1, 1), (64, 1), (64, 2), (256, 4)])
def test_a_steady_rate_counts_whole_batches(size: int, slots: int) -> None:
    parameters = BatchingParameters(max_batch_size=size, max_enqueued_batches=100)
    callers = 2 * slots * size

    result = simulate_closed(
        parameters, callers, ServiceTime.linear(10_000), slots, requests=8 * callers
    )

    assert steady_rate(result.done, callers) == pytest.approx(100 * slots * size, rel=1e-6)


def loop_only(**costs: float) -> ServiceTime:
    """Executors that take no time, so that only the event loop matters."""
    return ServiceTime(np.array([1]), np.array([[[1.0]]]), **costs)


def test_a_batch_costs_the_loop_its_start_and_its_end() -> None:
    service = loop_only(start_micros=60.0, end_micros=40.0, start_request_micros=10.0)
    parameters = BatchingParameters(max_batch_size=4, max_enqueued_batches=100)

    result = simulate_closed(parameters, 16, service, 1, requests=4000)

    # 100 us for each batch of four, and 10 us for each request.
    assert steady_rate(result.done, 16) == pytest.approx(4e6 / 140, rel=0.02)
    assert service.capacity(4, 1) == pytest.approx(4e6 / 140)


def test_an_arrival_that_wakes_the_loop_costs_it_more() -> None:
    slow = constant(100, count=200)
    quick = BatchingParameters(max_batch_size=1, max_enqueued_batches=100)
    service = ServiceTime(np.array([1]), np.array([[[300.0]]]), 5.0, 5.0, wake_cost_micros=500.0)
    # The batch begins when the loop has done with the wake-up.
    assert simulate(quick, slow, service, 1).latency.tolist() == pytest.approx([810e-6] * 200)


def test_a_loop_that_varies_answers_as_many_but_some_later() -> None:
    steady = loop_only(start_micros=60.0, end_micros=40.0, answer_micros=10.0)
    parameters = BatchingParameters(max_batch_size=4, max_enqueued_batches=100)

    even, varied = (
        simulate_closed(parameters, 16, service, 1, requests=20_000)
        for service in (steady, replace(steady, loop_spread=0.5))
    )

    assert steady_rate(varied.done, 16) == pytest.approx(steady_rate(even.done, 16), rel=0.05)
    assert np.quantile(varied.latency, 0.99) > 1.2 * np.quantile(even.latency, 0.99)


def test_the_loop_waits_for_a_processor_where_batches_take_all() -> None:
    def lateness(processors: int, running: int) -> float:
        """Mean microseconds from the arrival of a request, while so many batches run, to its
        batch."""
        service = ServiceTime(np.array([1]), np.array([[[1000.0]]]), processors=processors)
        begin = np.arange(1000.0)[:, None] * 0.01
        arrivals = begin + np.array([*[0.0] * running, 500e-6])
        result = simulate(SINGLES, arrivals.ravel(), service, 4)
        return float(result.queued[running :: running + 1].mean() * 1e6)

    # Two of three threads have a processor. The third waits for a run time on average.
    assert lateness(2, 2) == pytest.approx(1000 / 3, rel=0.2)
    assert lateness(1, 2) == pytest.approx(2 * 1000 / 3, rel=0.2)
    assert lateness(2, 1) == lateness(3, 2) == lateness(0, 3) == 0


def test_batches_that_run_together_slow_each_other() -> None:
    """The second begins when the first is half done: what is left takes twice as long."""
    service = ServiceTime.from_samples({(1, 1): [1000.0], (2, 1): [2000.0]})
    result = simulate(SINGLES, np.array([0.0, 500e-6]), service, 2)
    assert result.ended.tolist() == pytest.approx([1500e-6, 2000e-6])
    third = simulate(SINGLES, np.array([0.0, 500e-6, 2500e-6]), service, 2)
    assert third.ended.tolist() == pytest.approx([1500e-6, 2000e-6, 3500e-6])


def test_a_batch_that_follows_at_once_has_its_own_time() -> None:
    service = replace(ServiceTime.linear(100), following_micros=np.array([[300.0], [300.0]]))
    result = simulate(SINGLES, np.zeros(3), service, 1)
    took = np.rint((result.ended - result.started) * 1e6)
    assert took.tolist() == [100, 300, 300]
