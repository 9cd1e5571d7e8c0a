"""The simulator against queueing theory, and against the live algorithm's known histories."""

from __future__ import annotations

import math

import numpy as np
import pytest

from workbench.core.batching_parameters import BatchingParameters
from workbench.core.status import ServingError
from workbench.experiments.service_time import ServiceTime
from workbench.experiments.simulate import SimulationResult, curve, simulate, simulate_closed
from workbench.load.arrivals import constant, poisson

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


@pytest.mark.parametrize("timeout", [0, 5000])
def test_requests_in_the_system_obey_littles_law(timeout: int) -> None:
    parameters = BatchingParameters(max_batch_size=16, batch_timeout_micros=timeout)
    result = simulate(
        parameters, poisson(4000, seed=2, count=50_000), ServiceTime.linear(800, 60), 2, seed=1
    )

    assert result.answered.all()
    # Time-averaged count from the steps at arrivals and answers, without using latencies.
    times = np.concatenate([result.arrived, result.done])
    steps = np.repeat([1, -1], len(result.arrived))
    order = np.argsort(times, kind="stable")
    inside = np.cumsum(steps[order])[:-1]
    span = times.max() - times.min()
    mean_inside = float((inside * np.diff(times[order])).sum() / span)
    assert mean_inside == pytest.approx(len(result.arrived) / span * result.latency.mean())


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
