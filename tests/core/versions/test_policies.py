"""The transition policies: TensorFlow Serving's tables, and a model check of each."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from workbench.core.status import ServingError, invalid_argument
from workbench.core.versions.policies import (
    BY_MEMORY,
    TRANSITIONS,
    Act,
    Action,
    Policy,
    Version,
    availability_preserving,
    policy_name,
    resource_preserving,
    staged,
    transition_named,
)
from workbench.core.versions.states import Harness, HarnessState, ServableId

S = HarnessState


def versions(text: str) -> list[Version]:
    """A table row: ``1 ready u; 2 loading A`` (A = aspired, u = un-aspired)."""
    found = []
    for row in text.split("; "):
        number, state, aspired = row.split()
        found.append(Version(int(number), HarnessState(state), aspired == "A"))
    return found


def told(action: Action | None) -> tuple[str, int] | None:
    return None if action is None else (action.act.value, action.version)


@pytest.mark.parametrize(
    ("table", "action"),
    [
        ("1 unloading u; 2 error u; 3 ready A; 4 new A; 5 new A", ("load", 5)),
        ("1 unloading u; 2 error u; 3 ready u; 4 ready A; 5 new A", ("unload", 3)),
        ("1 disabled u; 2 ready u; 3 error u", ("unload", 2)),
        ("1 ready A; 2 error A; 3 loading A; 4 unloading u; 5 disabled u", None),
        ("1 ready u; 2 loading A", None),
        ("1 ready u; 2 error A", None),
        ("1 ready u; 2 loading A; 3 ready A", ("unload", 1)),
        ("1 ready u; 2 error A; 3 ready A", ("unload", 1)),
        ("2 ready u; 1 ready u; 3 error A; 4 loading A", ("unload", 1)),
    ],
)
def test_availability_preserving_table(table: str, action: tuple[str, int] | None) -> None:
    assert told(availability_preserving(versions(table))) == action


@pytest.mark.parametrize(
    ("table", "action"),
    [
        ("1 unloading u; 2 ready A; 3 ready u; 4 new A; 5 ready u", ("unload", 3)),
        ("1 ready A; 2 loading A; 3 new A; 4 disabled u; 5 new A", ("load", 5)),
        ("1 ready A; 2 error A; 3 loading A; 4 unloading u; 5 disabled u", None),
        ("1 unload-requested u; 2 new A", None),
        ("1 error u; 2 new A", ("load", 2)),
        ("1 error u; 2 unload-requested u; 3 new A", None),
        ("1 error u; 2 disabled u; 3 new A", ("load", 3)),
        ("1 ready A", None),
    ],
)
def test_resource_preserving_table(table: str, action: tuple[str, int] | None) -> None:
    assert told(resource_preserving(versions(table))) == action


@pytest.mark.parametrize(
    ("table", "action"),
    [
        # One transition, step by step.
        ("1 ready u; 2 new A", ("stage", 2)),
        ("1 ready u; 2 load-requested A", None),
        ("1 ready u; 2 load-approved A", None),
        ("1 ready u; 2 staging A", None),
        ("1 ready u; 2 staged A", ("unload", 1)),
        ("1 unload-requested u; 2 staged A", None),
        ("1 quiescing u; 2 staged A", None),
        ("1 quiesced u; 2 staged A", None),
        ("1 unloading u; 2 staged A", None),
        ("1 disabled u; 2 staged A", ("load", 2)),
        ("2 loading A", None),
        ("2 ready A", None),
        # Nothing to stage beside.
        ("2 new A", ("load", 2)),
        ("1 ready A; 2 new A; 3 new A", ("load", 3)),
        ("1 error u; 2 new A", ("load", 2)),
        # What goes away can be staged beside, too; so can what has not come yet.
        ("1 quiescing u; 2 new A", ("stage", 2)),
        ("1 loading u; 2 new A", ("stage", 2)),
        # One is staged at a time, the highest first.
        ("1 ready u; 2 new A; 3 new A", ("stage", 3)),
        ("1 ready u; 2 staging u; 3 new A", None),
        ("1 ready u; 2 new A; 3 staging A", None),
        ("1 disabled u; 2 new A; 3 staged A", ("load", 3)),
        ("2 new A; 3 loading A", ("load", 2)),
        # A version that fails takes nobody's place.
        ("1 ready u; 2 error A", None),
        ("1 ready u; 2 error A; 3 new A", ("stage", 3)),
        ("1 disabled u; 2 error A", None),
        # The old version died meanwhile.
        ("1 error u; 2 staging A", None),
        ("1 error u; 2 staged A", ("load", 2)),
        # Several are old, or none is wanted.
        ("1 ready u; 2 ready A; 3 new A", ("unload", 1)),
        ("2 ready u; 1 ready u; 3 new A", ("unload", 1)),
        ("2 ready u; 1 ready u; 3 staged A", ("unload", 1)),
        ("1 ready u", ("unload", 1)),
        ("1 ready u; 2 staged u", ("unload", 1)),
        ("1 ready A; 2 staged u", None),
    ],
)
def test_staged_table(table: str, action: tuple[str, int] | None) -> None:
    assert told(staged(versions(table))) == action


@pytest.mark.parametrize("policy", [availability_preserving, resource_preserving])
def test_what_was_staged_is_loaded_under_another_policy(policy: Policy) -> None:
    assert told(policy(versions("1 error u; 2 staged A"))) == ("load", 2)
    assert told(policy(versions("1 ready A; 2 staging A"))) is None


@pytest.mark.parametrize(
    ("table", "action"),
    [
        ("10 new u; 9 unloading A", None),
        ("10 new u; 9 unloading A; 1 new A; 5 new A; 3 new A", ("load", 5)),
        ("10 staged u; 9 staging A; 5 new A; 7 staged A", ("load", 7)),
    ],
)
def test_the_highest_aspired_new_version_is_loaded(
    table: str, action: tuple[str, int] | None
) -> None:
    assert told(availability_preserving(versions(table))) == action


@pytest.mark.parametrize("policy", [availability_preserving, resource_preserving, staged])
def test_nothing_to_do_without_versions(policy: Policy) -> None:
    assert policy([]) is None


@pytest.mark.parametrize(
    ("policy", "table", "why"),
    [
        (availability_preserving, "1 ready u", "no version is aspired any more"),
        (
            availability_preserving,
            "1 ready u; 2 ready A",
            "an aspired version is ready to serve in its place",
        ),
        (
            availability_preserving,
            "1 ready u; 2 ready u; 3 error A",
            "a higher un-aspired version still serves",
        ),
        (availability_preserving, "1 new A", "highest aspired version not loaded yet"),
        (resource_preserving, "1 ready u", "not aspired: its memory is needed first"),
        (resource_preserving, "1 new A", "highest aspired, and no un-aspired version is left"),
        (staged, "1 ready u", "no version is aspired any more"),
        (staged, "1 ready u; 2 new A", "highest aspired, and an un-aspired version is left"),
        (staged, "1 ready u; 2 ready u; 3 new A", "a higher un-aspired version still serves"),
        (
            staged,
            "1 ready u; 2 staged A",
            "an aspired version is staged and can be loaded in its place",
        ),
        (
            staged,
            "1 ready u; 2 ready A; 3 staged A",
            "an aspired version is ready to serve in its place",
        ),
        (staged, "2 staged A", "staged, and no un-aspired version is left"),
        (staged, "2 new A", "highest aspired, and no un-aspired version is left"),
    ],
)
def test_every_decision_says_why(policy: Policy, table: str, why: str) -> None:
    action = policy(versions(table))
    assert action is not None
    assert action.why == why


@pytest.mark.parametrize(
    ("names", "short", "policy"),
    [
        (("smooth", "availability_preserving"), "smooth", availability_preserving),
        (("unload_first", "resource_preserving"), "unload_first", resource_preserving),
        (
            ("unload_first+hold", "resource_preserving+hold"),
            "unload_first+hold",
            resource_preserving,
        ),
        (("staged",), "staged", staged),
        (("staged+hold",), "staged+hold", staged),
    ],
)
def test_policies_have_a_short_and_a_full_name(
    names: tuple[str, str], short: str, policy: Policy
) -> None:
    for name in names:
        assert policy_name(name) == short
        assert transition_named(name).policy is policy


def test_each_that_leaves_a_gap_also_holds() -> None:
    assert list(TRANSITIONS) == [
        "smooth", "unload_first", "unload_first+hold", "staged", "staged+hold",
    ]  # fmt: skip
    holding = ["unload_first+hold", "staged+hold"]
    assert [name for name, each in TRANSITIONS.items() if each.holds] == holding
    assert transition_named("resource_preserving+hold").holds


def test_they_are_ordered_by_the_memory_that_they_need() -> None:
    assert BY_MEMORY == ("smooth", "staged", "unload_first")


def test_an_unknown_policy_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ServingError) as raised:
        transition_named("quick")
    assert raised.value == invalid_argument(
        "Unknown transition 'quick': use one of availability_preserving, resource_preserving, "
        "resource_preserving+hold, smooth, staged, staged+hold, unload_first, unload_first+hold"
    )


# Model checking: simulated versions whose source, loads and interleavings are arbitrary.

HOLDS_RESOURCES = {s for s in S if not s.is_final} - {S.NEW, S.LOAD_REQUESTED}
NEXT = {
    S.LOAD_REQUESTED: S.LOAD_APPROVED,
    S.LOAD_APPROVED: S.LOADING,
    S.UNLOAD_REQUESTED: S.QUIESCING,
    S.QUIESCING: S.QUIESCED,
    S.QUIESCED: S.UNLOADING,
    S.UNLOADING: S.DISABLED,
}
NUMBERS = range(1, 4)


class Simulation(RuleBasedStateMachine):
    """Versions of one model, driven by a policy one small step at a time.

    The source may want any set of versions at any time, each load may fail, and every version
    moves on whenever it likes; only the policy decides what is loaded and unloaded.
    """

    policy: Policy
    most_aspired = len(NUMBERS)

    def __init__(self) -> None:
        super().__init__()
        self.harnesses: dict[int, Harness] = {}
        self.wanted: set[int] = set()
        # Versions that are to be staged only, and those that have weights in memory.
        self.to_stage: set[int] = set()
        self.weights: set[int] = set()

    def view(self) -> list[Version]:
        return [Version(v, h.state, h.aspired) for v, h in self.harnesses.items()]

    def ready(self) -> list[int]:
        return [v.version for v in self.view() if v.state is S.READY]

    @rule(wanted=st.sets(st.sampled_from(NUMBERS)))
    def source_changes(self, wanted: set[int]) -> None:
        self.wanted = set(sorted(wanted)[-self.most_aspired :])
        self.apply_source()

    def apply_source(self) -> None:
        self.flush()
        for version, harness in self.harnesses.items():
            unloading = not (harness.state.is_coming or harness.state is S.READY)
            if version in self.wanted and not harness.aspired and unloading:
                # As in TensorFlow Serving, the source's word is put off until it is gone.
                return
        for version, harness in self.harnesses.items():
            harness.aspired = version in self.wanted
        self.flush()
        for version in sorted(self.wanted - self.harnesses.keys()):
            self.harnesses[version] = Harness(ServableId("m", version))

    def flush(self) -> None:
        self.harnesses = {
            version: harness
            for version, harness in self.harnesses.items()
            if harness.aspired or not (harness.state.is_final or harness.state is S.NEW)
        }

    @rule(version=st.sampled_from(NUMBERS), load_works=st.booleans())
    def version_moves_on(self, version: int, load_works: bool) -> None:
        harness = self.harnesses.get(version)
        if harness is None:
            return
        if harness.state is S.LOAD_APPROVED and version in self.to_stage:
            harness.move(S.STAGING)
        elif harness.state in NEXT:
            harness.move(NEXT[harness.state])
        elif harness.state in (S.STAGING, S.LOADING):
            if not load_works:
                harness.move(S.ERROR)
            elif harness.aspired:
                harness.move(S.STAGED if harness.state is S.STAGING else S.READY)
            else:
                harness.move(S.UNLOADING)
        self.note_weights()

    def note_weights(self) -> None:
        for version, harness in self.harnesses.items():
            if harness.state is S.LOADING:
                self.weights.add(version)
            elif harness.state.is_final:
                self.weights.discard(version)

    @rule()
    def policy_decides(self) -> None:
        self.decide()

    def choose(self) -> Policy:
        return type(self).policy

    def decide(self) -> None:
        for harness in self.harnesses.values():
            if harness.state is S.STAGED and not harness.aspired:
                harness.move(S.UNLOADING)
        self.flush()
        action = self.choose()(self.view())
        if action is None:
            return
        harness = self.harnesses[action.version]
        if action.act is Act.STAGE:
            assert harness.aspired
            self.before_stage()
            self.to_stage.add(action.version)
            harness.move(S.LOAD_REQUESTED)
        elif action.act is Act.LOAD:
            assert harness.aspired
            self.before_load()
            self.to_stage.discard(action.version)
            harness.move(S.LOADING if harness.state is S.STAGED else S.LOAD_REQUESTED)
            self.note_weights()
        else:
            assert not harness.aspired, "an aspired version is never unloaded"
            harness.move(S.UNLOAD_REQUESTED)
            self.after_unload()

    def before_stage(self) -> None:
        """What must hold when staging is decided."""

    def before_load(self) -> None:
        """What must hold when a load is decided."""

    def after_unload(self) -> None:
        """What must hold when an unload is decided."""

    @precondition(lambda self: self.harnesses)
    @rule()
    def source_rests_and_loads_work(self) -> None:
        """Convergence: left alone, and if loads work, everything comes to where it should."""
        for _ in range(100):
            before = self.view()
            self.apply_source()
            self.decide()
            for version in list(self.harnesses):
                self.version_moves_on(version, load_works=True)
            if self.view() == before:
                break
        else:
            raise AssertionError("it never comes to rest")
        self.at_rest()

    def at_rest(self) -> None:
        for version in self.wanted:
            assert self.harnesses[version].state in (S.READY, S.ERROR)
        left = {v for v, h in self.harnesses.items() if not h.aspired}
        self.left_at_rest(left)

    def left_at_rest(self, left: set[int]) -> None:
        assert left == set()


class Smooth(Simulation):
    policy = availability_preserving

    def after_unload(self) -> None:
        if any(v.aspired for v in self.view()):
            assert self.ready(), "nothing serves, though a version is aspired"

    def left_at_rest(self, left: set[int]) -> None:
        # Where every aspired version is broken, one that is not aspired goes on serving.
        broken = all(self.harnesses[v].state is S.ERROR for v in self.wanted)
        assert len(left) <= (1 if self.wanted and broken else 0)
        assert all(self.harnesses[v].state is S.READY for v in left)


class UnloadFirst(Simulation):
    policy = resource_preserving

    def before_load(self) -> None:
        holding = [v for v in self.view() if not v.aspired and not v.state.is_final]
        assert holding == [], "a load while an un-aspired version holds resources"


class UnloadFirstLatest(UnloadFirst):
    """With one aspired version at a time, as `latest(1)` gives, never two are in memory."""

    most_aspired = 1

    @invariant()
    def memory_is_never_needed_twice(self) -> None:
        holding = [v.version for v in self.view() if v.state in HOLDS_RESOURCES]
        assert len(holding) <= 1


class SmoothLatest(Smooth):
    """With one aspired version at a time and a source that never wants nothing, something
    serves from the first success on."""

    most_aspired = 1

    def __init__(self) -> None:
        super().__init__()
        self.served = False

    @rule(wanted=st.sets(st.sampled_from(NUMBERS), min_size=1))
    def source_changes(self, wanted: set[int]) -> None:
        super().source_changes(wanted)

    @invariant()
    def something_serves_from_the_first_success_on(self) -> None:
        self.served = self.served or bool(self.ready())
        assert bool(self.ready()) == self.served


class Staged(Simulation):
    policy = staged

    def before_stage(self) -> None:
        assert not any(v.state.is_being_staged for v in self.view()), "one at a time"

    def before_load(self) -> None:
        holding = [v for v in self.view() if not v.aspired and not v.state.is_final]
        assert holding == [], "a load while an un-aspired version holds resources"

    def after_unload(self) -> None:
        if any(v.aspired for v in self.view()):
            coming = [v for v in self.view() if v.aspired and v.state in (S.STAGED, S.READY)]
            assert coming or self.ready(), "nothing takes the place of what was unloaded"

    def left_at_rest(self, left: set[int]) -> None:
        # Where every aspired version failed before it could be loaded, the old one serves on.
        broken = all(self.harnesses[v].state is S.ERROR for v in self.wanted)
        assert len(left) <= (1 if self.wanted and broken else 0)
        assert all(self.harnesses[v].state is S.READY for v in left)


class StagedLatest(Staged):
    """With one aspired version at a time, weights are never in memory twice."""

    most_aspired = 1

    @invariant()
    def weights_are_never_needed_twice(self) -> None:
        assert len(self.weights & self.harnesses.keys()) <= 1
        assert len([v for v in self.view() if v.state.is_being_staged]) <= 1


class AnyPolicy(Simulation):
    """The transition is changed live, as often as one likes: it always comes to rest."""

    def __init__(self) -> None:
        super().__init__()
        self.now: Policy = staged

    @rule(policy=st.sampled_from([availability_preserving, resource_preserving, staged]))
    def transition_changes(self, policy: Policy) -> None:
        self.now = policy

    def choose(self) -> Policy:
        return self.now

    def left_at_rest(self, left: set[int]) -> None:
        broken = all(self.harnesses[v].state is S.ERROR for v in self.wanted)
        allowed = 1 if self.wanted and broken and self.now is not resource_preserving else 0
        assert len(left) <= allowed
        assert all(self.harnesses[v].state is S.READY for v in left)


TestSmooth = Smooth.TestCase
TestSmoothLatest = SmoothLatest.TestCase
TestUnloadFirst = UnloadFirst.TestCase
TestUnloadFirstLatest = UnloadFirstLatest.TestCase
TestStaged = Staged.TestCase
TestStagedLatest = StagedLatest.TestCase
TestAnyPolicy = AnyPolicy.TestCase
for _case in (
    TestSmooth,
    TestSmoothLatest,
    TestUnloadFirst,
    TestUnloadFirstLatest,
    TestStaged,
    TestStagedLatest,
    TestAnyPolicy,
):
    _case.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
del _case
