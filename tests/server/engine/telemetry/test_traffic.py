"""Live traffic, second by second."""

from __future__ import annotations

import bisect

from hypothesis import given
from hypothesis import strategies as st

from workbench.core.status import Code
from workbench.server.engine.telemetry.traffic import BOUNDS_MICROS, Traffic

SECOND = 1_000_000


def test_each_version_has_its_own_seconds() -> None:
    traffic = Traffic()
    traffic.add(5 * SECOND, 1, Code.OK, 1000)
    traffic.add(5 * SECOND + 10, 2, Code.OK, 40)
    traffic.add(5 * SECOND + 20, 1, Code.OK, 3000)
    traffic.add(6 * SECOND, None, Code.NOT_FOUND, 70)

    upper = BOUNDS_MICROS[bisect.bisect_left(BOUNDS_MICROS, 1000)]
    highest = BOUNDS_MICROS[bisect.bisect_left(BOUNDS_MICROS, 3000)]
    assert traffic.seconds(0) == [
        [5, 1, 2, 0, upper, highest],
        [5, 2, 1, 0, 50, 50],
        [6, None, 0, 1, None, None],
    ]


def test_with_a_target_each_second_counts_what_was_answered_in_time() -> None:
    traffic = Traffic()
    for micros in (40, 900, 5000, 70_000):
        traffic.add(SECOND, 1, Code.OK, micros)
    traffic.add(SECOND, 1, Code.UNAVAILABLE, 10)

    within = {target: traffic.seconds(0, target)[0][6] for target in (40, 1000, 6000, 1e9)}
    assert within == {40: 0, 1000: 2, 6000: 3, 1e9: 4}
    # A latency that is a little below the target may count as late, never the reverse.
    assert traffic.seconds(0, 899)[0][6] == 1
    assert len(traffic.seconds(0)[0]) == 6


def test_a_reader_gets_what_is_new_and_the_present_second_again() -> None:
    traffic = Traffic()
    for second in (1, 2, 3):
        traffic.add(second * SECOND, 1, Code.OK, 100)

    assert [s[0] for s in traffic.seconds(2.5)] == [2, 3]
    assert [d[0] for d in traffic.dots(2.0)] == [3.0]


def test_failures_are_kept_one_by_one() -> None:
    traffic = Traffic()
    traffic.add(SECOND, 1, Code.OK, 100)
    traffic.add(SECOND + 1, None, Code.NOT_FOUND, 30)

    assert traffic.dots(0) == [[1.0, 100, 1, 0, 1], [1.000001, 30, None, 5, 1]]


def test_dots_thin_out_where_there_are_too_many_and_say_so() -> None:
    traffic = Traffic()
    for slot in range(3):
        for i in range(400):
            traffic.add(SECOND + slot * 100_000 + i, 1, Code.OK, 100)

    dots = traffic.dots(0)
    by_slot = [[d for d in dots if int((d[0] - 1) * 10 + 1e-6) == slot] for slot in range(3)]
    # The first slot came unexpected; the others know how many came in the one before.
    assert [len(slot) for slot in by_slot] == [400, 40, 40]
    assert [sum(d[4] for d in slot) for slot in by_slot] == [400, 400, 400]


@given(st.lists(st.integers(0, 50_000_000), min_size=1, max_size=200), st.sampled_from([0.5, 0.99]))
def test_a_percentile_is_an_upper_bound_and_close(micros: list[int], share: float) -> None:
    traffic = Traffic()
    for value in micros:
        traffic.add(SECOND, 1, Code.OK, value)

    [[*_, p50, p99]] = traffic.seconds(0)
    found = p50 if share == 0.5 else p99
    rank = max(0, -(-len(micros) * share // 1) - 1)
    exact = sorted(micros)[int(rank)]
    assert exact <= found <= max(50, exact * 1.1 + 1)
