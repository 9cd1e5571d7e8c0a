"""Another experiment on a server, for tests of who may measure it."""

from __future__ import annotations

import threading
from typing import Any

from workbench.experiments.store.server_turns import Turn


class Other:
    """A turn of another thread, as of another notebook, until `end`."""

    def __init__(self, server: Any) -> None:
        self.held, self._end = threading.Event(), threading.Event()
        self.wanted_by: str | None = None
        self._thread = threading.Thread(target=self._hold, args=(server,))
        self._thread.start()
        assert self.held.wait(10)

    def _hold(self, server: Any) -> None:
        turn = Turn("sweep", server)
        turn.expect(40)
        self.held.set()
        while not self._end.wait(0.01) and self.wanted_by is None:
            self.wanted_by = turn.wanted_by
        turn.end()

    def end(self) -> None:
        self._end.set()
        self._thread.join(10)
