"""When a version is set aside, for how long, and what it takes to be trusted again."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from workbench.core.versions.quarantine import (
    ALONE_FIRST_PAUSE_SECONDS,
    ALONE_LONGEST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Record,
)


def pause(record: Record, *, own_doing: bool = True, alone: bool = False) -> float:
    """Seconds for which it is set aside now; then it is tried again."""
    record.set_aside(1000.0, "it died", own_doing=own_doing, alone=alone)
    assert record.until is not None
    seconds = record.until - 1000.0
    record.try_again()
    return seconds


def test_accidents_are_forgiven_and_three_in_a_minute_are_none() -> None:
    record = Record(1)
    assert [record.died(now) for now in (0.0, 30.0, 70.0, 100.0, 129.0)] == [
        False,
        False,
        False,
        False,
        True,
    ]
    assert record.deaths == [70.0, 100.0, 129.0]


def test_the_pause_doubles_and_has_an_end() -> None:
    record = Record(1)
    pauses = [pause(record) for _ in range(9)]
    assert pauses == [10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0, 600.0, 600.0]
    assert (record.failures, record.reason) == (9, "it died")


def test_alone_it_is_tried_again_soon() -> None:
    record = Record(1)
    pauses = [pause(record, alone=True) for _ in range(8)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_what_was_done_to_it_from_outside_lengthens_nothing() -> None:
    record = Record(1)
    assert [pause(record, own_doing=False) for _ in range(5)] == [10.0] * 5
    assert pause(record) == 10.0
    assert [pause(record, own_doing=False) for _ in range(3)] == [20.0] * 3
    assert (record.failures, record.doublings) == (9, 1)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=2000))
def test_pauses_whatever_happens(story: list[tuple[bool, bool]]) -> None:
    record = Record(1)
    for own_doing, alone in story:
        before = record.doublings
        seconds = pause(record, own_doing=own_doing, alone=alone)
        longest = ALONE_LONGEST_PAUSE_SECONDS if alone else LONGEST_PAUSE_SECONDS
        assert ALONE_FIRST_PAUSE_SECONDS <= seconds <= longest
        # The next one like it is longer only for what it did itself.
        again = Record(1, doublings=record.doublings)
        assert pause(again, alone=alone) == (
            seconds if record.doublings == before else min(2 * seconds, longest)
        )


def test_a_second_chance_is_on_probation() -> None:
    record = Record(1)
    record.set_aside(0.0, "it died")
    assert (record.is_aside(9.9), record.is_due(9.9)) == (True, False)
    assert (record.is_aside(10.0), record.is_due(10.0)) == (False, True)
    assert record.next_change() == 10.0
    record.try_again()
    # Until it serves, nothing is proven, however long that takes.
    assert (record.on_probation(1e9), record.is_proven(1e9), record.is_due(1e9)) == (
        True,
        False,
        False,
    )
    record.serves(100.0)
    assert record.next_change() == 160.0
    # One death is enough now.
    assert record.died(159.0)
    assert not record.is_proven(159.0)
    assert record.is_proven(160.0)
    assert not record.on_probation(160.0)


def test_serving_without_having_failed_begins_no_probation() -> None:
    record = Record(1)
    record.serves(5.0)
    assert (record.probation, record.next_change()) == (None, math.inf)


def test_a_final_failure_waits_for_other_files() -> None:
    record = Record(1)
    record.set_aside(0.0, "no such operation", final=True)
    assert (record.is_aside(1e12), record.is_due(1e12)) == (True, False)
    assert record.next_change() == math.inf


def test_what_is_tried_again_by_itself() -> None:
    chances = [(served, replaced) for served in (False, True) for replaced in (False, True)]
    returns = [Record(1, served=s, replaced=r).returns for s, r in chances]
    assert returns == [False, True, True, True]
