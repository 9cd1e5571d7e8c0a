"""The methods of `Server` that are experiments and views: as the functions that they call."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import workbench as wb
from workbench.experiments.simulator.calibrate import calibrate
from workbench.experiments.sweep.sweep import sweep
from workbench.experiments.traffic.replay_traffic import replay
from workbench.experiments.traffic.traffic_recording import record_traffic
from workbench.experiments.transitions.compare_transitions import compare_transitions
from workbench.experiments.tuning.tune import tune
from workbench.experiments.versions.compare_versions import compare_versions
from workbench.widgets.card_widget import card
from workbench.widgets.ledger.ledger_widget import LedgerWidget
from workbench.widgets.sweep_explorer.sweep_explorer import SweepExplorer
from workbench.widgets.timeline.timeline import TimelineWidget

FUNCTIONS = [
    sweep, tune, calibrate, record_traffic, replay, compare_transitions, compare_versions, card,
]  # fmt: skip
CLASSES = {"timeline": TimelineWidget, "ledger": LedgerWidget, "sweep_explorer": SweepExplorer}
METHODS = [(each.__name__, each) for each in FUNCTIONS] + list(CLASSES.items())


def after_the_first(function: Callable[..., Any]) -> tuple[list[inspect.Parameter], Any]:
    """The parameters after the server (names, kinds, defaults, annotations), and the result."""
    signature = inspect.signature(function)
    result = function.__name__ if isinstance(function, type) else signature.return_annotation
    return list(signature.parameters.values())[1:], result


@pytest.mark.parametrize(("method", "function"), METHODS)
def test_a_method_has_the_signature_of_its_function(
    method: str, function: Callable[..., Any]
) -> None:
    assert after_the_first(getattr(wb.Server, method)) == after_the_first(function)


@pytest.mark.parametrize(("method", "function"), METHODS)
def test_a_method_passes_every_argument_on(
    method: str, function: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[inspect.BoundArguments] = []
    signature = inspect.signature(function)

    def record(*args: Any, **kwargs: Any) -> None:
        calls.append(signature.bind(*args, **kwargs))

    monkeypatch.setattr(f"{function.__module__}.{function.__name__}", record)
    server = wb.Server("none", "none")
    names = [parameter.name for parameter in after_the_first(function)[0]]
    getattr(server, method)(**{name: f"the {name}" for name in names})
    expected = {"server": server, **{name: f"the {name}" for name in names}}
    assert dict(calls[0].arguments) == expected


def test_every_method_has_a_docstring() -> None:
    for name, member in inspect.getmembers(wb.Server):
        if not name.startswith("_"):
            assert inspect.getdoc(member), name


def test_every_public_name_is_there() -> None:
    for name in wb.__all__:
        assert getattr(wb, name) is not None
    assert set(wb.__all__) <= set(dir(wb))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = wb.nothing  # type: ignore[attr-defined]
