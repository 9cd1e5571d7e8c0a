"""The life of one version of one servable.

The manager works with the *harness state*, step by step. A client sees the *public state*
(`GetModelStatus`), which only moves forward. Both are TensorFlow Serving's (`loader_harness.h`,
`servable_state.h`); `staging` and `staged`, which only the transition `staged` uses, are ours.
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
    """How far a version has got, as the manager sees it.

    A version that is wanted goes down this list to `READY`, and `STAGING` and `STAGED` are on the
    way only under the transition `staged`. A version that is no longer wanted goes on to
    `DISABLED`, from wherever it is; any failure ends in `ERROR`. Ask the predicates below instead
    of listing states.
    """

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

    @property
    def public(self) -> PublicState:
        """The state as a client sees it."""
        return _LIFE[self][0]

    @property
    def is_rising(self) -> bool:
        """Work on getting it to serve has begun and has not ended. If it is no longer wanted, it
        is cancelled."""
        return self in _RISING

    @property
    def is_coming(self) -> bool:
        """It does not serve yet, and may: it is new or rising."""
        return self is HarnessState.NEW or self in _RISING

    @property
    def is_being_staged(self) -> bool:
        """It is on its way to being staged, or staged and waiting for its turn to load."""
        return self in _BEING_STAGED

    @property
    def is_loadable(self) -> bool:
        """A load can begin here: from nothing, or from what has been staged."""
        return self in (HarnessState.NEW, HarnessState.STAGED)

    @property
    def has_drained(self) -> bool:
        """It has answered its last request, and its process is no longer needed."""
        return self in _DRAINED

    @property
    def is_final(self) -> bool:
        """Nothing more happens to it, and it holds nothing."""
        return self in _FINAL

    @property
    def is_settled(self) -> bool:
        """It changes only on request from now on: it serves, or is final."""
        return self is HarnessState.READY or self in _FINAL

    @property
    def is_revivable(self) -> bool:
        """If it is wanted again it goes on as it is, without being unloaded first."""
        return self in (HarnessState.NEW, HarnessState.READY)

    @property
    def holds_weights(self) -> bool:
        """Its weights take memory, or are about to."""
        return self in _HOLDS_WEIGHTS


class PublicState(enum.IntEnum):
    """How far a version has got, as a client sees it; numbers as in `get_model_status.proto`."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50

    @property
    def is_coming(self) -> bool:
        """It does not serve yet, and may."""
        return self in (PublicState.START, PublicState.LOADING)

    @property
    def is_moving(self) -> bool:
        """Its memory changes now."""
        return self in (PublicState.LOADING, PublicState.UNLOADING)


_S = HarnessState
_P = PublicState
_LIFE: dict[HarnessState, tuple[PublicState, tuple[HarnessState, ...]]] = {
    _S.NEW: (_P.START, (_S.LOAD_REQUESTED, _S.ERROR)),
    # A version that is no longer wanted is cancelled at once, however far its load got.
    _S.LOAD_REQUESTED: (_P.START, (_S.LOAD_APPROVED, _S.UNLOADING, _S.ERROR)),
    _S.LOAD_APPROVED: (_P.LOADING, (_S.LOADING, _S.STAGING, _S.UNLOADING, _S.ERROR)),
    _S.STAGING: (_P.LOADING, (_S.STAGED, _S.UNLOADING, _S.ERROR)),
    _S.STAGED: (_P.LOADING, (_S.LOADING, _S.UNLOADING, _S.ERROR)),
    _S.LOADING: (_P.LOADING, (_S.READY, _S.UNLOADING, _S.ERROR)),
    _S.READY: (_P.AVAILABLE, (_S.UNLOAD_REQUESTED, _S.ERROR)),
    _S.UNLOAD_REQUESTED: (_P.UNLOADING, (_S.QUIESCING, _S.ERROR)),
    _S.QUIESCING: (_P.UNLOADING, (_S.QUIESCED, _S.ERROR)),
    _S.QUIESCED: (_P.UNLOADING, (_S.UNLOADING, _S.ERROR)),
    _S.UNLOADING: (_P.UNLOADING, (_S.DISABLED, _S.ERROR)),
    _S.DISABLED: (_P.END, (_S.ERROR,)),
    _S.ERROR: (_P.END, ()),
}
"""Each state as a client sees it, and the states that may follow."""
LEGAL_MOVES = {state: following for state, (_, following) in _LIFE.items()}

_BEING_STAGED = frozenset({_S.LOAD_REQUESTED, _S.LOAD_APPROVED, _S.STAGING, _S.STAGED})
_RISING = _BEING_STAGED | {_S.LOADING}
_HOLDS_WEIGHTS = frozenset(
    {_S.LOADING, _S.READY, _S.UNLOAD_REQUESTED, _S.QUIESCING, _S.QUIESCED, _S.UNLOADING}
)
_DRAINED = frozenset({_S.QUIESCED, _S.UNLOADING, _S.DISABLED})
_FINAL = frozenset({_S.DISABLED, _S.ERROR})


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
        """Its state as a client sees it."""
        return self.state.public

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
