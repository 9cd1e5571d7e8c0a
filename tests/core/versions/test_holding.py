"""Holding requests over a gap: when it is worth it, in which order, and how many."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.core.versions.test_policies import versions
from workbench.core.status import ServingError, unavailable
from workbench.core.versions.holding import Held, worth_waiting
from workbench.core.versions.policies import Version
from workbench.core.versions.states import HarnessState


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
        "2 requests already wait for the next version; try again in a moment"
    )
    remove()
    held.add(lambda: None)
    assert len(held) == 2


def test_there_is_room_for_so_many_bytes() -> None:
    held, gone = Held(limit_bytes=10), []
    remove = held.add(lambda: gone.append("a"), 6)
    held.add(lambda: gone.append("b"), 4)
    held.add(lambda: gone.append("empty"))
    with pytest.raises(ServingError) as caught:
        held.add(lambda: None, 1)
    assert caught.value == unavailable(
        "Requests of 10 bytes already wait for the next version, and 1 more would exceed "
        "10; try again in a moment"
    )
    remove()
    remove()
    assert held.size == 4
    held.add(lambda: gone.append("c"), 6)
    assert held.size == 10
    assert held.release() == 3
    assert gone == ["b", "empty", "c"]
    assert held.size == 0


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


class Holding(RuleBasedStateMachine):
    """Requests that come, go and are let go while versions change: each is let go on exactly once
    or taken out, and none waits that need not."""

    LIMIT, LIMIT_BYTES = 4, 20

    def __init__(self) -> None:
        super().__init__()
        self.held = Held(self.LIMIT, self.LIMIT_BYTES)
        self.state = HarnessState.NEW
        self.aspired = True
        self.number = 0
        self.waiting: dict[int, int] = {}
        self.removers: dict[int, Callable[[], None]] = {}
        self.resumed: list[int] = []

    def worth(self) -> bool:
        return worth_waiting([Version(1, self.state, self.aspired)])

    @rule(size=st.integers(0, 12))
    def comes(self, size: int) -> None:
        if not self.worth():
            return
        number = self.number = self.number + 1
        full = len(self.waiting) >= self.LIMIT
        full = full or sum(self.waiting.values()) + size > self.LIMIT_BYTES
        try:
            self.removers[number] = self.held.add(lambda: self.resumed.append(number), size)
        except ServingError:
            assert full
        else:
            assert not full
            self.waiting[number] = size

    @rule(data=st.data())
    def is_taken_out(self, data: st.DataObject) -> None:
        if self.removers:
            number = data.draw(st.sampled_from(sorted(self.removers)))
            self.removers[number]()
            self.waiting.pop(number, None)

    @rule(state=st.sampled_from(HarnessState), aspired=st.booleans())
    def version_changes(self, state: HarnessState, aspired: bool) -> None:
        self.state, self.aspired = state, aspired
        if not self.worth():
            before = list(self.waiting)
            self.resumed.clear()
            assert self.held.release() == len(before)
            assert self.resumed == before
            self.waiting.clear()

    @invariant()
    def what_is_held_is_what_waits(self) -> None:
        assert len(self.held) == len(self.waiting)
        assert self.held.size == sum(self.waiting.values())
        assert self.worth() or not self.waiting


TestHolding = Holding.TestCase
TestHolding.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
