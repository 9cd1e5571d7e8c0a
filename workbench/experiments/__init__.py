"""Measurements of a server, kept and repeatable.

`load` sends requests, `recording` records a server while something is done to it, `traffic` records
when a server's own requests come, and sends them again. `simulator` predicts batching, and `fleet`
what many servers do. `sweep` measures batching, `tuning` finds its parameters. `transitions`
compares policies, `versions` compares two versions, and `fleet_history` shows many servers over
time. `store` keeps every result. `figure` has what figures share, `looks` what they share with the
browser, `load_figure` draws a load, `showing` finds the figure of a result, and `face` shows a
stored result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from workbench.experiments import showing

if TYPE_CHECKING:
    from workbench.experiments.figure import Picture

__all__ = [
    "load",
    "recording",
    "traffic",
    "fleet_history",
    "simulator",
    "fleet",
    "sweep",
    "tuning",
    "transitions",
    "versions",
    "store",
    "figure",
    "looks",
    "showing",
    "face",
]


def _figures() -> dict[type, Callable[..., Picture]]:
    """The function that draws each kind of result."""
    from workbench.experiments.fleet.fleet_figure import draw_fleet, draw_policies
    from workbench.experiments.fleet.fleet_result import FleetResult
    from workbench.experiments.fleet.simulate_fleet import PolicyComparison
    from workbench.experiments.fleet_history.fleet_timeline import FleetTimeline
    from workbench.experiments.fleet_history.fleet_timeline_figure import plot_fleet_timeline
    from workbench.experiments.load.generator import LoadResult
    from workbench.experiments.load_figure import plot_load
    from workbench.experiments.recording.recording import Recording
    from workbench.experiments.recording.recording_figure import draw_recording
    from workbench.experiments.simulator.calibration import Calibration
    from workbench.experiments.simulator.calibration_figure import plot_calibration
    from workbench.experiments.sweep.sweep_figure import plot_sweep
    from workbench.experiments.sweep.sweep_result import SweepResult
    from workbench.experiments.traffic.recorded_traffic import Traffic
    from workbench.experiments.traffic.traffic_figure import plot_traffic
    from workbench.experiments.transitions.transition_comparison import TransitionComparison
    from workbench.experiments.transitions.transition_figure import draw_transitions
    from workbench.experiments.tuning.tune_figure import plot_tuned
    from workbench.experiments.tuning.tune_result import TuneResult
    from workbench.experiments.versions.version_comparison import VersionComparison
    from workbench.experiments.versions.version_figure import plot_comparison

    return {
        Calibration: plot_calibration,
        FleetResult: draw_fleet,
        FleetTimeline: plot_fleet_timeline,
        LoadResult: plot_load,
        PolicyComparison: draw_policies,
        Recording: draw_recording,
        SweepResult: plot_sweep,
        Traffic: plot_traffic,
        TransitionComparison: draw_transitions,
        TuneResult: plot_tuned,
        VersionComparison: plot_comparison,
    }


showing.figures.load = _figures
