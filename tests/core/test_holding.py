"""Holding requests over a gap: when it is worth it, in which order, and how many."""

from __future__ import annotations

import pytest

from tests.core.test_transitions import versions
from workbench.core.holding import Held, worth_waiting
from workbench.core.status import ServingError, unavailable


@pytest.mark.parametrize(
    ("table", "worth"),
    [
        # The gap of unload_first, step by step.
        ("1 ready A; 2 new A", False),
        ("1 ready u; 2 new A", False),
        ("1 unload-requested u; 2 new A", True),
        ("1 quiescing u; 2 new A", True),
        ("1 quiesced u; 2 new A", True),
        ("1 unloading u; 2 new A", True),
        ("1 disabled u; 2 new A", True),
        ("2 load-requested A", True),
        ("2 load-approved A", True),
        ("2 loading A", True),
        ("2 ready A", False),
        # The gap of staged.
        ("1 ready u; 2 staging A", False),
        ("1 ready u; 2 staged A", False),
        ("1 quiescing u; 2 staged A", True),
        ("1 disabled u; 2 staged A", True),
        ("1 error u; 2 staging A", True),
        # Nothing is coming.
        ("1 unloading u", False),
        ("2 error A", False),
        ("1 disabled u; 2 error A", False),
        ("2 loading u", False),
        ("2 error A; 3 new A", True),
    ],
)
def test_when_it_is_worth_waiting(table: str, worth: bool) -> None:
    assert worth_waiting(versions(table)) is worth


def test_nothing_is_worth_waiting_for_without_versions() -> None:
    assert not worth_waiting([])


def test_they_go_on_in_the_order_of_their_arrival() -> None:
    held, gone = Held(), []
    for name in "abc":
        held.add(lambda name=name: gone.append(name))  # type: ignore[misc]
    assert len(held) == 3
    assert held.release() == 3
    assert gone == ["a", "b", "c"]
    assert (len(held), held.release()) == (0, 0)


def test_one_that_is_taken_out_does_not_go_on() -> None:
    held, gone = Held(), []
    remove = held.add(lambda: gone.append("a"))
    held.add(lambda: gone.append("b"))
    remove()
    remove()
    assert held.release() == 1
    assert gone == ["b"]
    remove()


def test_there_is_room_for_so_many() -> None:
    held = Held(2)
    remove = held.add(lambda: None)
    held.add(lambda: None)
    with pytest.raises(ServingError) as caught:
        held.add(lambda: None)
    assert caught.value == unavailable(
        "2 requests wait already for the next version to serve; try again in a moment"
    )
    remove()
    held.add(lambda: None)
    assert len(held) == 2


def test_one_that_is_held_again_waits_for_the_next_time() -> None:
    held, gone = Held(), []

    def again() -> None:
        gone.append("again")
        if len(gone) < 2:
            held.add(again)

    held.add(again)
    assert held.release() == 1
    assert (len(held), gone) == (1, ["again"])
    assert held.release() == 1
    assert gone == ["again", "again"]
