"""Fixtures that many rooms share: real SavedModels, and one real server for all tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exports import exported
from tests.servers import Server

_EXPORT_SECONDS = 100


@pytest.fixture(scope="module", autouse=True)
def no_shell_is_left() -> Iterator[None]:
    """A shell of IPython that is left behind changes what later tests display, and where."""
    yield
    shell = sys.modules.get("IPython.core.interactiveshell")
    assert shell is None or not shell.InteractiveShell.initialized()


@pytest.fixture(scope="session")
def models() -> Path:
    """A folder with one SavedModel in each subfolder (see `tests/models.py`); not to be
    written into."""
    return exported("tests.models", _EXPORT_SECONDS)


@pytest.fixture(scope="session")
def shared_server(models: Path) -> Iterator[Server]:
    """The one server of the session: its zygote is started once."""
    with Server(models) as server:
        yield server


@pytest.fixture
def server(shared_server: Server) -> Iterator[Server]:
    """The session's server without any model; what a test has added is removed after it."""
    yield shared_server
    shared_server.clear()
