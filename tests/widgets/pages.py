"""A browser's end of a widget, for tests without a browser."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

WAIT_SECONDS = 30.0


class Page:
    """What was sent to the browser, and what the browser says."""

    def __init__(self, widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.widget = widget
        self.sent: list[dict[str, Any]] = []
        monkeypatch.setattr(widget, "send", self.sent.append)

    def say(self, **message: Any) -> None:
        self.widget._on_message(self.widget, message, [])

    def wait(self, found: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first message, of all there were and will be, for which `found` holds."""
        end = time.monotonic() + WAIT_SECONDS
        while True:
            for message in list(self.sent):
                if found(message):
                    return message
            assert time.monotonic() < end, self.sent[-3:]
            time.sleep(0.02)

    def order(self, op: str, **values: Any) -> tuple[bool, str]:
        number = len(self.sent) + 1
        self.say(op=op, id=number, **values)
        done = self.wait(lambda m: m["kind"] == "done" and m["id"] == number)
        return done["ok"], done["text"]
