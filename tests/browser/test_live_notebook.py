"""How the cost of a live notebook is read off a trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.browser.live_notebook import scripting_per_frame


def call(name: str, start: float, milliseconds: float, tid: int = 1) -> dict[str, Any]:
    return {
        "name": name, "ph": "X", "pid": 1, "tid": tid, "ts": start * 1e3,
        "dur": milliseconds * 1e3,
    }  # fmt: skip


def test_scripting_is_counted_once_and_for_its_frame() -> None:
    events = [
        call("FireAnimationFrame", 100, 5),
        call("FunctionCall", 101, 3),
        call("FireAnimationFrame", 105, 1),
        call("TimerFire", 107, 2),
        call("FunctionCall", 108, 4, tid=2),
        call("FireAnimationFrame", 120, 7),
        call("Paint", 128, 9),
    ]
    frames, spent = scripting_per_frame(events)
    assert frames == 2
    assert spent.tolist() == pytest.approx([8, 7])


def test_a_page_that_stands_still() -> None:
    frames, spent = scripting_per_frame([])
    assert (frames, np.sum(spent)) == (0, 0)
