"""Requests that wait out a gap: whether to hold one, and for how many there is room.

Under `unload_first` there is a moment in which no version serves. TensorFlow Serving refuses the
requests of that moment; with `unload_first+hold` they wait, bounded in number and by their own
deadlines, and the new version answers them. `staged+hold` does the same in its shorter gap.

After a crash with nothing else to serve, requests wait in the same way under every transition,
where the version is expected back within their time (`core.versions.outage`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workbench.core.status import unavailable
from workbench.core.versions.policies import Version
from workbench.core.versions.states import HarnessState

MAX_HELD = 1000
"""Requests of one model that may wait at a time."""
MAX_HELD_BYTES = 256 * 1024 * 1024
"""What the bodies of those may take in all."""


def worth_waiting(versions: Sequence[Version]) -> bool:
    """Whether nothing serves now and a version that is wanted may soon.

    A version that failed brings nobody an answer, so what waits only for it is let go.
    """
    if any(v.state is HarnessState.READY for v in versions):
        return False
    return any(v.aspired and v.state.is_coming for v in versions)


class Held:
    """The requests of one model that wait, in the order of their arrival."""

    def __init__(self, limit: int = MAX_HELD, limit_bytes: int = MAX_HELD_BYTES) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._waiting: dict[int, tuple[Callable[[], None], int]] = {}
        self._next = 0
        self.size = 0
        """Bytes of all that wait."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, resume: Callable[[], None], size: int = 0) -> Callable[[], None]:
        """Hold a request whose body has `size` bytes; `resume` is called once, when it may go on.
        What is returned takes it out again, for a caller that has gone or whose time is over.

        Raises:
            ServingError: UNAVAILABLE, too many or too large ones wait already.
        """
        if len(self._waiting) >= self._limit:
            raise unavailable(
                f"{self._limit} requests wait already for the next version to serve; try again "
                "in a moment"
            )
        if self.size + size > self._limit_bytes:
            raise unavailable(
                f"Requests of {self.size} bytes wait already for the next version to serve, and "
                f"{size} more would be more than {self._limit_bytes}; try again in a moment"
            )
        number = self._next
        self._next += 1
        self._waiting[number] = resume, size
        self.size += size

        def remove() -> None:
            self.size -= self._waiting.pop(number, (None, 0))[1]

        return remove

    def release(self) -> int:
        """Let all go on, oldest first; how many there were. One that is held again by its own
        `resume` waits for the next time."""
        released, self._waiting = self._waiting, {}
        self.size = 0
        for resume, _ in released.values():
            resume()
        return len(released)
