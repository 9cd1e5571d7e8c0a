"""A real Jupyter Server around the extension, for the tests of this folder alone.

Imported here and not as a plugin: its fixtures would otherwise run around every other test.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_jupyter.jupyter_server import *  # noqa: F403

_WAIT_SECONDS = 60.0
_REQUEST_SECONDS = 100.0

NOTEBOOK = """{
 "cells": [{"cell_type": "markdown", "id": "one", "metadata": {}, "source": ["# Quickstart"]}],
 "metadata": {},
 "nbformat": 4,
 "nbformat_minor": 5
}"""


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / "00-quickstart.ipynb").write_text(NOTEBOOK)
    return folder


@pytest.fixture
def jp_server_config(notebooks: Path) -> dict[str, Any]:
    return {
        "ServerApp": {
            "jpserver_extensions": {"workbench.jupyter.server_extension": True},
            "allow_unauthenticated_access": False,
        },
        "WorkbenchExtension": {"notebooks_dir": str(notebooks), "control_seconds": 10.0},
    }


class Api:
    """The routes of the extension as a page with a token meets them."""

    def __init__(self, fetch: Any) -> None:
        self._fetch = fetch

    async def __call__(self, method: str, route: str, body: Any = None, **params: Any) -> Any:
        """The status and the answer's JSON, also of a refusal."""
        text = None if method in ("GET", "DELETE") else json.dumps(body or {})
        response = await self._fetch(
            f"workbench/api/{route}",
            method=method,
            body=text,
            params=params,
            request_timeout=_REQUEST_SECONDS,
            raise_error=False,
        )
        return response.code, json.loads(response.body) if response.body else None


@pytest.fixture
def api(jp_fetch: Any) -> Api:
    return Api(jp_fetch)


async def until(look: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Look again and again until there is something; gives that."""
    end = time.monotonic() + _WAIT_SECONDS
    while True:
        found = await look()
        if found:
            return found
        assert time.monotonic() < end, f"waited {_WAIT_SECONDS:.0f} s in vain until {what}"
        await asyncio.sleep(0.1)
