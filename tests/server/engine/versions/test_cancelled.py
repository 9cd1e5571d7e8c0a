"""Work that is given up ends, also where a cancellation is lost."""

from __future__ import annotations

import asyncio

import pytest

from workbench.server.engine.versions.life import shared
from workbench.server.engine.versions.life.shared import cancelled


def test_a_cancellation_at_the_very_moment_of_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "_CANCEL_AGAIN_SECONDS", 0.05)

    async def test() -> None:
        forked: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def load() -> None:
            await asyncio.wait_for(forked, 60)
            await asyncio.sleep(3600)

        loading = asyncio.create_task(load())
        await asyncio.sleep(0)
        forked.set_result(1)
        await asyncio.wait_for(cancelled(loading), 30)
        assert loading.cancelled()

    asyncio.run(test())


def test_what_has_ended_or_cleans_up_is_waited_for() -> None:
    async def test() -> None:
        cleaned = []

        async def load() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                await asyncio.sleep(0.02)
                cleaned.append(True)

        loading, ended = asyncio.create_task(load()), asyncio.create_task(asyncio.sleep(0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await cancelled(loading, ended)
        assert cleaned == [True]
        assert loading.cancelled()
        assert not ended.cancelled()
        await cancelled()

    asyncio.run(test())
