"""Policies compared on a real server, with the same arrivals; and what is read from the runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import workbench as wb
from workbench.core.status import ServingError
from workbench.experiments import compare_transitions as module
from workbench.experiments.compare_transitions import compare_transitions
from workbench.experiments.transition_comparison import Run, TransitionComparison

X = [1.0, 2.0]


@pytest.fixture(scope="module")
def half(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[wb.Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        with wb.serve(models / "half_plus_two", name="half") as server:
            yield server


@pytest.fixture(scope="module")
def found(half: wb.Server, models: Path) -> TransitionComparison:
    return half.compare_transitions(  # type: ignore[no-any-return]
        models / "half_plus_three", X, rate=150, repeats=2, lead_seconds=0.5, progress=False
    )


def test_smooth_loses_nothing_and_unload_first_holds_nothing_twice(
    found: TransitionComparison,
) -> None:
    assert found.policies == ("smooth", "unload_first", "unload_first+hold")
    assert [len(found.of(policy)) for policy in found.policies] == [2, 2, 2]
    for run in found.of("smooth"):
        assert run.figures["failed requests"] == 0
        assert run.figures["gap (ms)"] == 0
        assert run.figures["both in memory (s)"] > 0
    for run in found.of("unload_first"):
        assert run.figures["failed requests"] > 0
        assert run.figures["both in memory (s)"] == 0


def test_with_hold_those_of_the_gap_wait_for_the_new_version(found: TransitionComparison) -> None:
    for run in found.of("unload_first+hold"):
        assert run.figures["failed requests"] == 0
        assert run.figures["gap (ms)"] > 0
        assert run.figures["both in memory (s)"] == 0
        load = run.recording.load
        spans = [s for s in run.recording.spans() if s.state == "AVAILABLE"]
        (gone,) = [s.end for s in spans if s.version == run.old]
        (come,) = [s.start for s in spans if s.version == run.new]
        # A request is judged when it arrives, which is a moment after it was due.
        waited = (load.intended > gone + 0.02) & (load.intended < come - 0.02)
        assert waited.any()
        assert set(load.version[waited].tolist()) == {run.new}
        assert load.done[waited].min() >= come - 0.01
    (released,) = {
        int(e["data"]["requests"]) > 0
        for run in found.of("unload_first+hold")
        for e in run.recording.events.to_dict("records")
        if e["kind"] == "held_released"
    }
    assert released


def test_the_gap_is_that_of_the_events(found: TransitionComparison) -> None:
    for run in found.of("unload_first"):
        events = run.recording.events

        def at(kind: str, version: int, events: Any = events) -> float:
            chosen = (events["kind"] == kind) & (events["version"] == version)
            return float(events[chosen]["at"].iloc[-1])

        gap = at("available", run.new) - at("quiescing", run.old)
        assert run.figures["gap (ms)"] == pytest.approx(gap * 1e3, rel=0.05)


def test_every_failed_request_was_due_in_the_gap(found: TransitionComparison) -> None:
    for run in found.of("unload_first"):
        load = run.recording.load
        start, end = run.window
        failed = load.intended[~load.succeeded]
        # A request is judged when it arrives, which is a moment after it was due.
        assert failed.min() > start - 0.25
        assert failed.max() < end


def test_every_run_has_the_same_arrivals(found: TransitionComparison) -> None:
    first, *others = [run.recording.load.intended for run in found.runs]
    for other in others:
        count = min(len(first), len(other))
        assert count > 100
        assert np.array_equal(first[:count], other[:count])


def test_the_server_is_as_it_was(half: wb.Server, found: TransitionComparison) -> None:
    half._wait_gone(2, 30)
    assert half.versions.available == [1]
    assert half.transition == "smooth"
    names = {name for name in os.listdir(half.base_path) if name.isdigit()}
    assert names == {"1"}
    assert os.listdir(half.base_path / ".rolled-back") == []


def test_faces(found: TransitionComparison) -> None:
    assert found.advice.startswith("Choose smooth if the memory is there: no request failed, and ")
    assert "Unload_first never holds both versions, and at 150 requests a second it failed" in (
        found.advice
    )
    table = found.frame
    assert found.advice.endswith(" ms.")
    assert " With hold, none failed: they waited up to " in found.advice
    assert table.loc["failed requests", ("smooth", "highest")] == 0
    assert (
        table.loc["gap (ms)", ("unload_first", "lowest")]
        <= table.loc["gap (ms)", ("unload_first", "median")]
        <= table.loc["gap (ms)", ("unload_first", "highest")]
    )
    data = json.loads(json.dumps(found.to_json()))
    assert sorted(run["policy"] for run in data["runs"]) == [
        *["smooth"] * 2,
        *["unload_first"] * 2,
        *["unload_first+hold"] * 2,
    ]
    page = found._repr_html_()
    assert page.count("data:image/png;base64,") == 1
    assert str(found).splitlines()[0] == (
        "half: version 1 to 2 at 150 requests a second, 2 times smooth, 2 times unload_first, "
        "2 times unload_first+hold"
    )


def test_interrupted_it_keeps_what_was_measured(
    half: wb.Server, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def run(*arguments: Any) -> Run:
        if ran:
            raise KeyboardInterrupt
        ran.append("once")
        return original(*arguments)

    original = module._run
    monkeypatch.setattr(module, "_run", run)
    found = compare_transitions(
        half, models / "half_plus_three", X, policies=["resource_preserving"], lead_seconds=0.3,
        progress=False,
    )  # fmt: skip
    assert (found.interrupted, len(found.runs)) == (True, 1)
    assert found.advice == "With both policies measured, there would be advice here."
    assert str(found).splitlines()[0].endswith("1 times unload_first, interrupted")
    half._wait_gone(found.versions[1], 30)
    assert half.versions.available == [1]


def test_a_version_that_does_not_load_leaves_the_server_as_it_was(
    half: wb.Server, models: Path
) -> None:
    with pytest.raises(ServingError, match="NoSuchOperation"):
        compare_transitions(half, models / "bad_graph", X, progress=False)
    assert half.versions.available == [1]
    assert {name for name in os.listdir(half.base_path) if name.isdigit()} == {"1"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"policies": []}, "Name each policy once; had none"),
        ({"policies": ["smooth", "availability_preserving"]},
         "Name each policy once; had smooth, availability_preserving"),
        ({"repeats": 0}, "repeats and rate must be positive; were 0 and 100.0"),
    ],
)  # fmt: skip
def test_what_is_no_comparison(
    half: wb.Server, models: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ServingError) as caught:
        compare_transitions(half, models / "half_plus_three", X, progress=False, **settings)
    assert caught.value.message == message
