"""When a version is set aside, for how long, and what it takes to be trusted again."""

from __future__ import annotations

import math

from workbench.core.quarantine import Record


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
    pauses = []
    for _ in range(9):
        record.set_aside(1000.0, "it died")
        assert record.until is not None
        pauses.append(record.until - 1000.0)
        record.try_again()
    assert pauses == [10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0, 600.0, 600.0]
    assert (record.failures, record.reason) == (9, "it died")


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
