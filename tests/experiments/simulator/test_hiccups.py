"""What holds the machine up: measured, kept, and put into simulated time."""

from __future__ import annotations

import json

import numpy as np
import pytest

from workbench.core.batching.parameters import BatchingParameters
from workbench.experiments.simulator.hiccups import (
    SHORTEST_MICROS,
    Hiccups,
    Met,
    Timeline,
    uninterrupted,
)
from workbench.experiments.simulator.service_time import ServiceTime
from workbench.experiments.simulator.simulate import simulate
from workbench.load.arrivals import constant, poisson


class Fixed(Timeline):
    """From 100 to 150, from 300 to 400, and then not for a long time."""

    def __init__(self) -> None:
        super().__init__(Hiccups(1.0, np.array([1.0])), np.random.default_rng(0))

    def _draw(self) -> None:
        start = self._ends[-1] + 10**9 if self._ends else 100
        self._starts += [start, start + 200]
        self._ends += [start + 50, start + 300]


@pytest.mark.parametrize(
    ("start", "work", "end"),
    [
        (0, 0, 0),
        (0, 99, 99),
        (0, 100, 150),  # held up at the very end
        (0, 120, 170),
        (0, 260, 410),  # twice
        (120, 0, 150),  # begins in the middle of one
        (120, 30, 180),
        (150, 100, 250),
        (399, 1, 401),
        (400, 1000, 1400),
    ],
)
def test_work_that_is_held_up_ends_later(start: int, work: int, end: int) -> None:
    assert Fixed().end_of(start, work) == end


def test_nobody_needs_to_ask_while_it_is_calm() -> None:
    timeline = Fixed()
    assert timeline.calm_until == 0
    timeline.end_of(0, 50)
    assert timeline.calm_until == 100
    assert timeline.end_of(90, 20) == 160
    # Other work on the same processor begins before that ends, and meets the same hiccup.
    assert timeline.calm_until == 100
    assert timeline.end_of(95, 10) == 155
    timeline.end_of(150, 20)
    assert timeline.calm_until == 300


def test_without_hiccups_everything_ends_in_time() -> None:
    never = Timeline(Hiccups(), np.random.default_rng(0))
    assert never.end_of(10**12, 5) == 10**12 + 5
    assert never.calm_until > 10**12


def test_they_come_as_often_and_last_as_long_as_measured() -> None:
    hiccups = Hiccups(20.0, np.array([1000.0, 3000.0]))
    hour = 3600 * 10**6

    done = Timeline(hiccups, np.random.default_rng(4)).end_of(0, hour)

    # 20 a second of calm time, 2 ms each in the mean.
    assert done / hour == pytest.approx(1 + 20 * 2e-3, rel=0.005)


def test_what_is_late_by_more_than_usual_is_a_hiccup() -> None:
    found = Hiccups.from_late([30.0, SHORTEST_MICROS, 1500.0, 40.0, 7000.0], 0.5)
    assert (found.per_second, found.micros.tolist()) == (4.0, [1500.0, 7000.0])
    many = Hiccups.from_late(np.arange(2000.0, 4000.0), 10.0)
    assert (many.per_second, len(many.micros)) == (200.0, 100)
    assert many.micros.mean() == pytest.approx(2999.5)
    assert Hiccups.from_late([], 1.0).per_second == 0


def test_runs_into_which_one_fell_are_left_out() -> None:
    assert uninterrupted([100, 110, 120, 1200, 1230, 9000]).tolist() == [100, 110, 120, 1200, 1230]
    model = ServiceTime.from_samples(
        {(1, 1): [100.0] * 99 + [5000.0]}, hiccups=Hiccups(1.0, np.array([4900.0]))
    )
    assert model.micros.max() == 100
    assert ServiceTime.from_samples({(1, 1): [100.0] * 9 + [5000.0]}).micros.max() > 4000


def test_they_survive_json_and_old_calibrations_have_none() -> None:
    model = ServiceTime.from_samples(
        {(0, 1): [120.0], (1, 1): [100.0]}, hiccups=Hiccups(3.5, np.array([1234.5, 2000.0]))
    )
    data = json.loads(json.dumps(model.to_json(), allow_nan=False))
    again = ServiceTime.from_json(data)
    assert again.to_json() == model.to_json()
    assert (again.hiccups.per_second, again.hiccups.micros.tolist()) == (3.5, [1234.5, 2000.0])
    assert again.quantiles(1, 0).max() == 120

    # Later versions of it kept hiccups of executors.
    data["interruptions"] = data["crowded"] = {"per_second": 1.0, "micros": [1000.0]}
    for name in (
        *("hiccups", "rested_micros", "following_micros", "processors", "wake_cost_micros"),
        *("start_micros", "end_micros", "start_request_micros"),
    ):
        del data[name]
    old = ServiceTime.from_json(data)
    assert old.hiccups.per_second == 0
    assert old.rested_micros is None
    assert old.quantiles(1, 0).tolist() == old.quantiles(1, 1).tolist()


def test_no_hiccups_change_nothing_and_some_make_the_tail() -> None:
    parameters = BatchingParameters(max_batch_size=8)
    arrivals = poisson(2000, seed=3, count=20_000)

    def latency(hiccups: Hiccups) -> np.ndarray:
        rows, micros = np.array([1]), np.array([[[100.0]]])
        model = ServiceTime(rows, micros, 4.0, 3.0, hiccups=hiccups)
        return simulate(parameters, arrivals, model, 2, seed=5).latency

    none = latency(Hiccups())
    assert none.tolist() == latency(Hiccups(0.0, np.array([9000.0]))).tolist()
    some = latency(Hiccups(5.0, np.array([4000.0])))
    assert np.median(some) == pytest.approx(np.median(none), rel=0.01)
    assert np.quantile(none, 0.99) < 0.001
    # Five times a second, for 4 ms, for the loop and for each executor: some percent of requests.
    assert 0.002 < np.quantile(some, 0.99) < 0.005


def test_batches_that_overlap_met_the_same_hiccup() -> None:
    taken_at = np.arange(0, 100_000, 500)
    slot = np.full(len(taken_at), 400)
    # Three at once, and one alone later.
    slot[40:43] = [4000, 3800, 3300]
    slot[150] = 2400
    # Records come in the order in which batches ended.
    order = np.argsort(taken_at + slot)

    met = Met.by_batches(taken_at[order], slot[order], 0.1, 2)

    assert met.late_micros.tolist() == [3600.0, 2000.0]
    assert met.processor_seconds == 0.2


def test_long_batches_and_none_say_nothing_of_hiccups() -> None:
    for slot in (np.full(50, 1500), np.zeros(0, np.int64)):
        met = Met.by_batches(np.arange(len(slot)) * 2000, slot, 0.1, 2)
        assert (met.late_micros.tolist(), met.processor_seconds) == ([], 0.0)


def test_hiccups_are_counted_for_each_processor() -> None:
    found = Hiccups.pooled([Met(np.array([2000.0, 5000.0]), 0.6), Met(np.zeros(0), 0.4)])
    assert (found.per_second, found.micros.tolist()) == (2.0, [2000.0, 5000.0])


def test_refined_hiccups_have_as_many_delays_of_each_as_there_were() -> None:
    found = Hiccups(4.0, np.array([2000.0])).refined(Hiccups(1.0, np.array([9000.0])), 1 / 3)
    assert found.per_second == 3.0
    # One of nine was new.
    assert (found.micros == 9000.0).mean() == pytest.approx(1 / 9, abs=0.01)
    assert set(found.micros) == {2000.0, 9000.0}
    none = Hiccups().refined(Hiccups(), 0.5)
    assert (none.per_second, len(none.micros)) == (0.0, 0)
    first = Hiccups().refined(Hiccups(3.0, np.array([1500.0])), 0.5)
    assert (first.per_second, set(first.micros)) == (1.5, {1500.0})


def test_a_hiccup_holds_up_all_executors_of_its_processor() -> None:
    parameters = BatchingParameters(max_batch_size=1, max_enqueued_batches=100)
    arrivals = constant(2000, count=8000)

    def episodes(processors: int) -> float:
        """The mean number of batches that are held up together."""
        model = ServiceTime(
            np.array([1]),
            np.array([[[1400.0]]]),
            hiccups=Hiccups(4.0, np.array([5000.0])),
            processors=processors,
        )
        result = simulate(parameters, arrivals, model, 3, seed=2)
        late = np.sort(result.started[result.ended - result.started > 4e-3])
        return len(late) / (1 + int((np.diff(late) > 5e-3).sum()))

    # One processor for the loop and one for all three executors; or one for each.
    assert episodes(2) > 1.5 * episodes(4)


def test_a_batch_after_a_pause_takes_its_own_time() -> None:
    model = ServiceTime.from_samples({(0, 1): [500.0], (1, 1): [100.0], (2, 1): [200.0]})
    one = BatchingParameters(max_batch_size=1, max_enqueued_batches=9)

    arrivals = np.array([0.0, 0.0006, 0.0025, 0.00251])
    result = simulate(one, arrivals, model, 2)

    # After a long pause; soon after the last; after a longer pause, slowed by the one beside it.
    took = np.rint((result.ended - result.started) * 1e6).tolist()
    assert took[:2] == [500, 175]
    assert 500 < took[2] < 700
    assert took[3] == 200
    quick = simulate(one, constant(10_000, count=5), model, 1)
    assert np.rint((quick.ended - quick.started) * 1e6).tolist() == [500, 100, 100, 100, 100]
