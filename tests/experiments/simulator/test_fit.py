"""From a calibration's measurements to run times: a made-up server is found again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.simulator.fit import Full, Measured, capacity, fitted
from workbench.experiments.simulator.hiccups import Hiccups
from workbench.experiments.simulator.loop_costs import LoopCosts
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.experiments.simulator.simulate import simulate, simulate_closed, steady_rate
from workbench.load.arrivals import poisson

SIZES = (1, 4, 16, 64)
BATCH, REQUEST = 40.0, 5.0


def test_a_line_through_the_costs_separates_batches_from_requests() -> None:
    found = LoopCosts.fitted({n: BATCH + REQUEST * n for n in SIZES})

    assert (found.batch_micros, found.request_micros) == pytest.approx((BATCH, REQUEST))
    steps = found.steps()
    assert steps["start_micros"] + steps["end_micros"] == pytest.approx(BATCH)
    each = ("arrival_micros", "start_request_micros", "answer_micros")
    assert sum(steps[name] for name in each) == pytest.approx(REQUEST)


def test_no_cost_is_negative() -> None:
    only = LoopCosts.fitted({8: 80.0})
    assert (only.batch_micros, only.request_micros) == (0.0, 10.0)
    steep = LoopCosts.fitted({1: 5.0, 100: 1000.0})
    assert steep.batch_micros == 0.0
    assert steep.request_micros > 0
    with pytest.raises(ValueError, match="at least one measured size"):
        LoopCosts.fitted({})


def made_up(executor_micros: float) -> Measured:
    """A server whose batches take this long and 2 us a row, in two slots half as long again."""
    costs = LoopCosts(BATCH, REQUEST)
    alone = {rows: executor_micros + 2.0 * rows for rows in SIZES}
    full = {}
    for flight, slower in ((1, 1.0), (2, 1.5)):
        for rows in SIZES:
            true = ServiceTime.from_samples({(flight, rows): [alone[rows] * slower]})
            true = ServiceTime(true.rows, true.micros, **costs.steps(), loop_spread=0.5)
            callers = 2 * flight * rows
            rate = capacity(true, flight, rows, callers, 1)
            busy = min(rate / rows * (BATCH + REQUEST * rows) / 1e6, 1.0)
            # The slots are held for longer than the batch takes: the loop is busy with others.
            held = np.full(50, round(2 * alone[rows] * slower))
            full[flight, rows] = Full(np.full(50, round(alone[rows])), held, callers, rate, busy)
    return Measured(
        slot_micros={rows: np.full(50, round(alone[rows] + 20)) for rows in SIZES},
        run_micros={rows: np.full(50, round(alone[rows])) for rows in SIZES},
        rested_micros={rows: np.full(50, 900) for rows in SIZES},
        rested_loop_micros={rows: BATCH + (REQUEST + 12.0) * rows for rows in SIZES},
        full=full,
        wake_micros=np.array([20.0, 40.0]),
        hiccups=Hiccups(),
    )


@pytest.mark.parametrize("executor_micros", [60.0, 2000.0])
def test_the_simulated_capacity_is_the_measured_one(executor_micros: float) -> None:
    measured = made_up(executor_micros)

    service = fitted(measured)

    for (flight, rows), full in measured.full.items():
        found = capacity(service, flight, rows, full.callers, 1)
        assert found == pytest.approx(full.per_second, rel=0.04)
    assert service.wake_cost_micros == pytest.approx(12.0, rel=0.1)
    assert service.median(1, 0) == 900


def test_a_size_that_costs_the_loop_more_than_its_share_keeps_that() -> None:
    measured = made_up(60.0)
    full = dict(measured.full)
    # Its requests do not fit into a cache, for example; the loop is the limit.
    assert full[2, 64].busy_share > 0.9
    full[2, 64] = replace(full[2, 64], per_second=full[2, 64].per_second * 0.8)

    service = fitted(replace(measured, full=full))

    for rows in (16, 64):
        found = capacity(service, 2, rows, full[2, rows].callers, 1)
        assert found == pytest.approx(full[2, rows].per_second, rel=0.04)
    assert service.loop_slowing is not None
    assert service.loop_slowing[1, 3] > 1.15 * service.loop_slowing[1, 2]


@pytest.mark.parametrize("executor_micros", [60.0, 2000.0])
@pytest.mark.parametrize("delay_micros", [0, 5000])
def test_at_90_percent_of_the_capacity_it_predicts_the_true_server(
    executor_micros: float, delay_micros: int
) -> None:
    times = {
        (flight, rows): [slower * (executor_micros + 2.0 * rows) + 20]
        for flight, slower in ((1, 1.0), (2, 1.5))
        for rows in SIZES
    }
    true = replace(
        ServiceTime.from_samples(times), **LoopCosts(BATCH, REQUEST).steps(), loop_spread=0.5
    )
    # The true server knows no sleep.
    asleep = {"rested_micros": None, "wake_cost_micros": 0.0, "wake_micros": np.zeros(1)}
    service = replace(fitted(made_up(executor_micros)), **asleep)
    rate = 0.9 * capacity(true, 2, 64, 256, 1)
    parameters = BatchingParameters(
        max_batch_size=64, batch_timeout_micros=delay_micros, max_enqueued_batches=1000
    )
    arrivals = poisson(rate, seed=1, count=40_000)

    truth, found = (
        simulate(parameters, arrivals, each, 2, seed=2).summary() for each in (true, service)
    )

    assert found["achieved_per_s"] == pytest.approx(rate, rel=0.03)
    # Here an error of the capacity counts up to ten times.
    assert found["latency_s"][99.0] == pytest.approx(truth["latency_s"][99.0], rel=0.25)


@pytest.mark.parametrize(("processors", "slots"), [(1, 3), (2, 8), (64, 3)])
def test_other_machines_and_other_numbers_of_slots(processors: int, slots: int) -> None:
    measured = made_up(2000.0)
    full = {**measured.full, **{(slots, n): measured.full[2, n] for n in SIZES}}

    service = fitted(replace(measured, full=full, processors=processors))

    assert (service.in_flight, service.processors) == (slots, processors)
    assert service.loop_slowing is not None
    assert service.loop_slowing.shape == (slots, len(SIZES))
    setting = BatchingParameters(max_batch_size=16, num_batch_threads=slots)
    assert simulate_closed(setting, 40, service, slots, requests=400).answered.all()


def test_large_batches_are_simulated_in_pieces() -> None:
    service = ServiceTime(
        np.array([1, 256]),
        np.array([[[500.0], [3000.0]]] * 2),
        arrival_micros=4.0,
        answer_micros=3.0,
        start_micros=30.0,
    )
    setting = BatchingParameters(256, 300_000, 10)
    whole = simulate_closed(setting, 1024, service, 2, requests=40_000)

    found = capacity(service, 2, 256, 1024, 1)

    assert found == pytest.approx(steady_rate(whole.done, 1024), rel=0.02)
    # Requests of two rows, of which there are an odd number in a batch.
    assert capacity(service, 2, 254, 508, 2) == pytest.approx(2 * 127 / 2980e-6, rel=0.03)


def test_a_batch_alone_is_not_slowed_by_what_slows_a_full_server() -> None:
    service = fitted(made_up(2000.0))

    assert [service.median(rows) for rows in (1, 64)] == pytest.approx([2022, 2148], rel=0.01)
    assert service.median(64, 2) == pytest.approx(2128 * 1.5, rel=0.1)


def test_sizes_in_between_need_no_measurement_alone() -> None:
    measured = made_up(2000.0)
    few = (1, 16, 64)
    names = ("slot_micros", "run_micros", "rested_micros", "rested_loop_micros")
    fewer = {name: {n: getattr(measured, name)[n] for n in few} for name in names}

    service = fitted(replace(measured, **fewer))

    assert service.rows.tolist() == list(SIZES)
    # Its own run time, and the way of its neighbours.
    assert service.median(4) == pytest.approx(2028, rel=0.01)
    assert 850 < service.median(4, 0) < 950
