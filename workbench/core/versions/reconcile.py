"""The server's next actions on one model's versions: the whole loop, as a pure function.

A model has versions, each in a state, and each aspired (wanted) or not. `reconcile` looks at all of
them and returns the actions to take now. The caller takes them, and asks again until there are
none. It asks once more whenever something has changed: a folder appeared, a load ended, a version
drained.

    while actions := reconcile(versions, transition):
        for action in actions:
            ...

The order is TensorFlow Serving's (`aspired_versions_manager.cc`): versions that are not wanted any
more are cleaned up, then the model's policy is asked for at most one action (`GetNextAction`), and
the caller takes it (`PerformAction`). The server's manager does so with processes, the policy table
by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workbench.core.versions.policies import Act, Action, Version, transition_named
from workbench.core.versions.states import HarnessState


def reconcile(
    versions: Sequence[Version],
    transition: str,
    has_room: Callable[[int], bool] = lambda version: True,
) -> list[Action]:
    """The actions to take now, in this order; empty if nothing has to be started.

    Args:
        versions: all managed versions of one model.
        transition: the name of its policy.
        has_room: whether there is memory to load a version, given by number. Asked only about new
            versions, and only before other versions would make way for them.

    Raises:
        ServingError: INVALID_ARGUMENT, no policy has that name.
    """
    return (
        cancelled(versions) or forgotten(versions) or _next_action(versions, transition, has_room)
    )


def cancelled(versions: Sequence[Version]) -> list[Action]:
    """Cancel versions that are not wanted any more and have never served at once, whatever they do:
    nothing is gained by waiting, so no policy is asked."""
    return [
        Action(Act.CANCEL, v.version, "not aspired any more, and it does not serve yet")
        for v in versions
        if v.state.is_rising and not v.aspired
    ]


def forgotten(versions: Sequence[Version]) -> list[Action]:
    """Forget versions that are not wanted and hold nothing: those that have ended, and those on
    which no work has begun."""
    return [
        Action(
            Act.FORGET,
            v.version,
            "not aspired, and it has ended" if v.state.is_final else "not aspired, and never begun",
        )
        for v in versions
        if not v.aspired and (v.state.is_final or v.state is HarnessState.NEW)
    ]


def _next_action(
    versions: Sequence[Version], transition: str, has_room: Callable[[int], bool]
) -> list[Action]:
    """The policy's action, unless it would be in vain.

    Under `smooth` no version makes way before its successor serves. Under the others a version that
    serves makes way for one that may not fit. So before any version is unloaded or staged, new
    versions without room are refused. If every wanted version is refused, those that serve go on.
    """
    chosen = transition_named(transition)
    action = chosen.policy(versions)
    if action is None:
        return []
    if action.act is Act.LOAD or not chosen.makes_way:
        return [action]
    wanted = [v for v in versions if v.aspired]
    refused = [
        Action(Act.REFUSE, v.version, "there is no memory for it")
        for v in wanted
        if v.state is HarnessState.NEW and not has_room(v.version)
    ]
    if refused:
        return refused
    in_vain = bool(wanted) and all(v.refused for v in wanted)
    return [] if in_vain else [action]


def begun(act: Act, state: HarnessState) -> HarnessState:
    """The state that a version enters as an action on it begins; `state` is the one it is in.

    Raises:
        KeyError: for FORGET and REFUSE, which are over at once.
    """
    if act is Act.LOAD and state is HarnessState.STAGED:
        return HarnessState.LOADING
    return _BEGUN[act]


_BEGUN = {
    Act.LOAD: HarnessState.LOAD_REQUESTED,
    Act.STAGE: HarnessState.LOAD_REQUESTED,
    Act.UNLOAD: HarnessState.UNLOAD_REQUESTED,
    Act.CANCEL: HarnessState.UNLOADING,
}
