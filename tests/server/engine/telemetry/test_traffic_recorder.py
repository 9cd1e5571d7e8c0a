"""Recordings of traffic: what they hold, when they end, and when they are dropped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from workbench.core.status import Code, ServingError
from workbench.load.packed_numbers import unpack_numbers
from workbench.server.engine.telemetry import traffic_recorder
from workbench.server.engine.telemetry.traffic_recorder import (
    MAX_RECORDINGS,
    TrafficRecorder,
    rows_of,
)


class Clock:
    """The time of recordings, which tests move."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 1000.0
        monkeypatch.setattr(traffic_recorder, "now_micros", lambda: round(self.seconds * 1e6))
        monkeypatch.setattr(traffic_recorder.time, "monotonic", lambda: self.seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What was to be called later; a test calls it."""
    later: list[Callable[[], None]] = []

    class Loop:
        def call_later(self, seconds: float, call: Callable[..., None], *given: object) -> None:
            later.append(lambda: call(*given))

    monkeypatch.setattr(traffic_recorder.asyncio, "get_running_loop", Loop)
    return later


def request(rows: int) -> dict[str, np.ndarray]:
    return {"x": np.zeros((rows, 5), np.float32)}


def columns(about: dict[str, Any]) -> list[list[int]]:
    return [unpack_numbers(about[name], np.int64).tolist() for name in ("at", "rows", "bytes")]


def test_a_recording_holds_times_and_sizes_in_order(clock: Clock, timers: list[Any]) -> None:
    recorder = TrafficRecorder()
    recorder.arrived("m", 1, request(1))  # Nothing is recorded yet.
    number = recorder.start("m", 60).number
    begun = 1000_000_000
    for at, rows in ((100, 3), (250, 1), (200, 7)):  # The last one was held for a while.
        recorder.arrived("m", begun + at, request(rows))
    recorder.arrived("m", begun - 1, request(9))  # It had been read before.
    recorder.arrived("m", begun + 60_000_000, request(9))  # And this one after the end.
    recorder.arrived("other", begun + 300, request(9))
    clock.seconds += 1.5
    assert recorder.get("m", number).progress() == {
        "number": number,
        "recorded": 3,
        "seconds": 1.5,
        "ended": False,
        "full": False,
    }
    about = recorder.take("m", number).to_json()
    assert columns(about) == [[100, 200, 250], [3, 7, 1], [60, 140, 20]]
    assert (about["seconds"], about["ended"]) == (1.5, True)
    recorder.arrived("m", begun + 400, request(1))
    with pytest.raises(ServingError, match=f"Recording {number} of the traffic of m is gone"):
        recorder.get("m", number)


def test_an_empty_recording_is_one_too(clock: Clock, timers: list[Any]) -> None:
    recorder = TrafficRecorder()
    about = recorder.take("m", recorder.start("m", 1).number).to_json()
    assert (columns(about), about["recorded"]) == ([[], [], []], 0)


def test_a_full_recording_ends(clock: Clock, timers: list[Any]) -> None:
    recorder = TrafficRecorder()
    recording = recorder.start("m", 60, most=2)
    for _ in range(4):
        clock.seconds += 1
        recorder.arrived("m", round(clock.seconds * 1e6) - 1, request(1))
    assert (len(recording), recording.progress()["seconds"]) == (2, 2.0)
    assert (recording.progress()["full"], recording.progress()["ended"]) == (True, True)


def test_its_time_ends_a_recording_and_its_owner_can_still_take_it(
    clock: Clock, timers: list[Any]
) -> None:
    recorder = TrafficRecorder()
    number = recorder.start("m", 5).number
    recorder.arrived("m", 1000_000_001, request(1))
    clock.seconds += 6
    timers.pop()()
    about = recorder.get("m", number).progress()
    assert (about["ended"], about["seconds"], about["recorded"]) == (True, 5.0, 1)
    assert recorder.take("m", number).to_json()["recorded"] == 1


def test_a_recording_whose_owner_has_gone_is_dropped(clock: Clock, timers: list[Any]) -> None:
    recorder = TrafficRecorder()
    number = recorder.start("m", 600).number
    clock.seconds += 29
    recorder.get("m", number)
    clock.seconds += 29
    timers.pop()()
    recording = recorder.get("m", number)
    clock.seconds += 31
    timers.pop()()
    with pytest.raises(ServingError) as gone:
        recorder.get("m", number)
    assert gone.value.code is Code.NOT_FOUND
    recorder.arrived("m", round(clock.seconds * 1e6) - 1, request(1))
    assert len(recording) == 0
    assert timers == []


def test_several_record_at_once_and_not_too_many(clock: Clock, timers: list[Any]) -> None:
    recorder = TrafficRecorder()
    first, second = recorder.start("m", 60), recorder.start("m", 60)
    recorder.arrived("m", 1000_000_001, request(1))
    recorder.take("m", first.number)
    recorder.arrived("m", 1000_000_002, request(1))
    assert (len(first), len(second)) == (1, 2)
    for _ in range(MAX_RECORDINGS - 1):
        recorder.start("m", 60)
    with pytest.raises(ServingError, match="8 recordings of traffic are in progress"):
        recorder.start("m", 60)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 90_000.0, float("nan")])
def test_a_time_that_is_not_allowed(seconds: float) -> None:
    with pytest.raises(ServingError, match="more than 0 and at most 86400 seconds; was"):
        TrafficRecorder().start("m", seconds)


def test_rows_are_those_of_the_first_input_that_has_any() -> None:
    scalar, pair = np.float32(1), np.zeros((2, 3))
    assert rows_of({"a": np.asarray(scalar), "b": pair}) == 2
    assert rows_of({"a": np.asarray(scalar)}) == rows_of({}) == 1


def test_on_a_real_loop_a_recording_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic_recorder, "FORGOTTEN_SECONDS", 0.05)

    async def forgotten() -> int:
        recorder = TrafficRecorder()
        recorder.start("m", 0.02)
        while recorder._all:
            await asyncio.sleep(0.01)
        return len(recorder._active)

    work: Coroutine[Any, Any, int] = asyncio.wait_for(forgotten(), 30)
    assert asyncio.run(work) == 0
