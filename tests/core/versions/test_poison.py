"""Inputs that crash a version: when they are refused, and that the table stays small and fair."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from workbench.core.status import failed_precondition
from workbench.core.versions.poison import STRIKES, Outline, PoisonTable

ONE = Outline("serving_default", (("x", "float32", (1, 3)),))
TWO = Outline("other", (("a", "string", ()), ("b", "int64", (2,))))


def test_three_strikes() -> None:
    table = PoisonTable("m", 2)
    assert [table.strike("d1", ONE) for _ in range(2)] == [1, 2]
    assert not table.is_refused("d1")
    assert table.strike("d1", ONE) == 3
    assert table.is_refused("d1")
    assert not table.is_refused("d2")
    assert table.refusal("d1") == failed_precondition(
        "This input (d1) was in the worker each of the 3 times that version 2 of m crashed; it is "
        "refused until the version is loaded again"
    )


def test_a_crash_among_others_counts_with_the_one_alone() -> None:
    table = PoisonTable()
    assert table.strike("d1", ONE, crashes=2) == 2
    assert table.strike("d1", ONE) == 3


def test_an_answer_takes_the_strikes_back() -> None:
    table = PoisonTable()
    table.strike("d1", ONE, crashes=2)
    table.strike("d2", TWO)
    table.acquit("d1")
    table.acquit("unknown")
    assert (table.strikes("d1"), table.strikes("d2"), table.outlines) == (0, 1, {TWO})


def test_outlines_read_well() -> None:
    assert str(ONE) == "serving_default(x: float32 [1, 3])"
    assert str(TWO) == "other(a: string [], b: int64 [2])"


def test_suspects_make_room_before_what_is_refused() -> None:
    table = PoisonTable(limit=2)
    table.strike("poison", ONE, crashes=3)
    table.strike("suspect", ONE)
    table.strike("newer", TWO)
    assert [table.strikes(d) for d in ("poison", "suspect", "newer")] == [3, 0, 1]
    table.strike("newer", TWO, crashes=2)
    table.strike("newest", TWO, crashes=3)
    # All are refused: the oldest goes.
    assert [table.strikes(d) for d in ("poison", "newer", "newest")] == [0, 3, 3]


LIMIT = 4


class Table(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.table = PoisonTable(limit=LIMIT)
        self.crashes: dict[str, int] = {}

    @rule(digest=st.sampled_from("abcdef"), crashes=st.integers(1, 2))
    def strike(self, digest: str, crashes: int) -> None:
        before = self.table.strikes(digest)
        assert self.table.strike(digest, ONE, crashes) == before + crashes
        self.crashes[digest] = self.crashes.get(digest, 0) + crashes

    @rule(digest=st.sampled_from("abcdef"))
    def acquit(self, digest: str) -> None:
        self.table.acquit(digest)
        self.crashes.pop(digest, None)

    @invariant()
    def nobody_is_refused_for_fewer_crashes_than_three(self) -> None:
        for digest in "abcdef":
            assert self.table.strikes(digest) <= self.crashes.get(digest, 0)
            assert self.table.is_refused(digest) <= (self.crashes.get(digest, 0) >= STRIKES)

    @invariant()
    def it_stays_small(self) -> None:
        assert len(self.table) <= LIMIT
        assert self.table.outlines == (frozenset({ONE}) if len(self.table) else frozenset())


TestTable = Table.TestCase
TestTable.settings = settings(max_examples=50, deadline=None)
