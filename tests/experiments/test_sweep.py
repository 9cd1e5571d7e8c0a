"""Sweeps of a real server: what they measure, keep, restore and refuse."""

from __future__ import annotations

import pytest

import workbench as wb
from workbench.core.batching_parameters import BatchingParameters
from workbench.core.status import Code, ServingError
from workbench.experiments.point import Point
from workbench.experiments.settings import slots_of
from workbench.experiments.store import Store
from workbench.experiments.sweep import predicted_seconds, sweep
from workbench.experiments.sweep_result import SweepResult


def test_a_sweep_measures_every_combination_and_restores_the_server(
    served_digits: wb.Server,
) -> None:
    before = BatchingParameters(max_batch_size=7, batch_timeout_micros=123)
    served_digits.batching = before
    seen: list[Point] = []

    result = served_digits.sweep(
        batch_timeout_micros=[0, 2000],
        max_batch_size=[8, 16],
        num_batch_threads=3,
        rate=[300.0],
        seconds=0.5,
        progress=False,
        on_point=seen.append,
    )

    settings = [
        (p.parameters["max_batch_size"], p.parameters["batch_timeout_micros"], p.slots, p.load)
        for p in result.points
    ]
    assert settings == [
        (size, timeout, 3, {"rate": 300.0}) for size in (8, 16) for timeout in (0, 2000)
    ]
    assert sorted(map(id, seen)) == sorted(map(id, result.points))
    assert [p.samples > 50 for p in result.points] == [True] * 4
    assert all(p.run > 0 and p.memory_bytes and p.memory_bytes > 0 for p in result.points)
    # With a delay of 2 ms at 300 requests/s no batch is ever taken for being idle.
    assert [p.reasons.get("executor_idle", 0) > 0 for p in result.points] == [True, False] * 2
    assert (result.where, result.arrivals, result.interrupted) == ("engine", "poisson", False)
    assert (served_digits.batching, slots_of(served_digits)) == (before, 2)
    # It was kept, and comes back the same.
    assert result.number is not None
    assert wb.load_experiment(result.number) == result
    assert wb.history("digits")["kind"].tolist() == ["sweep"]


def test_automatic_batching_comes_back_too(served_digits: wb.Server) -> None:
    served_digits.batching = None

    sweep(served_digits, clients=2, seconds=0.2, keep=False, progress=False)

    assert served_digits.batching is None


def test_over_rest_load_comes_from_another_process(served_digits: wb.Server) -> None:
    result = sweep(served_digits, clients=2, seconds=0.3, where="rest", keep=False, progress=False)

    (point,) = result.points
    assert (result.where, result.arrivals, point.clients) == ("rest", "closed", 2)
    assert point.failures == {}
    assert point.samples > 10


def test_an_interrupted_sweep_keeps_what_was_measured(served_digits: wb.Server) -> None:
    served_digits.batching = None

    def interrupt(point: Point) -> None:
        raise KeyboardInterrupt

    result = sweep(
        served_digits,
        batch_timeout_micros=[0, 1000],
        rate=100,
        seconds=0.2,
        keep=True,
        progress=False,
        on_point=interrupt,
    )

    assert (len(result.points), result.interrupted) == (1, True)
    assert served_digits.batching is None
    with Store() as store:
        assert SweepResult.from_json(store.get(result.number or 0)[1], result.number) == result


def test_the_same_seed_offers_the_same(served_digits: wb.Server) -> None:
    def offered(seed: int) -> float:
        result = sweep(served_digits, rate=500, seconds=0.4, seed=seed, keep=False, progress=False)
        return result.points[0].offered

    assert offered(1) == offered(1)
    assert offered(1) != offered(2)


@pytest.mark.parametrize("load", [{}, {"rate": 1, "clients": 1}])
def test_either_an_open_or_a_closed_loop(served_digits: wb.Server, load: dict[str, int]) -> None:
    with pytest.raises(ServingError) as refused:
        served_digits.sweep(**load)
    assert refused.value == ServingError(
        Code.INVALID_ARGUMENT, "Give either rate (an open loop) or clients (a closed loop)"
    )


def test_load_enters_where_it_can(served_digits: wb.Server) -> None:
    with pytest.raises(ServingError) as refused:
        served_digits.sweep(rate=1, where="smtp")
    assert str(refused.value) == "Load can enter at 'engine' or 'rest'; was 'smtp'"


def test_the_time_is_known_beforehand() -> None:
    assert predicted_seconds(20, 2.0, "engine") == pytest.approx(52)
