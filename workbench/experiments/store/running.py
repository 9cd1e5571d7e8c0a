"""Experiments under way, as everybody sees them: how far they are, and that they are to end.

What will be kept is told in the store while it is measured, so that the dashboard shows it wherever
it was started; whoever is looking may ask for its end, which the experiment reads between two
measurements. A row names its process: what a killed one has left is no experiment under way.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from types import TracebackType

from workbench.client.server import ServerClient
from workbench.experiments.store.progress import Progress
from workbench.experiments.store.store import Store

_TOLD_SECONDS = 0.25


class Cancelled(KeyboardInterrupt):
    """Somebody has cancelled the experiment: an interruption like any other, and as little of a
    failure."""


class Running(contextlib.AbstractContextManager["Running"]):
    """An experiment from its start to its end; to be used in one thread.

    Args:
        kind: as in the store.
        told: whether it is told in the store at all.
        progress: where the same lines are shown.
    """

    def __init__(self, kind: str, server: ServerClient, told: bool, progress: Progress) -> None:
        self._progress = progress
        self._last = 0.0
        self._store: Store | None = None
        if told:
            # What cannot be kept is better known before it is measured.
            self._store = Store()
            self._number = self._store.begin(kind, server.model, server.name)

    def tell(self, text: str, share: float | None = None) -> None:
        """How far it is: in words, and from 0 to 1 where that is known.

        Raises:
            Cancelled: it is to end.
        """
        self._progress.update(text)
        if self._store is None or time.monotonic() - self._last < _TOLD_SECONDS:
            return
        self._last = time.monotonic()
        # What is only told must not end what is measured.
        cancelled = False
        with contextlib.suppress(sqlite3.Error):
            cancelled = self._store.tell(self._number, text, share)
        if cancelled:
            raise Cancelled("The experiment was cancelled")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        store, self._store = self._store, None
        if store is not None:
            with store, contextlib.suppress(sqlite3.Error):
                store.end(self._number)
