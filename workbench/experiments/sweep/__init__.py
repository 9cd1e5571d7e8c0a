"""Choosing batching parameters.

A `point` is one measured setting. `sweep` measures many, `sweep_result` is what it found
(`sweep_figure` draws it, `predicted` simulates it, `diagnosis` explains it). `explore` simulates
the neighbours of a setting, and `tune` finds the best one (`tune_result`, drawn by `tune_figure`).
"""

__all__ = [
    "point",
    "sweep",
    "sweep_result",
    "explore",
    "tune",
    "tune_result",
    "diagnosis",
    "sweep_figure",
    "tune_figure",
]
