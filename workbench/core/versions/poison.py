"""Inputs that crash a version: who was in the worker when it died, and how often.

A worker's death is put down to a request only where that request was alone in the worker. Its input
then has a *strike* for that crash, and for the crash before, in which it was one of several. After
three strikes it is refused, so that the version can serve everybody else. An input that is answered
after all has its strikes taken back.

Inputs are known by a digest and by the shapes of their tensors, never by their content. The table
is pure and has no clock. It keeps few entries, and asking whether a request may be one of them
costs one look into a set.
"""

from __future__ import annotations

from typing import NamedTuple

from workbench.core.status import ServingError, failed_precondition

STRIKES = 3
"""After so many crashes an input is refused."""
MAX_INPUTS = 64


class Outline(NamedTuple):
    """All of a request's inputs that may be shown: the signature, and of each tensor its name,
    dtype and shape, by name."""

    signature: str
    tensors: tuple[tuple[str, str, tuple[int, ...]], ...]

    def __str__(self) -> str:
        shapes = (f"{name}: {dtype} {list(shape)}" for name, dtype, shape in self.tensors)
        return f"{self.signature}({', '.join(shapes)})"


class PoisonTable:
    """The inputs that one version crashed on, by digest.

    Args:
        model, version: whose they are.
        limit: how many it keeps.

    Attributes:
        outlines: of all entries. A request with another outline need not be looked at.
    """

    def __init__(self, model: str = "", version: int = 0, limit: int = MAX_INPUTS) -> None:
        self._model = model
        self._version = version
        self._limit = limit
        # In the order of their last strike, oldest first.
        self._strikes: dict[str, tuple[int, Outline]] = {}
        self.outlines: frozenset[Outline] = frozenset()

    def __len__(self) -> int:
        return len(self._strikes)

    def strikes(self, digest: str) -> int:
        """How many crashes are put down to this input."""
        return self._strikes.get(digest, (0,))[0]

    def is_refused(self, digest: str) -> bool:
        return self.strikes(digest) >= STRIKES

    def strike(self, digest: str, outline: Outline, crashes: int = 1) -> int:
        """Put `crashes` down to this input; how many those are in all."""
        strikes = self.strikes(digest) + crashes
        self._strikes.pop(digest, None)
        self._strikes[digest] = strikes, outline
        if len(self._strikes) > self._limit:
            # Those that are only suspected go first.
            suspected = (d for d in self._strikes if not self.is_refused(d) and d != digest)
            del self._strikes[next(suspected, next(iter(self._strikes)))]
        self._refresh()
        return strikes

    def acquit(self, digest: str) -> None:
        """This input has been answered."""
        if self._strikes.pop(digest, None) is not None:
            self._refresh()

    def _refresh(self) -> None:
        self.outlines = frozenset(outline for _, outline in self._strikes.values())

    def refusal(self, digest: str) -> ServingError:
        """Of a request with an input that has three strikes.

        FAILED_PRECONDITION and not INVALID_ARGUMENT: the input may be a good one. It is the state
        of this version that must change before it is worth sending again.
        """
        return failed_precondition(
            f"This input ({digest}) was in the worker each of the {self.strikes(digest)} times "
            f"that version {self._version} of {self._model} crashed; it is refused until the "
            "version is loaded anew"
        )
