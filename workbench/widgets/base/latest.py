"""Handles only the last of many values, where each makes the ones before obsolete."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """Handles one value at a time in its own thread; of values pushed meanwhile, only the last.

    Args:
        do: called with each value that is handled.
        skip: called with each value that is left out, in the thread that pushed the next.
        name: of the thread, which ends when no value is left.
    """

    def __init__(self, do: Callable[[T], None], skip: Callable[[T], None], name: str) -> None:
        self._do = do
        self._skip = skip
        self._name = name
        self._lock = threading.Lock()
        self._next: list[T] = []
        self._busy = False

    def push(self, value: T) -> None:
        """Handle the value, unless another one is pushed before its turn."""
        with self._lock:
            left_out, self._next = self._next, [value]
            start = not self._busy
            self._busy = True
        if start:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
        for each in left_out:
            self._skip(each)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._next:
                    self._busy = False
                    return
                value = self._next.pop()
            self._do(value)
