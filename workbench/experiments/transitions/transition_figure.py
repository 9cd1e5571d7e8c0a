"""The figure of policies compared: the typical run of each, on the same axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.experiments.recording.recording_figure import draw

if TYPE_CHECKING:
    from workbench.experiments.figure import Picture
    from workbench.experiments.transitions.transition_comparison import TransitionComparison


def draw_transitions(found: TransitionComparison) -> Picture:
    """See `TransitionComparison.plot`."""
    recordings = [run.recording for run in found.typical()]
    return draw(recordings, titles=found.titles(), view=found.view())
