"""The calibration model: interpolation, extrapolation, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workbench.experiments.simulator.hiccups import Hiccups
from workbench.experiments.simulator.service_time import LEVELS, ServiceTime, sizes_up_to


def test_between_and_beyond_the_measured_sizes_it_is_linear() -> None:
    model = ServiceTime.from_samples({(1, 1): [100.0], (1, 4): [160.0]})

    assert [model.median(rows) for rows in (1, 2, 4, 10)] == pytest.approx([100, 120, 160, 280])


def test_each_number_in_flight_has_its_own_times() -> None:
    model = ServiceTime.from_samples({(1, 1): [100.0], (4, 1): [200.0]})

    assert [model.median(1, flight) for flight in (1, 2, 3, 4, 9)] == pytest.approx(
        [100, 100 + 100 / 3, 100 + 200 / 3, 200, 200]
    )


def test_the_spread_is_kept() -> None:
    times = np.random.default_rng(0).exponential(1000, 20_000)

    model = ServiceTime.from_samples({(1, 1): times})

    assert model.micros.shape == (1, 1, LEVELS)
    assert model.mean(1) == pytest.approx(1000, rel=0.03)
    assert model.median(1) == pytest.approx(693, rel=0.03)


def test_capacity_is_of_the_executors_or_of_the_loop() -> None:
    assert ServiceTime.linear(1000).capacity(32, 2) == 64_000
    loop = ServiceTime(np.array([1]), np.array([[[10.0]]]), 15.0, 5.0)
    assert loop.capacity(8, 2) == 50_000
    assert loop.capacity(8, 2, requests=1) == 400_000


def test_a_batch_costs_the_loop_something_too() -> None:
    loop = ServiceTime(
        np.array([1]), np.array([[[10.0]]]), 15.0, 5.0, start_micros=30.0, end_micros=10.0
    )
    assert loop.loop_micros(2) == 80
    assert [loop.capacity(rows, 2) for rows in (1, 2, 100)] == pytest.approx(
        [1e6 / 60, 2e6 / 80, 100e6 / 2040]
    )


def test_a_quicker_machine_takes_a_share_of_the_time() -> None:
    model = ServiceTime.from_samples({(0, 1): [50.0], (1, 1): [40.0]}, arrival_micros=6.0)

    half = model.scaled(0.5)

    assert (half.median(1), half.median(1, 0), half.arrival_micros) == (20, 25, 3)
    assert model.median(1) == 40


def test_it_survives_json() -> None:
    model = ServiceTime.from_samples(
        {(1, 1): [100.0, 120.0], (1, 4): [160.0, 200.0]}, arrival_micros=5.0, answer_micros=4.0
    )

    again = ServiceTime.from_json(model.to_json())

    assert again.to_json() == model.to_json()
    assert again.median(3) == pytest.approx(model.median(3), abs=0.1)


def test_the_loop_is_slower_with_more_in_flight_and_with_more_rows() -> None:
    model = ServiceTime(
        np.array([1, 5]),
        np.full((2, 2, 1), 10.0),
        arrival_micros=20.0,
        loop_slowing=np.array([[1.0, 2.0], [1.5, 3.0]]),
    )

    assert model.loop_factors(6) == [
        [1.0, 1.0, 1.25, 1.5, 1.75, 2.0, 2.0],
        [1.0, 1.0, 1.25, 1.5, 1.75, 2.0, 2.0],
        [1.5, 1.5, 1.875, 2.25, 2.625, 3.0, 3.0],
    ]
    assert [model.capacity(5, slots) for slots in (1, 2, 3)] == pytest.approx(
        [1e6 / 40, 1e6 / 60, 1e6 / 60]
    )
    again = ServiceTime.from_json(model.to_json())
    assert again.to_json() == model.to_json()
    assert again.loop_factors(6) == model.loop_factors(6)


def test_two_measurements_have_a_geometric_mean() -> None:
    """What the machine has become slower by counts half at once, and the rest by its weight."""
    one = ServiceTime.from_samples({(0, 1): [400.0], (1, 1): [100.0]}, arrival_micros=1.0)
    other = replace(one.scaled(16.0), loop_slowing=np.array([[2.0]]), hiccups=Hiccups())

    found = one.refined(other, 0.25)

    logarithm = np.log(16) * (0.25 + 0.75 * 0.5)
    assert found.median(1) == pytest.approx(100 * np.exp(logarithm))
    assert found.median(1, 0) == pytest.approx(400 * np.exp(logarithm))
    assert found.arrival_micros == pytest.approx(4.75)
    # Known only to one of them.
    assert found.loop_factors(1)[1] == [2.0, 2.0]
    assert found.answer_micros == 0
    # The loop's costs may be 0.
    free = one.refined(replace(one, arrival_micros=0.0), 0.25)
    assert free.arrival_micros == pytest.approx(0.75)


def test_what_only_one_size_took_longer_counts_by_its_weight() -> None:
    rows = np.array([1, 4, 16])
    one = ServiceTime(rows, np.array([[[100.0], [200.0], [300.0]]]))
    # In the middle of the logarithms, and no change of all of them.
    chance = ServiceTime(rows, one.micros * np.array([0.5, 4.0, 0.5])[None, :, None])
    assert one.refined(chance, 0.25).median(4) == pytest.approx(200 * 4**0.25)
    # More rows, more slowly: that is the machine.
    uneven = ServiceTime(rows, one.micros * np.array([1.0, 4.0, 16.0])[None, :, None])
    found = one.refined(uneven, 0.25)
    assert found.median(1) == pytest.approx(100)
    assert found.median(16) == pytest.approx(300 * 16 ** (0.25 + 0.75 * 0.5))


def test_it_refuses_what_is_no_model() -> None:
    with pytest.raises(ValueError) as incomplete:
        ServiceTime.from_samples({(1, 1): [1.0], (2, 2): [1.0]})
    assert str(incomplete.value) == (
        "Measure every number of rows for every number of batches in flight"
    )
    with pytest.raises(ValueError) as order:
        ServiceTime(np.array([2, 1]), np.ones((1, 2, 1)))
    assert str(order.value) == "rows must increase from 1; were [2, 1]"
    with pytest.raises(ValueError) as shape:
        ServiceTime(np.array([1]), np.ones((1, 2, 1)))
    assert str(shape.value) == "micros must have shape (in flight, 1, quantiles); has (1, 2, 1)"


def test_sizes_double_up_to_the_limit() -> None:
    assert list(sizes_up_to(1)) == [1]
    assert list(sizes_up_to(6)) == [1, 2, 4, 6]
    assert list(sizes_up_to(64)) == [1, 2, 4, 8, 16, 32, 64]
