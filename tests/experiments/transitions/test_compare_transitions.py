"""Policies compared on a real server, with the same arrivals; and what is read from the runs."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import workbench as wb
from workbench.core.status import ServingError
from workbench.experiments.recording.recording_figure import draw
from workbench.experiments.transitions import compare_transitions as module
from workbench.experiments.transitions.compare_transitions import _Plan, compare_transitions
from workbench.experiments.transitions.transition_certainty import (
    is_certain,
    runs_needed,
    verdict,
)
from workbench.experiments.transitions.transition_comparison import TransitionComparison
from workbench.experiments.transitions.transition_run import Run
from workbench.load.arrivals import Schedule

# Many changes of version are measured once, for all tests.
pytestmark = pytest.mark.timeout(300)

X = [1.0, 2.0]
POLICIES = ("smooth", "unload_first", "unload_first+hold", "staged")


@pytest.fixture(scope="module")
def half(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[wb.Server]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        with wb.serve(models / "half_plus_two", name="half") as server:
            yield server


@pytest.fixture(scope="module")
def found(half: wb.Server, models: Path) -> TransitionComparison:
    return half.compare_transitions(  # type: ignore[no-any-return]
        models / "half_plus_three", X, rate=150, repeats=2, lead_seconds=0.5,
        progress=False,
    )  # fmt: skip


@pytest.mark.slow
def test_smooth_loses_nothing_and_unload_first_holds_nothing_twice(
    found: TransitionComparison,
) -> None:
    assert found.policies == POLICIES
    assert [len(found.of(policy)) for policy in found.policies] == [2, 2, 2, 2]
    for run in found.of("smooth"):
        assert run.figures["failed requests"] == 0
        assert run.figures["gap (ms)"] == 0
        assert run.figures["both in memory (s)"] > 0
    for run in found.of("unload_first"):
        assert run.figures["failed requests"] > 0
        assert run.figures["both in memory (s)"] == 0
    for run in found.of("staged"):
        assert run.figures["gap (ms)"] > 0
        assert run.figures["both in memory (s)"] > 0
        steps = [s.state for s in run.recording.harness_spans() if s.version == run.new]
        assert steps[-6:] == [
            "load-requested", "load-approved", "staging", "staged", "loading", "ready",
        ]  # fmt: skip


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_gap_is_that_of_the_events(found: TransitionComparison) -> None:
    for run in found.of("unload_first"):
        events = run.recording.events

        def at(kind: str, version: int, events: Any = events) -> float:
            chosen = (events["kind"] == kind) & (events["version"] == version)
            return float(events[chosen]["at"].iloc[-1])

        gap = at("available", run.new) - at("quiescing", run.old)
        assert run.figures["gap (ms)"] == pytest.approx(gap * 1e3, rel=0.05)


@pytest.mark.slow
def test_what_a_gap_loses_is_lost_to_goodput(found: TransitionComparison) -> None:
    shares = found.goodput(60_000)
    assert shares.keys() == set(found.policies)
    assert shares["smooth"] == 1.0
    assert 0 < shares["unload_first"] < 1


def test_every_failed_request_was_due_in_the_gap(found: TransitionComparison) -> None:
    for run in found.of("unload_first"):
        load = run.recording.load
        start, end = run.window
        failed = load.intended[~load.succeeded]
        # A request is judged when it arrives, which is a moment after it was due.
        assert failed.min() > start - 0.25
        assert failed.max() < end


@pytest.mark.slow
def test_every_run_has_the_same_arrivals(found: TransitionComparison) -> None:
    first, *others = [run.recording.load.intended for run in found.runs]
    for other in others:
        count = min(len(first), len(other))
        assert count > 100
        assert np.array_equal(first[:count], other[:count])


@pytest.mark.slow
def test_the_server_is_as_it_was(half: wb.Server, found: TransitionComparison) -> None:
    half.wait_gone(2, 30)
    assert half.versions.available == [1]
    assert half.transition == "smooth"
    names = {name for name in os.listdir(half.base_path) if name.isdigit()}
    assert names == {"1"}
    assert os.listdir(half.base_path / ".rolled-back") == []


@pytest.mark.slow
def test_faces(found: TransitionComparison) -> None:
    table = found.frame
    assert table.loc["failed requests", ("smooth", "high")] == 0
    assert (
        table.loc["gap (ms)", ("unload_first", "low")]
        <= table.loc["gap (ms)", ("unload_first", "median")]
        <= table.loc["gap (ms)", ("unload_first", "high")]
    )
    data = json.loads(json.dumps(found.to_json(recordings=False)))
    assert sorted(run["policy"] for run in data["runs"]) == [
        *["smooth"] * 2,
        *["staged"] * 2,
        *["unload_first"] * 2,
        *["unload_first+hold"] * 2,
    ]
    page = html.unescape(found._repr_html_())
    assert page.count("data:image/png;base64,") == 1
    assert str(found).splitlines()[0] == (
        "half: version 1 to 2 at 150 requests a second, 2 times smooth, 2 times unload_first, "
        "2 times unload_first+hold, 2 times staged"
    )
    assert {said.partition(",")[0] for said in found.verdicts.values()} == {
        "not certain after 2 runs"
    }
    assert (
        "In brackets: the interval that contains the true median with 50% confidence. smooth: not "
        "certain after 2 runs, the time until the new version serves is "
    ) in page
    assert "100% of the new version's files were in the page cache at the start." in page

    # One run of each has no interval, and so no confidence either.
    once = replace(found, runs=tuple(found.of(policy)[0] for policy in POLICIES))
    page = html.unescape(once._repr_html_())
    assert "confidence" not in page
    assert "With one run of each policy, the variation between runs is unknown." in page


@pytest.mark.slow
def test_the_figure_has_the_same_axes_for_all(found: TransitionComparison) -> None:
    figure = found.plot()
    assert figure.get_size_inches()[0] == 7.0
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(shown) == 12
    assert len({axes.get_xlim() for axes in shown}) == 1
    low, high = shown[0].get_xlim()
    assert low < 0 < high
    latencies = [axes for axes in shown if axes.get_yscale() == "log"]
    assert len({axes.get_ylim() for axes in latencies}) == 1
    four = draw([run.recording for run in found.runs[:4]])
    grid = {(round(a.get_position().x0, 1), round(a.get_position().y0, 1)) for a in four.axes}
    assert len({x for x, _ in grid}) == 2


@pytest.mark.slow
def test_it_was_kept_and_comes_back(found: TransitionComparison) -> None:
    assert found.number is not None
    again = wb.load_experiment(found.number)
    assert again.number == found.number
    assert str(again) == str(found)
    assert again.to_json() == found.to_json()
    kept = wb.history("half").loc[found.number]
    assert (kept["kind"], kept["summary"]) == ("transitions", found.advice)


@pytest.mark.slow
def test_before_and_after_are_told_apart(found: TransitionComparison) -> None:
    for run in found.runs:
        figures = run.figures
        assert figures["worst during (ms)"] >= figures["p99 during (ms)"] or (
            run.policy in ("unload_first", "staged")
        )
        assert figures["memory of both (MB)"] > figures["peak above before (MB)"]
        assert (
            figures["until the new version serves (s)"]
            <= figures["until it answers a request (s)"] + 0.05
        )
        assert figures["held requests"] > 0 or run.policy != "unload_first+hold"
        assert figures["held requests"] == 0 or run.policy == "unload_first+hold"


def test_interrupted_it_keeps_what_was_measured(
    half: wb.Server,
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
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
        load=Schedule("constant", 120, 1), disk="cold", keep=False,
    )  # fmt: skip
    assert (found.interrupted, len(found.runs), found.number) == (True, 1, None)
    assert found.advice.startswith("Under unload_first ")
    assert found.advice.endswith("Measure another policy to get advice.")
    assert found.runs[0].disk == "cold"
    assert np.allclose(np.diff(found.runs[0].recording.load.intended), 1 / 120)
    assert str(found).splitlines()[0].endswith("once unload_first, interrupted")
    said = capsys.readouterr().err
    assert "Interrupted after 1 of 5 to 20 changes. Under unload_first " in said
    assert re.search(r"^5 to 20 changes of version take about .*repeats=3", said, re.M)
    half.wait_gone(found.versions[1], 30)
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
        ({"policies": []}, "Name each policy once; were none"),
        ({"policies": ["smooth", "availability_preserving"]},
         "Name each policy once; were smooth, availability_preserving"),
        ({"repeats": 0}, "repeats, most_repeats and rate must be positive; were 0, 20 and 100.0"),
        ({"precision": 0}, "precision must be between 0 and 1; was 0"),
        ({"disk": ("warm", "wet")}, "disk must be 'warm', 'cold' or both; was ('warm', 'wet')"),
        ({"load": Schedule("ramp", 5, 1)},
         "A ramp cannot be compared: use a constant, poisson or bursty load"),
    ],
)  # fmt: skip
def test_what_is_no_comparison(
    half: wb.Server, models: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ServingError) as caught:
        compare_transitions(half, models / "half_plus_three", X, progress=False, **settings)
    assert caught.value.message == message


def runs_with(gaps: list[float], policy: str = "unload_first") -> list[Any]:
    """Stand-ins for runs with these gaps in milliseconds."""
    return [
        SimpleNamespace(
            policy=policy,
            disk="warm",
            figures={"gap (ms)": gap, "until the new version serves (s)": 0.5},
        )
        for gap in gaps
    ]


def test_a_gap_is_certain_when_enough_runs_agree() -> None:
    near = [500 + 10 * (i % 5) for i in range(20)]
    assert not is_certain([], 0.1)
    assert not is_certain(runs_with(near[:5]), 0.1)
    assert is_certain(runs_with(near), 0.1)
    assert not is_certain(runs_with([100 * (i % 5 + 1) for i in range(20)]), 0.1)
    assert not is_certain(runs_with([*near, float("inf")]), 0.1)
    # Where there is none, what counts is when the new version serves.
    assert is_certain(runs_with([0.0] * 20), 0.1)


def test_a_verdict_is_an_answer() -> None:
    near = [500.0 + 10 * (i % 5) for i in range(20)]
    assert verdict(runs_with(near), 0.1) == "certain, the gap is known within 10%"
    wide = [400.0 + 50 * (i % 5) for i in range(20)]
    needed = runs_needed(wide, 0.1)
    assert needed is not None
    assert verdict(runs_with(wide), 0.1) == (
        "not certain after 20 runs, the gap is 450 to 550 ms so far, and about "
        f"{needed - 20} runs more would tell it within 10%"
    )
    # So many that vary as these do are certain.
    assert is_certain(runs_with([*wide * (needed // 20), *wide[: needed % 20]]), 0.12)
    assert verdict(runs_with([500.0, 300.0]), 0.1) == (
        "not certain after 2 runs, the gap is 300 to 500 ms so far"
    )
    assert verdict(runs_with([0.0] * 3), 0.1) == (
        "not certain after 3 runs, the time until the new version serves is 0.5 s so far"
    )
    assert verdict(runs_with([500.0, float("inf")]), 0.1) == (
        "not certain, as in 1 of 2 runs the new version never served"
    )
    assert runs_needed([1.0] * 4, 0.1) is None
    anything = [10.0**i for i in range(7)]
    assert verdict(runs_with(anything), 0.01).endswith(
        "and it varies too much to be known within 1%"
    )


def test_the_time_is_said_before_and_meanwhile() -> None:
    four: Any = [(name, "warm") for name in POLICIES]
    plan = _Plan(four, None, 0.1, 20, seed=1)
    assert plan.announcement(4.2) == (
        "20 to 80 changes of version take about 84 s to 5.6 min. For a quick look, 3 repeats of "
        "each policy take about 50 s (repeats=3)."
    )
    assert plan.time_left(70, 4.0) == "about 4 s to 40 s"
    fixed = _Plan(four, 3, 0.1, 20, seed=1)
    assert fixed.announcement(4.0) == "12 changes of version take about 48 s."


def test_policies_take_turns_until_they_are_certain() -> None:
    conditions: Any = [("smooth", "warm"), ("unload_first", "warm")]
    plan = _Plan(conditions, None, 0.1, 20, seed=1)
    assert plan.limits == (10, 40)
    runs: list[Any] = []
    for policy, _ in plan.turns(runs):
        # One is always the same; the other's gap is anything.
        gap = 0.0 if policy == "smooth" else float(100 * (len(runs) % 7 + 1))
        runs += runs_with([gap], policy)
    counts = {name: sum(run.policy == name for run in runs) for name, _ in conditions}
    assert counts["unload_first"] == 20
    assert 5 < counts["smooth"] < 20
    order = [run.policy for run in runs[:10]]
    assert all(set(order[i : i + 2]) == {"smooth", "unload_first"} for i in range(0, 10, 2))
    fixed = _Plan(conditions, 3, 0.1, 20, seed=1)
    assert (fixed.limits, len(list(fixed.turns([])))) == ((6, 6), 6)
