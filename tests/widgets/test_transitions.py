"""What the view of compared transitions is given, from runs made by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.experiments.recording.test_recording import SMOOTH, UNLOAD_FIRST, made
from workbench.experiments.transitions.transition_comparison import TransitionComparison
from workbench.experiments.transitions.transition_run import Run
from workbench.load.arrivals import Schedule
from workbench.widgets import transitions
from workbench.widgets.transitions import TransitionsView, about, dots, run_data

WANTED: list[Any] = [
    (2.0, 2, "aspired", {}),
    (2.0, 1, "decision", {"act": "unload", "why": "its memory is needed first"}),
    (4.5, 2, "available", {}),
    (4.5, 2, "held_released", {"requests": 1, "seconds": 1.0}),
]
REQUESTS: list[Any] = [(1.0, 200, 1), (3.0, 503, 0), (3.5, 200, 2, 4.6), (6.0, 200, 2)]
MEMORY = [(0.0, 1, 2**20), (4.6, 2, 3 * 2**20)]


def compared() -> TransitionComparison:
    runs = (
        Run("smooth", made(SMOOTH, MEMORY, REQUESTS[:1], WANTED[:3]), 1, 2),
        Run("unload_first", made(UNLOAD_FIRST, MEMORY, REQUESTS, WANTED), 1, 2),
    )
    load = Schedule("poisson", 100.0, 1.0, 0)
    return TransitionComparison("m", (1, 2), load, ("smooth", "unload_first"), runs)


def test_times_are_seconds_since_the_version_was_wanted() -> None:
    data = run_data(compared().runs[1])
    assert (data["start"], data["end"]) == (-2.0, 8.0)
    assert data["gaps"] == [[0.0, 2.5]]
    assert data["spans"][0] == {"version": 1, "state": "AVAILABLE", "start": -7.0, "end": 0.0}
    assert data["decisions"] == [
        {"at": 0.0, "text": "unload version 1: its memory is needed first"}
    ]
    by = dict(data["memory"]["by"])
    at = data["memory"]["at"].index(5.0)
    assert (by[1][at], by[2][at]) == (0, 3 * 2**20)
    assert len(data["memory"]["at"]) == len(by[1]) == len(by[2])


def test_requests_are_answered_held_or_failed() -> None:
    recording = compared().runs[1].recording
    assert dots(recording) == [
        [-1.0, 10_000, 1, 0],
        [1.0, 10_000, 0, 2],
        [1.5, 1_100_000, 2, 1],
        [4.0, 10_000, 2, 0],
    ]
    assert recording.brief == "1 failed, 1 held, no version for 2500 ms"


def test_of_many_answered_requests_some_are_left_out_and_no_failed_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transitions, "MOST_DOTS", 10)
    answered: list[Any] = [(2 + i / 100, 200, 1) for i in range(100)]
    failed: list[Any] = [(4 + i / 100, 503, 0) for i in range(100)]
    found = dots(made(SMOOTH, requests=[*answered, *failed]))
    assert [kind for *_, kind in found] == [0] * 10 + [2] * 100


def test_the_view_has_everything_as_plain_data() -> None:
    found = compared()
    data = about(found)
    json.dumps(data, allow_nan=False)
    assert data["advice"] == found.advice
    assert [run["title"] for run in data["runs"]] == ["smooth", "unload_first"]
    (table,) = data["tables"]
    assert table["columns"] == ["smooth", "unload_first"]
    assert ["failed requests", "0", "1"] in table["rows"]
    assert data["view"][0] < 0 < data["view"][1]
    view = TransitionsView(found)
    assert view.about == data
    assert repr(view) == "<TransitionsView m: smooth, unload_first>"


def test_outside_a_notebook_there_is_text() -> None:
    with pytest.raises(NotImplementedError):
        compared()._ipython_display_()
