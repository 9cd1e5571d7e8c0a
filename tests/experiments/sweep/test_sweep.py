"""Sweeps of a real server: what they measure, keep, restore and refuse."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import workbench as wb
from tests.experiments.sweep.test_point import latencies, window
from workbench.core.batching.parameters import BatchingParameters
from workbench.core.status import Code, ServingError, unavailable
from workbench.experiments.load.borrowed_settings import slots_of
from workbench.experiments.load.measure import Window, measure
from workbench.experiments.load.server_load import make_payload
from workbench.experiments.store.store import Store
from workbench.experiments.sweep import measuring as measuring_module
from workbench.experiments.sweep.diagnosis import diagnose
from workbench.experiments.sweep.point import Point, summarize
from workbench.experiments.sweep.sweep import predicted_seconds, sweep
from workbench.experiments.sweep.sweep_result import SweepResult
from workbench.experiments.sweep.time_budget import Trial
from workbench.load.arrivals import Schedule


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


def test_over_grpc_load_comes_from_another_process(served_digits: wb.Server) -> None:
    for load in ({"clients": 2}, {"rate": 100}):
        result = sweep(served_digits, **load, seconds=0.3, where="grpc", keep=False, progress=False)

        (point,) = result.points
        assert (result.where, point.load) == ("grpc", load)
        assert point.failures == {}
        assert point.samples > 10
        assert result.frame["where"].tolist() == ["grpc"]


def test_points_are_measured_in_an_order_that_the_seed_shuffles(
    served_digits: wb.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    orders = []
    for seed in (1, 1, 2):
        seen: list[int] = []
        sweep(
            served_digits,
            batch_timeout_micros=[0, 1, 2, 3, 4],
            clients=1,
            seconds=0.05,
            seed=seed,
            keep=False,
            progress=seed == 2,
            on_point=lambda point, seen=seen: seen.append(  # type: ignore[misc]
                point.parameters["batch_timeout_micros"]
            ),
        )
        orders.append(seen)

    assert orders[0] == orders[1] != orders[2]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders)
    assert [0, 1, 2, 3, 4] not in orders
    # The time it will take was said before anything was measured.
    assert capsys.readouterr().err.splitlines()[0] == "Measuring 5 points, engine: 1 s at most"


@pytest.mark.parametrize(("precision", "windows"), [(0.2, 1), (1e-9, 3)])
def test_a_point_that_is_certain_enough_stops_early(
    served_digits: wb.Server, monkeypatch: pytest.MonkeyPatch, precision: float, windows: int
) -> None:
    measured = []

    def made_up(*arguments: Any) -> Window:
        measured.append(arguments)
        return replace(window(latencies(seed=len(measured))), version=1)

    monkeypatch.setattr(measuring_module, "measure", made_up)

    result = sweep(
        served_digits, clients=4, seconds=3.0, precision=precision, keep=False, progress=False
    )

    p99 = result.points[0].latency["p99"]
    assert p99.bounded
    assert (p99.relative_width <= precision, len(measured)) == (windows == 1, windows)


def test_bursts_are_not_cut_into_windows(served_digits: wb.Server) -> None:
    shape = Schedule("bursty", 1.0, 1.0, burst=3.0, cycle_s=0.2)

    result = sweep(
        served_digits, rate=300, arrivals=shape, seconds=1.2, seed=7, keep=False, progress=False
    )

    (point,) = result.points
    whole = replace(shape, rate=300.0, duration_s=1.2, seed=7000)
    assert result.arrivals == "bursty"
    assert (point.seconds, point.offered) == (1.2, pytest.approx(len(whole.arrivals()) / 1.2))
    with pytest.raises(ServingError) as unknown:
        sweep(served_digits, rate=1, arrivals="monsoon")  # type: ignore[arg-type]
    assert unknown.value == ServingError(
        Code.INVALID_ARGUMENT,
        "unknown kind of schedule 'monsoon'; the kinds are constant, poisson, bursty, ramp, replay",
    )


def test_when_the_server_fails_at_a_later_point_the_others_are_kept(
    served_digits: wb.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    served_digits.batching = None
    measured = measuring_module.measure
    calls = []

    def fail_at_the_third(*arguments: Any) -> Window:
        calls.append(arguments)
        if len(calls) > 2:
            raise unavailable("The server is gone")
        return measured(*arguments)

    monkeypatch.setattr(measuring_module, "measure", fail_at_the_third)
    asked = {"batch_timeout_micros": [0, 1, 2], "clients": 2, "seconds": 0.1, "progress": False}

    result = sweep(served_digits, **asked)

    assert (len(result.points), result.failure) == (2, "The server is gone")
    assert not result.interrupted
    assert wb.load_experiment(result.number or 0) == result
    assert "<li>Ended early: The server is gone.</li>" in result._repr_html_()
    assert served_digits.batching is None
    with pytest.raises(ServingError, match="The server is gone"):  # nothing was measured at all
        sweep(served_digits, **asked)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell's background jobs are started with interrupts ignored, and tests may be one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_within_a_window_leaves_the_server_as_it_was(
    served_digits: wb.Server,
) -> None:
    served_digits.batching = None
    finished: list[Point] = []
    here = threading.get_ident()

    def interrupt_the_second(point: Point) -> None:
        finished.append(point)
        # To this very thread, as the terminal does: so that it ends its waiting.
        threading.Timer(0.5, signal.pthread_kill, [here, signal.SIGINT]).start()

    result = sweep(
        served_digits,
        batch_timeout_micros=[0, 1000],
        arrivals="bursty",  # one window for each point
        rate=50,
        seconds=2.0,
        progress=False,
        on_point=interrupt_the_second,
    )

    assert (list(result.points), result.interrupted) == (finished, True)
    assert served_digits.batching is None
    assert wb.load_experiment(result.number or 0) == result


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


def test_an_open_loop_or_a_closed_one(served_digits: wb.Server) -> None:
    with pytest.raises(ServingError) as refused:
        served_digits.sweep(rate=1, clients=1)
    assert refused.value == ServingError(
        Code.INVALID_ARGUMENT, "Give either rate (an open loop) or clients (a closed loop)"
    )
    result = served_digits.sweep(seconds=0.2, keep=False, progress=False)
    assert result.points[0].load == {"rate": 500.0}


def test_load_enters_where_it_can(served_digits: wb.Server) -> None:
    with pytest.raises(ServingError) as refused:
        served_digits.sweep(rate=1, where="smtp")
    assert str(refused.value) == "where must be 'engine', 'rest' or 'grpc'; was 'smtp'"


def test_the_time_is_known_beforehand() -> None:
    def trial(window_seconds: float) -> Trial:
        return Trial(BatchingParameters(), {"rate": 1.0}, 2.0, window_seconds)

    assert predicted_seconds(trial(0.5), "engine") == pytest.approx(2.6)
    assert predicted_seconds(trial(2.0), "engine") == pytest.approx(2.15)


def test_a_point_has_the_time_that_its_rate_needs(
    served_digits: wb.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []

    def made_up(server: wb.Server, payload: Any, load: Schedule, seconds: float, *_: Any) -> Window:
        loads.append(load)
        assert load.duration_s == seconds
        return replace(window(latencies(20, seed=len(loads))), version=1, seconds=seconds)

    monkeypatch.setattr(measuring_module, "measure", made_up)

    sweep(served_digits, rate=[5000, 200, 20], keep=False, progress=False)

    seconds = dict.fromkeys((5000, 200, 20), 0.0)
    for load in loads:
        seconds[round(load.rate)] += load.duration_s
    assert seconds == pytest.approx({5000: 2.0, 200: 6.0, 20: 12.0})


def test_a_window_in_which_somebody_changed_the_settings_is_measured_again(
    served_digits: wb.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    served_digits.batching = None
    theirs = BatchingParameters(max_batch_size=7, num_batch_threads=2)
    measured = measuring_module.measure
    windows = []

    def disturbed(*arguments: Any) -> Window:
        if len(windows) == 1:
            other = wb.connect("digits")
            threading.Timer(0.1, setattr, (other, "batching", theirs)).start()
        windows.append(measured(*arguments))
        return windows[-1]

    monkeypatch.setattr(measuring_module, "measure", disturbed)

    result = sweep(
        served_digits,
        rate=200,
        seconds=1.0,
        precision=1e-9,
        base=BatchingParameters(max_batch_size=16, num_batch_threads=2),
        keep=False,
        progress=False,
    )

    assert [each.void for each in windows] == ["", "the model's settings were changed", ""]
    assert result.voids == ("the model's settings were changed",)
    assert result.points[0].seconds == 1.0
    assert "1 window of load was void and measured again" in str(result)
    # What the other one has set stays.
    assert served_digits.batching == theirs
    served_digits.batching = None


def test_requests_that_fail_are_counted_and_named(served_digits: wb.Server) -> None:
    payload = make_payload(served_digits)
    ((name, values),) = payload.inputs[0].items()
    wrong = replace(payload, inputs=[{name: values[:, :3]}])
    for where in ("engine", "rest", "grpc"):
        seen = measure(served_digits, wrong, Schedule("constant", 50, 0.4), 0.4, where)  # type: ignore[arg-type]
        point = summarize(BatchingParameters(num_batch_threads=2), {"rate": 50.0}, 1, [seen], None)

        assert (point.failed, point.rejected, point.verdict) == (1.0, 0.0, "failing")
        assert (point.latency, point.queue, point.run, point.samples) == ({}, 0.0, 0.0, 0)
        assert str(point.answer(20)) == "does not meet: 100.0% of the requests failed"
        assert point.goodput(20) == 0.0
        (diagnosis,) = diagnose(point)
        assert diagnosis.problem.startswith("20 of 20 requests failed: ")
        assert len(point.first_error) > 20, where


def test_no_version_no_sweep(tmp_path: Path, served_digits: wb.Server) -> None:
    served_digits.control.put_model("nothing", {"base_path": str(tmp_path)})
    nothing = wb.connect("digits")
    nothing.model = "nothing"
    with pytest.raises(ServingError) as refused:
        nothing.sweep(progress=False)
    assert refused.value.code is Code.NOT_FOUND
