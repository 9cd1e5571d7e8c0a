"""The loop around the policies: what is cancelled, forgotten and refused before a policy acts."""

from __future__ import annotations

import pytest

from tests.core.versions.test_policies import versions
from workbench.core.versions.policies import Act, Version
from workbench.core.versions.reconcile import begun, reconcile
from workbench.core.versions.states import LEGAL_MOVES, HarnessState


def actions(table: str, transition: str = "smooth", full: frozenset[int] = frozenset()) -> str:
    """The actions in words, without reasons; versions in `full` have no room."""
    found = reconcile(versions(table), transition, lambda version: version not in full)
    return ", ".join(f"{action.act.value} {action.version}" for action in found)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("1 ready u; 2 loading u; 3 new A", "cancel 2"),
        ("1 load-requested u; 2 load-approved u; 3 staged u", "cancel 1, cancel 2, cancel 3"),
        ("1 ready u; 2 unloading u; 3 new A", "load 3"),
        ("1 disabled u; 2 new u; 3 error u; 4 new A", "forget 1, forget 2, forget 3"),
        ("1 ready u; 2 error A", ""),
        ("1 ready u; 2 ready A", "unload 1"),
        ("1 ready A", ""),
    ],
)
def test_cleaning_up_comes_before_the_policy(table: str, expected: str) -> None:
    assert actions(table) == expected


@pytest.mark.parametrize(
    ("transition", "expected"),
    [
        ("smooth", "load 2"),
        ("unload_first", "refuse 2"),
        ("unload_first+hold", "refuse 2"),
        ("staged", "refuse 2"),
    ],
)
def test_nothing_makes_way_for_a_version_without_room(transition: str, expected: str) -> None:
    assert actions("1 ready u; 2 new A", transition, frozenset({2})) == expected


def test_a_load_for_which_nothing_makes_way_is_tried() -> None:
    assert actions("2 new A", "unload_first", frozenset({2})) == "load 2"


@pytest.mark.parametrize("transition", ["unload_first", "staged"])
@pytest.mark.parametrize(("refused", "expected"), [(True, []), (False, [Act.UNLOAD])])
def test_what_serves_goes_on_when_all_that_is_wanted_is_refused(
    transition: str, refused: bool, expected: list[Act]
) -> None:
    table = [
        Version(1, HarnessState.READY, False),
        Version(2, HarnessState.READY, False),
        Version(3, HarnessState.ERROR, True, refused),
    ]
    assert [action.act for action in reconcile(table, transition)] == expected


def test_every_action_says_why() -> None:
    table = "1 ready u; 2 loading u; 3 disabled u; 4 new u"
    assert [action.why for action in reconcile(versions(table), "smooth")] == [
        "not aspired any more, and it does not serve yet"
    ]
    assert [a.why for a in reconcile(versions(table.replace("loading", "error")), "smooth")] == [
        "not aspired, and it has ended",
        "not aspired, and it has ended",
        "not aspired, and never begun",
    ]


@pytest.mark.parametrize("state", HarnessState)
def test_an_action_begins_with_a_legal_move(state: HarnessState) -> None:
    if state.is_loadable:
        assert begun(Act.LOAD, state) in LEGAL_MOVES[state]
    if state is HarnessState.NEW:
        assert begun(Act.STAGE, state) in LEGAL_MOVES[state]
    if state is HarnessState.READY:
        assert begun(Act.UNLOAD, state) in LEGAL_MOVES[state]
    if state.is_rising:
        assert begun(Act.CANCEL, state) in LEGAL_MOVES[state]
