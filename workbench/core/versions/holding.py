"""Holds requests while no version serves, and limits how many wait.

Under `unload_first` no version serves for a moment. TensorFlow Serving refuses the requests of that
moment. With `unload_first+hold` they wait, limited in number and by their own deadlines, and the
new version answers them. `staged+hold` does the same in its shorter gap.

After a crash with nothing else to serve, requests wait in the same way under every transition, if
the version is expected back before their deadlines (`core.versions.outage`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workbench.core.status import unavailable
from workbench.core.versions.policies import Version
from workbench.core.versions.states import HarnessState

MAX_HELD = 1000
"""The most requests of one model that may wait."""
MAX_HELD_BYTES = 256 * 1024 * 1024
"""The most bytes that their bodies may take together."""


def worth_waiting(versions: Sequence[Version]) -> bool:
    """Whether no version serves now and a wanted one may soon; one that failed does not count."""
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

        Returns:
            A function that takes the request out, for a caller that has gone or whose deadline has
            passed.

        Raises:
            ServingError: UNAVAILABLE, too many requests or bytes wait already.
        """
        if len(self._waiting) >= self._limit:
            raise unavailable(
                f"{self._limit} requests already wait for the next version; try again in a moment"
            )
        if self.size + size > self._limit_bytes:
            raise unavailable(
                f"Requests of {self.size} bytes already wait for the next version, and {size} more "
                f"would exceed {self._limit_bytes}; try again in a moment"
            )
        number = self._next
        self._next += 1
        self._waiting[number] = resume, size
        self.size += size

        def remove() -> None:
            self.size -= self._waiting.pop(number, (None, 0))[1]

        return remove

    def release(self) -> int:
        """Let all requests go on, oldest first. A request that its own `resume` holds again waits
        for the next release.

        Returns:
            How many there were.
        """
        released, self._waiting = self._waiting, {}
        self.size = 0
        for resume, _ in released.values():
            resume()
        return len(released)
