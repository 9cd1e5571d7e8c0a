"""Choosing batching parameters.

A `point` is one measured setting, and `certainty` says how certain it is. `sweep` measures many
(`measuring` adds windows of load, `time_budget` divides the time among the settings).
`sweep_result` is the result (`sweep_figure` draws it, `predicted` simulates it, `diagnosis`
explains it). `explore` simulates the neighbours of a setting.
"""

__all__ = [
    "point",
    "certainty",
    "time_budget",
    "measuring",
    "sweep",
    "sweep_result",
    "explore",
    "diagnosis",
    "sweep_figure",
]
