"""Requests that wait out a gap: whether to hold one, and for how many there is room.

Under `unload_first` there is a moment in which no version serves. TensorFlow Serving refuses the
requests of that moment; with `unload_first+hold` they wait, bounded in number and by their own
deadlines, and the new version answers them. `staged+hold` does the same in its shorter gap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workbench.core.states import HarnessState
from workbench.core.status import unavailable
from workbench.core.transitions import Version

MAX_HELD = 1000
"""Requests of one model that may wait at a time."""

_ON_ITS_WAY = frozenset(
    {
        HarnessState.NEW,
        HarnessState.LOAD_REQUESTED,
        HarnessState.LOAD_APPROVED,
        HarnessState.STAGING,
        HarnessState.STAGED,
        HarnessState.LOADING,
    }
)


def worth_waiting(versions: Sequence[Version]) -> bool:
    """Whether nothing serves now and a version that is wanted may soon.

    A version that failed brings nobody an answer, so what waits only for it is let go.
    """
    if any(v.state is HarnessState.READY for v in versions):
        return False
    return any(v.aspired and v.state in _ON_ITS_WAY for v in versions)


class Held:
    """The requests of one model that wait, in the order of their arrival."""

    def __init__(self, limit: int = MAX_HELD) -> None:
        self._limit = limit
        self._waiting: dict[int, Callable[[], None]] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, resume: Callable[[], None]) -> Callable[[], None]:
        """Hold a request; `resume` is called once, when it may go on. What is returned takes it
        out again, for a caller that has gone or whose time is over.

        Raises:
            ServingError: UNAVAILABLE, too many wait already.
        """
        if len(self._waiting) >= self._limit:
            raise unavailable(
                f"{self._limit} requests wait already for the next version to serve; try again "
                "in a moment"
            )
        number = self._next
        self._next += 1
        self._waiting[number] = resume

        def remove() -> None:
            self._waiting.pop(number, None)

        return remove

    def release(self) -> int:
        """Let all go on, oldest first; how many there were. One that is held again by its own
        `resume` waits for the next time."""
        released, self._waiting = self._waiting, {}
        for resume in released.values():
            resume()
        return len(released)
