"""The life of one version of one servable.

Two views of the same life. The *harness state* is what the manager works with, step by step;
the *public state* is what a client may see (`GetModelStatus`), and it only moves forward.
Both are TensorFlow Serving's (`loader_harness.h`, `servable_state.h`); `staging` and `staged`,
which only the transition `staged` uses, are ours.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from workbench.core.status import Code, ServingError


class ServableId(NamedTuple):
    """A servable (a model, by name) and one version of it."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{{name: {self.name} version: {self.version}}}"


class HarnessState(str, enum.Enum):
    NEW = "new"
    LOAD_REQUESTED = "load-requested"
    LOAD_APPROVED = "load-approved"
    STAGING = "staging"
    STAGED = "staged"
    LOADING = "loading"
    READY = "ready"
    UNLOAD_REQUESTED = "unload-requested"
    QUIESCING = "quiescing"
    QUIESCED = "quiesced"
    UNLOADING = "unloading"
    DISABLED = "disabled"
    ERROR = "error"


class PublicState(enum.IntEnum):
    """Numbers as in `get_model_status.proto`."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


_S = HarnessState
LEGAL_MOVES: dict[HarnessState, tuple[HarnessState, ...]] = {
    _S.NEW: (_S.LOAD_REQUESTED, _S.ERROR),
    # One that is no longer wanted is given up at once, however far its load got.
    _S.LOAD_REQUESTED: (_S.LOAD_APPROVED, _S.UNLOADING, _S.ERROR),
    _S.LOAD_APPROVED: (_S.LOADING, _S.STAGING, _S.UNLOADING, _S.ERROR),
    _S.STAGING: (_S.STAGED, _S.UNLOADING, _S.ERROR),
    _S.STAGED: (_S.LOADING, _S.UNLOADING, _S.ERROR),
    _S.LOADING: (_S.READY, _S.UNLOADING, _S.ERROR),
    _S.READY: (_S.UNLOAD_REQUESTED, _S.ERROR),
    _S.UNLOAD_REQUESTED: (_S.QUIESCING, _S.ERROR),
    _S.QUIESCING: (_S.QUIESCED, _S.ERROR),
    _S.QUIESCED: (_S.UNLOADING, _S.ERROR),
    _S.UNLOADING: (_S.DISABLED, _S.ERROR),
    _S.DISABLED: (_S.ERROR,),
    _S.ERROR: (),
}

FINAL_STATES = frozenset({_S.DISABLED, _S.ERROR})
# On the way to serving; what is no longer wanted here is given up.
RISING_STATES = frozenset({_S.LOAD_REQUESTED, _S.LOAD_APPROVED, _S.STAGING, _S.STAGED, _S.LOADING})

_PUBLIC: dict[HarnessState, PublicState] = {
    _S.NEW: PublicState.START,
    _S.LOAD_REQUESTED: PublicState.START,
    _S.LOAD_APPROVED: PublicState.LOADING,
    _S.STAGING: PublicState.LOADING,
    _S.STAGED: PublicState.LOADING,
    _S.LOADING: PublicState.LOADING,
    _S.READY: PublicState.AVAILABLE,
    _S.UNLOAD_REQUESTED: PublicState.UNLOADING,
    _S.QUIESCING: PublicState.UNLOADING,
    _S.QUIESCED: PublicState.UNLOADING,
    _S.UNLOADING: PublicState.UNLOADING,
    _S.DISABLED: PublicState.END,
    _S.ERROR: PublicState.END,
}


def public_state(state: HarnessState) -> PublicState:
    """What a client sees of a harness state."""
    return _PUBLIC[state]


class Harness:
    """One version being managed: its state, whether it is wanted, and why it failed.

    `aspired` says whether the source wants this version; the state says how far it got.
    Only `move` changes the state, and only along `LEGAL_MOVES`.
    """

    __slots__ = ("aspired", "error", "id", "state")

    def __init__(self, servable: ServableId, aspired: bool = True) -> None:
        self.id = servable
        self.aspired = aspired
        self.state = HarnessState.NEW
        self.error: ServingError | None = None

    @property
    def public_state(self) -> PublicState:
        return _PUBLIC[self.state]

    def move(self, to: HarnessState) -> None:
        """Step to another state.

        Raises:
            ServingError: INTERNAL, the step is not among `LEGAL_MOVES` (the harness keeps
                its state).
        """
        if to not in LEGAL_MOVES[self.state]:
            raise ServingError(
                Code.INTERNAL,
                f"Illegal request to transition from state {self.state.value} to {to.value}",
            )
        self.state = to

    def fail(self, error: ServingError) -> None:
        """End in `error`, keeping the reason; legal from every state but `error` itself."""
        self.move(HarnessState.ERROR)
        self.error = error

    def __repr__(self) -> str:
        return f"Harness({self.id} {self.state.value}{'' if self.aspired else ' un-aspired'})"
