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
        self._last = 0.0

    def say(self, text: str) -> None:
        """A line that stays."""
        if not self._shown:
            return
        if self._notebook:
            print(text)
        else:
            print(("\r\033[K" if self._terminal else "") + text, file=sys.stderr)

    def update(self, text: str) -> None:
        """The line as it is now; at most ten times a second."""
        if time.monotonic() - self._last < 0.1:
            return
        self._last = time.monotonic()
        if self._notebook:
            from IPython.display import display

            if self._handle is None:
                self._handle = display(_Line(text), display_id=True)
            else:
                self._handle.update(_Line(text))
        elif self._terminal:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave no line behind."""
        if self._notebook and self._handle is not None:
            self._handle.update(_Line(""))
        elif self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


class _Line:
    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text
