"""Live views of a server in a notebook.

`base` is what they share. `card_widget`, `ledger` and `timeline` show a running server,
`fleet_card_widget` many. `sweep_explorer`, `fleet_explorer`, `transitions` and `comparison` show
experiments; `stepper` and `guess` are for teaching.
"""

from __future__ import annotations

from collections.abc import Callable

from workbench.experiments import showing

__all__ = [
    "base",
    "card_widget",
    "fleet_card_widget",
    "ledger",
    "timeline",
    "sweep_explorer",
    "fleet_explorer",
    "transitions",
    "comparison",
    "stepper",
    "guess",
]


def _views() -> dict[type, Callable[..., None]]:
    """The function that displays each kind of result in a cell."""
    from workbench.experiments.transitions.transition_comparison import TransitionComparison
    from workbench.experiments.versions.version_comparison import VersionComparison
    from workbench.widgets.base.durable import show_result
    from workbench.widgets.comparison import ComparisonWidget
    from workbench.widgets.transitions import show_transitions

    return {
        TransitionComparison: show_transitions,
        VersionComparison: lambda found: show_result(found, ComparisonWidget),
    }


showing.views.load = _views
