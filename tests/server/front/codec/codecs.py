"""What tests of the codec process have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import uvloop

from tests.descriptors import assert_none_left, open_descriptors
from workbench.server.front.http.body import Spool


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine under uvloop; no descriptor may be left after it."""
    uvloop.run(asyncio.sleep(0))
    before = open_descriptors()
    uvloop.run(asyncio.wait_for(scenario, 60))
    assert_none_left(before)


def spooled(data: bytes) -> Spool:
    """A body that has arrived."""
    return Spool.create(data)
