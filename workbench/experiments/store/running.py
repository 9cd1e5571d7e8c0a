"""Records experiments that are running: their progress, and requests to cancel them.

An experiment that will be kept writes its progress into the store, so the dashboard shows it
wherever it was started. The dashboard may ask to cancel it; the experiment reads that between two
measurements. A row names its process, so rows of killed processes are recognised.
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
    """The experiment was cancelled: an interruption, not a failure."""


class Running(contextlib.AbstractContextManager["Running"]):
    """An experiment from its start to its end; for use in one thread.

    Args:
        kind: as in the store.
        told: whether its progress goes into the store at all.
        progress: where the same lines are shown.
    """

    def __init__(self, kind: str, server: ServerClient, told: bool, progress: Progress) -> None:
        self._progress = progress
        self._last = 0.0
        self._store: Store | None = None
        if told:
            # If the store cannot be written, fail before measuring.
            self._store = Store()
            self._number = self._store.begin(kind, server.model, server.name)

    def tell(self, text: str, share: float | None = None) -> None:
        """Report progress: in words, and from 0 to 1 where that is known.

        Raises:
            Cancelled: somebody asked to cancel it.
        """
        self._progress.update(text)
        if self._store is None or time.monotonic() - self._last < _TOLD_SECONDS:
            return
        self._last = time.monotonic()
        # A failure to report progress must not end the measurement.
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
