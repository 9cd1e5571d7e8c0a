"""An alarm calls at its last moment, once, and not after it is closed."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
import weakref

import pytest

from workbench.ipc.precise_timer import Alarm


class Owner:
    """Holds its alarm, which calls it back."""

    def __init__(self) -> None:
        self.calls = 0
        self.alarm = Alarm(asyncio.get_running_loop(), self.call)

    def call(self) -> None:
        self.calls += 1


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_only_the_last_moment_counts(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)

    async def calls() -> list[int]:
        owner, seen = Owner(), []
        owner.alarm.at(time.monotonic() + 30)
        owner.alarm.at(time.monotonic() - 1)
        await asyncio.sleep(0.2)
        seen.append(owner.calls)
        owner.alarm.at(time.monotonic() + 0.05)
        owner.alarm.close()
        await asyncio.sleep(0.2)
        return [*seen, owner.calls]

    assert asyncio.run(calls()) == [1, 1]


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_the_owner_of_a_closed_alarm_needs_no_garbage_collector(
    platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)

    async def alive() -> object:
        owner = Owner()
        owner.alarm.at(time.monotonic() + 30)
        owner.alarm.close()
        left = weakref.ref(owner)
        del owner
        await asyncio.sleep(0)
        return left()

    gc.disable()
    try:
        assert asyncio.run(alive()) is None
    finally:
        gc.enable()
