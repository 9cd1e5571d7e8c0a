"""Harness states: which moves are legal, and what a client sees of each."""

from __future__ import annotations

import itertools

import pytest

from workbench.core.status import Code, ServingError
from workbench.core.versions.states import (
    LEGAL_MOVES,
    Harness,
    HarnessState,
    PublicState,
    ServableId,
)

S = HarnessState
WHOLE_LIFE = [
    S.NEW,
    S.LOAD_REQUESTED,
    S.LOAD_APPROVED,
    S.LOADING,
    S.READY,
    S.UNLOAD_REQUESTED,
    S.QUIESCING,
    S.QUIESCED,
    S.UNLOADING,
    S.DISABLED,
]
STAGED_LIFE = [*WHOLE_LIFE[:3], S.STAGING, S.STAGED, *WHOLE_LIFE[3:]]
LEGAL = {
    *itertools.pairwise(WHOLE_LIFE),
    *itertools.pairwise(STAGED_LIFE),
    *((state, S.UNLOADING) for state in STAGED_LIFE[1:6]),
    *((state, S.ERROR) for state in STAGED_LIFE),
}


def harness_in(state: HarnessState) -> Harness:
    harness = Harness(ServableId("m", 3))
    harness.state = state
    return harness


@pytest.mark.parametrize(("before", "after"), list(itertools.product(S, S)))
def test_every_pair_of_states_is_legal_or_refused(
    before: HarnessState, after: HarnessState
) -> None:
    harness = harness_in(before)
    if (before, after) in LEGAL:
        harness.move(after)
        assert harness.state is after
        return
    with pytest.raises(ServingError) as raised:
        harness.move(after)
    assert raised.value == ServingError(
        Code.INTERNAL,
        f"Illegal request to transition from state {before.value} to {after.value}",
    )
    assert harness.state is before


@pytest.mark.parametrize(("life", "loading"), [(WHOLE_LIFE, 2), (STAGED_LIFE, 4)])
def test_the_public_state_of_a_whole_life_only_moves_forward(
    life: list[HarnessState], loading: int
) -> None:
    harness = Harness(ServableId("m", 3))
    seen = [harness.public_state]
    for state in life[1:]:
        harness.move(state)
        seen.append(harness.public_state)
    assert [state.name for state in seen] == [
        "START",
        "START",
        *["LOADING"] * loading,
        "AVAILABLE",
        "UNLOADING",
        "UNLOADING",
        "UNLOADING",
        "UNLOADING",
        "END",
    ]
    assert all(a <= b for a, b in LEGAL_MOVES_IN_PUBLIC)


LEGAL_MOVES_IN_PUBLIC = [
    (before.public, after.public) for before, moves in LEGAL_MOVES.items() for after in moves
]


def test_public_states_have_the_numbers_of_get_model_status() -> None:
    assert {state.name: int(state) for state in PublicState} == {
        "START": 10,
        "LOADING": 20,
        "AVAILABLE": 30,
        "UNLOADING": 40,
        "END": 50,
    }


@pytest.mark.parametrize("state", S)
def test_predicates_agree_with_the_life_of_a_version(state: S) -> None:
    assert state.is_final is (state.public is PublicState.END)
    assert state.is_rising is (state in STAGED_LIFE[1:6])
    assert state.is_coming is (state in STAGED_LIFE[:6])
    assert state.is_being_staged is (state in STAGED_LIFE[1:5])
    assert state.is_settled is (state.public in (PublicState.AVAILABLE, PublicState.END))
    assert state.is_coming is state.public.is_coming
    assert state.is_loadable is any(to in LEGAL_MOVES[state] for to in (S.LOAD_REQUESTED,)) or (
        state is S.STAGED
    )
    assert state.is_revivable is (state in (S.NEW, S.READY))
    assert state.has_drained is (state in (S.QUIESCED, S.UNLOADING, S.DISABLED))
    leaving = state.public is PublicState.UNLOADING
    assert state.holds_weights is (state is S.LOADING or state is S.READY or leaving)
    assert state.public.is_moving is (state.public in (PublicState.LOADING, PublicState.UNLOADING))


def test_a_failure_keeps_its_reason_and_is_final() -> None:
    harness = harness_in(S.LOADING)
    reason = ServingError(Code.NOT_FOUND, "no such file")
    harness.fail(reason)
    assert (harness.state, harness.error) == (S.ERROR, reason)
    with pytest.raises(ServingError, match="Illegal request to transition from state error to err"):
        harness.fail(ServingError(Code.INTERNAL, "another"))
    assert harness.error is reason


def test_reads_as_tensorflow_serving_prints_it() -> None:
    assert str(ServableId("my_mnist_model", 2)) == "{name: my_mnist_model version: 2}"
    assert repr(Harness(ServableId("m", 1))) == "Harness({name: m version: 1} new)"
    assert (
        repr(Harness(ServableId("m", 1), aspired=False))
        == "Harness({name: m version: 1} new un-aspired)"
    )
