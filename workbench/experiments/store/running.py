"""Records the progress of running experiments, and cancels them on request.

An experiment has a turn on its server (`server_turns`), so that no other one disturbs it. One that
will be kept writes its progress into the store, so the dashboard shows it wherever it was started.
Between two measurements it checks whether the dashboard has asked to cancel it, or another
experiment takes over. A row names its process, so rows of killed processes are recognised.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time

from workbench.client.server import ServerClient
from workbench.experiments.store.progress import Progress
from workbench.experiments.store.server_turns import Turn, WhenBusy
from workbench.experiments.store.store import Store

_WRITE_SECONDS = 0.25


class Cancelled(KeyboardInterrupt):
    """The experiment was cancelled: an interruption, not a failure."""


class Running(Progress, contextlib.AbstractContextManager["Running"]):
    """An experiment from its start to its end; for use in one thread.

    Args:
        kind: as in the store.
        kept: whether to write its progress into the store.
        shown: whether to show it here too.
        when_busy: what to do while another experiment holds the server; None: it disturbs no other
            one, and needs no turn.

    Raises:
        ServingError: as `Turn`; or the store cannot be written.
    """

    def __init__(
        self,
        kind: str,
        server: ServerClient,
        kept: bool,
        shown: bool,
        when_busy: WhenBusy | None = "refuse",
    ) -> None:
        super().__init__(shown)
        self._told_at = 0.0
        self._store: Store | None = None
        self._turn = None if when_busy is None else Turn(kind, server, when_busy, self.update)
        try:
            if kept:
                # Fails before measuring if the store cannot be written.
                self._store = Store()
                self._number = self._store.begin(kind, server.model, server.name)
        except BaseException:
            self._end_turn()
            raise

    def tell(self, text: str, share: float | None = None, left: float | None = None) -> None:
        """Report progress: in words, from 0 to 1 where known, and the seconds left where known.

        Raises:
            Cancelled: the dashboard asked to cancel it, or another experiment takes over.
        """
        if left is not None:
            text = f"{text}, about {max(0.0, left):.0f} s left"
        self.update(text)
        if time.monotonic() - self._told_at < _WRITE_SECONDS:
            return
        self._told_at = time.monotonic()
        if left is not None and self._turn is not None:
            self._turn.expect(left)
        # A failure to report progress must not end the measurement.
        cancelled = False
        if self._store is not None:
            with contextlib.suppress(sqlite3.Error):
                cancelled = self._store.tell(self._number, text, share)
        if cancelled:
            raise Cancelled("The experiment was cancelled")
        successor = None if self._turn is None else self._turn.wanted_by
        if successor is not None:
            self.say(f"{successor} takes the server over")
            raise Cancelled(f"{successor} takes the server over")

    def __exit__(self, *_: object) -> None:
        self.close()
        try:
            if self._store is not None:
                with self._store, contextlib.suppress(sqlite3.Error):
                    self._store.end(self._number)
        finally:
            self._end_turn()

    def _end_turn(self) -> None:
        if self._turn is not None:
            self._turn.end()
