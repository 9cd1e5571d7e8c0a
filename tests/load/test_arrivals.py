"""Arrival schedules: reproducible, of the rate they say, and as irregular as they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from workbench.load import arrivals
from workbench.load.arrivals import Schedule, Seconds

RANDOM = [arrivals.poisson, arrivals.bursty]


def dispersion(times: Seconds, window: float, duration: float) -> float:
    """Variance over mean of the arrivals in windows: 0 if constant, 1 if Poisson."""
    counts = np.histogram(times, bins=np.arange(0, duration + window / 2, window))[0]
    return float(counts.var() / counts.mean())


def test_constant_arrivals() -> None:
    assert arrivals.constant(4, duration=1).tolist() == [0, 0.25, 0.5, 0.75]
    assert arrivals.constant(4, duration=1.01).tolist() == [0, 0.25, 0.5, 0.75, 1.0]
    assert arrivals.constant(2, count=3).tolist() == [0, 0.5, 1]
    assert len(arrivals.constant(1000, duration=0.3)) == 300
    assert arrivals.constant(5, duration=0).tolist() == []


@pytest.mark.parametrize("draw", RANDOM)
def test_the_same_seed_gives_the_same_arrivals(draw: Callable[..., Seconds]) -> None:
    short, long = (draw(500, seed=7, duration=duration) for duration in (10, 40))
    assert np.array_equal(draw(500, seed=7, duration=10), short)
    assert not np.array_equal(draw(500, seed=8, duration=10)[:10], short[:10])
    assert np.array_equal(long[: len(short)], short)
    assert np.array_equal(draw(500, seed=7, count=len(short)), short)


@pytest.mark.parametrize("draw", RANDOM)
def test_arrivals_are_ordered_and_within_the_run(draw: Callable[..., Seconds]) -> None:
    times = draw(300, seed=1, duration=5)
    assert times.dtype == np.float64
    assert np.all(np.diff(times) >= 0)
    assert 0 <= times[0] <= times[-1] < 5
    assert len(draw(300, seed=1, count=0)) == 0
    assert len(draw(300, seed=1, count=10_001)) == 10_001


def test_mean_rates() -> None:
    assert len(arrivals.poisson(1000, seed=3, duration=100)) == pytest.approx(100_000, rel=0.01)
    of_bursty = [len(arrivals.bursty(50, seed=seed, duration=40)) for seed in range(200)]
    assert np.mean(of_bursty) == pytest.approx(50 * 40, rel=0.02)
    at_once = [np.sum(arrivals.bursty(50, seed=s, duration=9) < 0.1) for s in range(2000)]
    assert np.mean(at_once) == pytest.approx(5, rel=0.1)  # stationary from the beginning


def test_how_irregular_the_kinds_are() -> None:
    constant = dispersion(arrivals.constant(100, duration=200), 0.5, 200)
    poisson = dispersion(arrivals.poisson(100, seed=5, duration=200), 0.5, 200)
    bursty = dispersion(arrivals.bursty(100, seed=5, duration=200), 0.5, 200)
    assert constant < 0.05
    assert poisson == pytest.approx(1, abs=0.15)
    assert bursty > 20


def test_a_ramp_grows_linearly() -> None:
    times = arrivals.ramp(1000, seed=2, duration=100)
    assert len(times) == pytest.approx(50_000, rel=0.02)
    quarters = np.histogram(times, bins=[0, 25, 50, 75, 100])[0] / len(times)
    assert quarters == pytest.approx([1 / 16, 3 / 16, 5 / 16, 7 / 16], abs=0.01)
    falling = arrivals.ramp(100, seed=2, duration=100, start_rate=900)
    assert len(falling) == pytest.approx(50_000, rel=0.02)
    assert np.sum(falling < 50) / len(falling) == pytest.approx(0.7, abs=0.01)
    level = arrivals.ramp(500, seed=2, duration=10, start_rate=500)
    assert level == pytest.approx(arrivals.poisson(500, seed=2, duration=10))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 0, "duration": 1}, "rate must be positive; was 0"),
        ({"rate": 1}, "give either a duration or a count"),
        ({"rate": 1, "duration": 1, "count": 1}, "give either a duration or a count"),
        ({"rate": 1, "duration": -1}, "a run cannot last -1"),
        ({"rate": 1, "count": -3}, "a run cannot last -3"),
    ],
)
def test_schedules_that_cannot_be(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError) as raised:
        arrivals.constant(**settings)  # type: ignore[arg-type]
    assert str(raised.value) == message


def test_bursts_and_ramps_that_cannot_be() -> None:
    with pytest.raises(ValueError) as raised:
        arrivals.bursty(1, seed=0, burst=1, duration=1)
    assert str(raised.value) == "burst must be above 1 and cycle above 0; were 1 and 1.0"
    with pytest.raises(ValueError) as raised:
        arrivals.ramp(1, seed=0, start_rate=-1, duration=1)
    assert str(raised.value) == "start_rate must not be negative; was -1"


def test_a_schedule_is_data() -> None:
    bursty = Schedule("bursty", 80, 5, seed=4, burst=8, cycle_s=0.5)
    assert bursty.to_json() == {
        "kind": "bursty",
        "rate": 80,
        "duration_s": 5,
        "seed": 4,
        "burst": 8,
        "cycle_s": 0.5,
        "start_rate": 0.0,
    }
    assert Schedule.from_json(bursty.to_json()) == bursty
    expected = {
        Schedule("constant", 80, 5): arrivals.constant(80, duration=5),
        Schedule("poisson", 80, 5, seed=4): arrivals.poisson(80, seed=4, duration=5),
        bursty: arrivals.bursty(80, seed=4, burst=8, cycle=0.5, duration=5),
        Schedule("ramp", 80, 5, seed=4): arrivals.ramp(80, seed=4, duration=5),
    }
    for schedule, times in expected.items():
        assert np.array_equal(schedule.arrivals(), times)
    with pytest.raises(ValueError) as raised:
        Schedule("sawtooth", 1, 1)  # type: ignore[arg-type]
    assert str(raised.value) == (
        "unknown kind of schedule 'sawtooth'; the kinds are constant, poisson, bursty, ramp, replay"
    )


RECORDED = np.array([0.0, 0.1, 0.15, 0.15, 1.9])
"""Of requests that came within 2 s, three of them in a burst."""


@pytest.mark.parametrize("speed", [0.5, 1.0, 3.0, 7.0])
def test_a_replay_keeps_the_pattern_at_another_speed(speed: float) -> None:
    schedule = Schedule.replay(RECORDED, 2.0, speed=speed)
    assert schedule.arrivals() == pytest.approx(RECORDED / speed, abs=1e-9)
    assert (schedule.kind, schedule.duration_s) == ("replay", 2.0 / speed)
    assert schedule.rate == pytest.approx(2.5 * speed)


def test_a_replay_at_a_wanted_rate_is_cut_and_begun_again() -> None:
    schedule = replace(Schedule.replay(RECORDED, 2.0), rate=5.0)
    half = (RECORDED / 2).tolist()
    assert replace(schedule, duration_s=1.0).arrivals() == pytest.approx(half)
    assert replace(schedule, duration_s=0.5).arrivals() == pytest.approx(half[:4])
    again = replace(schedule, duration_s=2.04).arrivals()
    assert again == pytest.approx([*half, *(1 + RECORDED / 2), 2.0])
    long = replace(schedule, duration_s=100.0).arrivals()
    assert len(long) == 500
    assert np.array_equal(long[: len(again)], again)


def test_every_recorded_request_is_sent_once_whatever_the_speed() -> None:
    random = np.random.default_rng(1)
    for count in (1, 7, 1000):
        times = np.sort(random.uniform(0, 3.3, count))
        for speed in random.uniform(0.1, 20, 20):
            assert len(Schedule.replay(times, 3.3, speed=speed).arrivals()) == count


def test_a_replay_says_which_request_each_arrival_sends() -> None:
    assert list(Schedule("poisson", 10, 1).choices(3)) == [0, 1, 2]
    schedule = Schedule.replay(RECORDED, 2.0, order=[0, 2, 1, 1, 2])
    assert list(schedule.choices(3)) == [0, 2, 1, 1, 2]
    with pytest.raises(ValueError, match="sends request 2, and there are only 2: make its payload"):
        schedule.choices(2)
    again = Schedule.from_json(json.loads(json.dumps(schedule.to_json())))
    assert again == schedule
    assert "replay" in repr(schedule)
    assert schedule.recorded not in repr(schedule)


@pytest.mark.parametrize(
    ("times", "speed", "message"),
    [
        ([], 1.0, "needs recorded times in increasing order"),
        ([0.5, 0.2], 1.0, "needs recorded times in increasing order"),
        ([0.5, 2.2], 1.0, "within their period"),
        ([0.5], 0.0, "speed must be positive; was 0.0"),
    ],
)
def test_a_replay_of_nothing_is_refused(times: list[float], speed: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule.replay(np.array(times), 2.0, speed=speed)
    with pytest.raises(ValueError, match="needs the times of recorded requests: pass Traffic"):
        Schedule("replay", 1.0, 1.0)
