"""What shows a result is registered from above, and imported when the first result is shown."""

from __future__ import annotations

import subprocess
import sys

import pytest

from workbench.experiments import showing
from workbench.experiments.showing import Shows


def test_the_table_is_loaded_once_at_first_use() -> None:
    loads: list[int] = []
    shows: Shows[str] = Shows()

    def load() -> dict[type, object]:
        loads.append(1)
        return {int: lambda result, unit="": f"{result}{unit}"}

    shows.load = load  # type: ignore[assignment]
    assert loads == []
    assert [shows(1), shows(2, " s")] == ["1", "2 s"]
    assert loads == [1]
    with pytest.raises(NotImplementedError, match="Nothing shows a str"):
        shows("text")


def test_every_result_has_a_figure_and_those_with_a_live_view_have_one() -> None:
    assert sorted(kind.__name__ for kind in showing.figures.load()) == [
        "Calibration", "FleetResult", "FleetTimeline", "LoadResult", "PolicyComparison",
        "Recording", "SweepResult", "Traffic", "TransitionComparison", "TuneResult",
        "VersionComparison",
    ]  # fmt: skip
    assert sorted(kind.__name__ for kind in showing.views.load()) == [
        "TransitionComparison", "VersionComparison",
    ]  # fmt: skip


def test_a_fresh_interpreter_shows_results_and_pays_for_it_only_then() -> None:
    script = (
        "import sys, workbench\n"
        "from workbench.experiments.sweep.sweep_result import SweepResult\n"
        "found = SweepResult('m', 1, 'engine', 'closed', 0, 0.0, 1.0, 1.0, False, ())\n"
        "before = {'matplotlib', 'anywidget'} & set(sys.modules)\n"
        "png = found.plot()._repr_png_()\n"
        "from workbench.experiments import showing\n"
        "print(before, png[1:4].decode(), len(showing.views.load()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.returncode) == ("set() PNG 2\n", 0), done.stderr
