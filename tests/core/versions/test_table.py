"""Policies stepped by hand: whole stories, in order."""

from __future__ import annotations

import pytest

from workbench.core.versions.policies import Version
from workbench.core.versions.states import HarnessState
from workbench.core.versions.table import PolicyTable


def story(transition: str) -> list[str]:
    return [step.why for step in PolicyTable.example(transition).run()]


def test_smooth() -> None:
    assert story("smooth") == [
        "load 2: highest aspired version not loaded yet",
        "version 2 has loaded, and serves",
        "unload 1: an aspired version is ready to serve in its place",
        "version 1 has answered its last request",
        "version 1 is gone, and its memory is back",
        "forget 1: not aspired, and it has ended",
    ]


def test_unload_first() -> None:
    assert story("unload_first") == [
        "unload 1: not aspired: its memory is needed first",
        "version 1 has answered its last request",
        "version 1 is gone, and its memory is back",
        "forget 1: not aspired, and it has ended",
        "load 2: highest aspired, and no un-aspired version is left",
        "version 2 has loaded, and serves",
    ]


@pytest.mark.parametrize(
    ("transition", "served_always", "most_in_memory"),
    [("smooth", True, 2), ("unload_first", False, 1), ("staged", False, 1)],
)
def test_what_each_costs(transition: str, served_always: bool, most_in_memory: int) -> None:
    table = PolicyTable.example(transition)
    serving, held = [table.serving], [table.in_memory]
    while table.step().version is not None:
        serving.append(table.serving)
        held.append(table.in_memory)

    assert all(serving) is served_always
    assert max(map(len, held)) == most_in_memory
    assert serving[-1] == [2]


def test_a_version_that_failed_leaves_the_old_one_under_smooth() -> None:
    table = PolicyTable(
        [Version(1, HarnessState.READY, False), Version(2, HarnessState.ERROR, True)]
    )
    assert table.run() == []
    assert table.serving == [1]


def test_a_version_that_is_no_longer_wanted_never_comes_to_serve() -> None:
    table = PolicyTable(
        [
            Version(1, HarnessState.READY, False),
            Version(2, HarnessState.LOADING, False),
            Version(3, HarnessState.NEW, True),
        ]
    )
    steps = table.run()
    assert [(step.by, step.why) for step in steps[:2]] == [
        ("server", "cancel 2: not aspired any more, and it does not serve yet"),
        ("policy", "load 3: highest aspired version not loaded yet"),
    ]
    assert "version 2 has loaded, and serves" not in [step.why for step in steps]
    assert (table.serving, list(table.rows)) == ([3], [3])


def test_an_edit_changes_what_comes_next() -> None:
    table = PolicyTable.example()
    table.set(1, aspired=True)
    table.set(3)

    assert table.rows[3] == Version(3, HarnessState.NEW, True)
    assert table.step().why == "load 3: highest aspired version not loaded yet"
