"""Shows the progress of a long experiment as one line, in a notebook or a terminal."""

from __future__ import annotations

import sys
import time
from typing import Any

from workbench.experiments.showing import in_notebook


class Progress:
    """One line of text that is updated; silent where it could not be updated.

    In a notebook the line is one output that is updated; in a terminal it is overwritten. Lines of
    `say` stay.
    """

    def __init__(self, shown: bool = True) -> None:
        self._handle: Any = None
        self._notebook = shown and in_notebook()
        self._terminal = shown and not self._notebook and sys.stderr.isatty()
        self._shown = shown
        self._updated_at = 0.0

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._notebook:
            print(text)
        elif self._shown:
            print(("\r\033[K" if self._terminal else "") + text, file=sys.stderr)

    def update(self, text: str) -> None:
        """The line as it is now; at most ten times a second."""
        if time.monotonic() - self._updated_at >= 0.1:
            self._updated_at = time.monotonic()
            self._show(text)

    def close(self) -> None:
        """Leave no line behind."""
        if self._terminal or self._handle is not None:
            self._show("")

    def _show(self, text: str) -> None:
        if self._notebook:
            from IPython.display import display

            data = {"text/plain": text}
            if self._handle is None:
                self._handle = display(data, raw=True, display_id=True)
            else:
                self._handle.update(data, raw=True)
        elif self._terminal:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
