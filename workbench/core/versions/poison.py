"""Counts the crashes that each input was in the worker for, and refuses inputs that crash a version
again and again.

A worker's death is blamed on a request only if that request was alone in the worker. Its input then
gets a *strike* for that crash, and one for the crash before, in which it was one of several. After
three strikes it is refused, and the version can serve everybody else. An input that is answered
after all loses its strikes.

Inputs are known by a digest and by the shapes of their tensors, never by their content. The table
is pure and has no clock. It keeps few entries, and checking whether a request may be one of them
costs one look-up in a set.
"""

from __future__ import annotations

from typing import NamedTuple

from workbench.core.status import ServingError, failed_precondition
from workbench.core.versions.misfits import Form, MisfitTable

STRIKES = 3
"""The crashes after which an input is refused."""
MAX_INPUTS = 64


class Outline(NamedTuple):
    """The part of a request's inputs that may be shown: the signature, and the name, dtype and
    shape of each tensor, sorted by name."""

    signature: str
    tensors: tuple[tuple[str, str, tuple[int, ...]], ...]

    def __str__(self) -> str:
        shapes = (f"{name}: {dtype} {list(shape)}" for name, dtype, shape in self.tensors)
        return f"{self.signature}({', '.join(shapes)})"


class PoisonTable:
    """The inputs that one version crashed on, by digest.

    Args:
        model, version: the version that crashed.
        limit: how many inputs are kept.

    Attributes:
        outlines: of all entries. A request with another outline cannot be one of them.
        misfits: the shapes that disagree with a signature and that the version died of.
        empty: whether nothing is known against any request.
    """

    def __init__(self, model: str = "", version: int = 0, limit: int = MAX_INPUTS) -> None:
        self._model = model
        self._version = version
        self._limit = limit
        # In the order of their last strike, oldest first.
        self._strikes: dict[str, tuple[int, Outline]] = {}
        self.outlines: frozenset[Outline] = frozenset()
        self.misfits = MisfitTable()
        self.empty = True

    def __len__(self) -> int:
        return len(self._strikes)

    def strikes(self, digest: str) -> int:
        """How many crashes are blamed on this input."""
        return self._strikes.get(digest, (0,))[0]

    def is_refused(self, digest: str) -> bool:
        """Whether this input has three strikes."""
        return self.strikes(digest) >= STRIKES

    def strike(self, digest: str, outline: Outline, crashes: int = 1) -> int:
        """Blame `crashes` more on this input.

        Returns:
            How many that makes.
        """
        strikes = self.strikes(digest) + crashes
        self._strikes.pop(digest, None)
        self._strikes[digest] = strikes, outline
        if len(self._strikes) > self._limit:
            # Inputs that are not refused yet go first.
            suspected = (d for d in self._strikes if not self.is_refused(d) and d != digest)
            del self._strikes[next(suspected, next(iter(self._strikes)))]
        self._refresh()
        return strikes

    def acquit(self, digest: str) -> None:
        """This input has been answered: forget its strikes."""
        if self._strikes.pop(digest, None) is not None:
            self._refresh()

    def _refresh(self) -> None:
        self.outlines = frozenset(outline for _, outline in self._strikes.values())
        self.empty = not self.outlines and not self.misfits

    def refuse_form(self, form: Form) -> None:
        """Refuse requests that disagree with their signature in this way."""
        self.misfits.refuse(form)
        self.empty = False

    def refusal(self, digest: str) -> ServingError:
        """The error for a request with an input that has three strikes.

        FAILED_PRECONDITION and not INVALID_ARGUMENT: the input may be valid. This version has to
        change before it is worth sending again.
        """
        return failed_precondition(
            f"This input ({digest}) was in the worker each of the {self.strikes(digest)} times "
            f"that version {self._version} of {self._model} crashed; it is refused until the "
            "version is loaded again"
        )
