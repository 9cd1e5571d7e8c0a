"""How versions and states look in figures."""

from __future__ import annotations

from workbench.core.batching.queue import CloseReason
from workbench.core.versions.states import PublicState
from workbench.experiments.looks import CLOSE_REASONS, STATES, VERSIONS, version_colour


def test_a_version_keeps_its_colour() -> None:
    assert version_colour(1) == VERSIONS[0]
    assert version_colour(8) == VERSIONS[1]


def test_every_state_with_a_bar_has_a_look_and_every_close_reason_a_name() -> None:
    assert list(STATES) == [state.name for state in PublicState if state.name != "END"]
    assert set(CLOSE_REASONS) == set(CloseReason)
