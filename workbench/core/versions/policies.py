"""How one version replaces another: pure functions from the present state to the next action.

A policy looks at all managed versions of a model and returns at most one action. `reconcile` asks
it again after every change, so a transition is a chain of small decisions, each of which can be
stepped by hand. The first two are TensorFlow Serving's:

* `availability_preserving` ("smooth"): the new version loads while the old one serves; the
  old one goes only when the new one is ready. Needs memory for both.
* `resource_preserving` ("unload_first"): the old version goes first. Memory is never needed
  twice, and for a moment nothing serves.
* `staged`: while the old version serves, the new one is prepared without memory for its weights:
  its process is started, its graph is read, its files come into the page cache. Then the old one
  goes, and the weights are restored. Needs little more memory than one version, and the moment in
  which nothing serves is shorter.

Requests in that moment are refused. With `unload_first+hold` or `staged+hold` the same steps are
taken, and they wait instead (`core.versions.holding`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from workbench.core.status import invalid_argument
from workbench.core.versions.states import HarnessState


class Version(NamedTuple):
    """One managed version, as policies and `reconcile` see it.

    Attributes:
        version: its number.
        state: how far it got.
        aspired: whether it is wanted.
        refused: it failed before any work on it began, because of its files or for want of memory.
    """

    version: int
    state: HarnessState
    aspired: bool
    refused: bool = False


class Act(str, enum.Enum):
    """What can be done to a version. Policies load, stage and unload; the rest is `reconcile`'s."""

    LOAD = "load"
    STAGE = "stage"
    UNLOAD = "unload"
    CANCEL = "cancel"
    FORGET = "forget"
    REFUSE = "refuse"

    @property
    def is_of_policy(self) -> bool:
        """Whether a policy asks for it, not `reconcile` itself."""
        return self in (Act.LOAD, Act.STAGE, Act.UNLOAD)


class Action(NamedTuple):
    """Do this to that version; `why` is the reason in words, for the log and for teaching."""

    act: Act
    version: int
    why: str


Policy = Callable[[Sequence[Version]], Action | None]


def _load(
    versions: Sequence[Version],
    suits: Callable[[HarnessState], bool],
    why: str,
    act: Act = Act.LOAD,
) -> Action | None:
    """Load (or stage) the highest version that is wanted and whose state `suits`."""
    numbers = [v.version for v in versions if v.aspired and suits(v.state)]
    return Action(act, max(numbers), why) if numbers else None


def _is_loadable(state: HarnessState) -> bool:
    # Not only new: a version may have been staged before the transition was changed.
    return state.is_loadable


def _is_new(state: HarnessState) -> bool:
    return state is HarnessState.NEW


def _make_way(versions: Sequence[Version], successor: str) -> Action | None:
    """Unload the lowest version that serves and is not wanted: if no version is wanted, if one can
    serve in its place (`successor` says how far it has got), or if a higher such version serves."""
    leaving = [v.version for v in versions if v.state is HarnessState.READY and not v.aspired]
    if not leaving:
        return None
    if not any(v.aspired for v in versions):
        why = "no version is aspired any more"
    elif successor:
        why = f"an aspired version is {successor} in its place"
    elif len(leaving) > 1:
        why = "a higher un-aspired version still serves"
    else:
        return None
    return Action(Act.UNLOAD, min(leaving), why)


def availability_preserving(versions: Sequence[Version]) -> Action | None:
    """Never stop serving: unload only once an aspired version is ready.

    Source: TensorFlow Serving, `core/availability_preserving_policy.cc`.
    """
    ready = any(v.aspired and v.state is HarnessState.READY for v in versions)
    return _make_way(versions, "ready to serve" if ready else "") or _load(
        versions, _is_loadable, "highest aspired version not loaded yet"
    )


def resource_preserving(versions: Sequence[Version]) -> Action | None:
    """Never need memory twice: load only once every un-aspired version is gone.

    Source: TensorFlow Serving, `core/resource_preserving_policy.cc`.
    """
    for v in versions:
        if v.state is HarnessState.READY and not v.aspired:
            return Action(Act.UNLOAD, v.version, "not aspired: its memory is needed first")
    if any(not v.aspired and not v.state.is_final for v in versions):
        return None
    return _load(versions, _is_loadable, "highest aspired, and no un-aspired version is left")


def staged(versions: Sequence[Version]) -> Action | None:
    """Need memory for weights only once, and be without a version as briefly as possible: unload
    only once an aspired version is staged."""
    states = {v.state for v in versions if v.aspired}
    successor = "staged and can be loaded" if HarnessState.STAGED in states else ""
    if HarnessState.READY in states:
        successor = "ready to serve"
    action = _make_way(versions, successor)
    if action is not None:
        return action
    if any(not v.aspired and not v.state.is_final for v in versions):
        if any(v.state.is_being_staged for v in versions):
            return None
        why = "highest aspired, and an un-aspired version is left"
        return _load(versions, _is_new, why, Act.STAGE)
    return _load(
        versions,
        lambda state: state is HarnessState.STAGED,
        "staged, and no un-aspired version is left",
    ) or _load(versions, _is_new, "highest aspired, and no un-aspired version is left")


class Transition(NamedTuple):
    """One way to replace a version.

    Attributes:
        policy: chooses the next action.
        full_name: its longer name; TensorFlow Serving's, if it has the policy.
        makes_way: whether the old version is unloaded before the new one serves, so that memory is
            needed only once.
        stages: whether the new version is prepared while the old one serves.
        holds: whether requests wait for the next version while none serves.
    """

    policy: Policy
    full_name: str
    makes_way: bool = True
    stages: bool = False
    holds: bool = False

    @property
    def lightness(self) -> tuple[bool, bool]:
        """Orders transitions by the memory that they need, the most first."""
        return self.makes_way, not self.stages


def _and_holding(transitions: dict[str, Transition]) -> Iterator[tuple[str, Transition]]:
    for name, each in transitions.items():
        yield name, each
        if each.makes_way:
            yield f"{name}+hold", each._replace(full_name=f"{each.full_name}+hold", holds=True)


TRANSITIONS = dict(
    _and_holding(
        {
            "smooth": Transition(
                availability_preserving, "availability_preserving", makes_way=False
            ),
            "unload_first": Transition(resource_preserving, "resource_preserving"),
            "staged": Transition(staged, "staged", stages=True),
        }
    )
)
"""Every transition by its short name. Each that leaves a gap also holds requests if wanted."""

BY_MEMORY = tuple(
    sorted(
        (name for name, each in TRANSITIONS.items() if not each.holds),
        key=lambda name: TRANSITIONS[name].lightness,
    )
)
"""Those that hold no requests: first the one that needs the most memory."""

_SHORT = {each.full_name: name for name, each in TRANSITIONS.items()}


def policy_name(name: str) -> str:
    """The short name (`smooth`, `unload_first` ...) of a policy given by any of its names.

    Raises:
        ServingError: INVALID_ARGUMENT, no policy has that name.
    """
    short = _SHORT.get(name, name)
    if short not in TRANSITIONS:
        known = ", ".join(sorted({*TRANSITIONS, *_SHORT}))
        raise invalid_argument(f"Unknown transition {name!r}: use one of {known}")
    return short


def transition_named(name: str) -> Transition:
    """The transition itself; the same names and the same error as `policy_name`."""
    return TRANSITIONS[policy_name(name)]
