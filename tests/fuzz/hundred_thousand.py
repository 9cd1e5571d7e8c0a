"""What is sent to the target: two thousand of a kind, or a hundred thousand, and its memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.target import Remote

AT_ONCE = 50
_FEW, _EXAMPLES = 40, 2000
_GROWTH = 1.05
_seeds = st.lists(st.integers(0, 2**32 - 1), min_size=AT_ONCE, max_size=AT_ONCE)

Code = TypeVar("Code", int, str)
Check = Callable[[Remote, list[int]], Counter[Code]]
"""Sends what belongs to these numbers, counts the answers, and fails for one that may not be."""


def some(remote: Remote, check: Check[Code]) -> Counter[Code]:
    """What a short run is told; the generator must reach what it is meant to reach in it, too."""
    told: Counter[Code] = Counter()
    for first in range(0, _FEW * AT_ONCE, AT_ONCE):
        told += check(remote, list(range(first, first + AT_ONCE)))
    return told


def hundred_thousand(remote: Remote, check: Check[Code], warm_up: int) -> None:
    """All are answered, and what the target and its workers take does not grow with them.

    Args:
        warm_up: how often it is asked before its memory is read for the first time.
    """
    told: Counter[Code] = Counter()
    for first in range(warm_up):
        check(remote, [first * AT_ONCE + i for i in range(AT_ONCE)])
    before = remote.ask("memory")
    asked = 0

    @settings(
        max_examples=_EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow],
    )
    @given(_seeds)
    def fuzz(numbers: list[int]) -> None:
        nonlocal asked, told
        told += check(remote, numbers)
        asked += len(numbers)

    fuzz()
    # The generator may repeat itself a little and then has less to say than it was allowed to.
    for extra in range(asked, _EXAMPLES * AT_ONCE, AT_ONCE):
        told += check(remote, [2**32 + extra + i for i in range(AT_ONCE)])
        asked += AT_ONCE
    after = remote.ask("memory")
    print(f"\n{asked} asked: {dict(sorted(told.items()))}; {before} -> {after}")
    assert asked >= _EXAMPLES * AT_ONCE
    assert (after["exits"], after["outstanding"]) == ([], 0)
    assert after["descriptors"] <= before["descriptors"] + 2, (before, after)
    for part in ("server", "workers"):
        assert after[part] <= before[part] * _GROWTH, (part, before, after)
