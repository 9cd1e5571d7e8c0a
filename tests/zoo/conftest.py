"""Fixtures of the zoo: all of its models, exported once in a session, and servers for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exports import exported
from tests.servers import Server

# It takes 15 seconds of a quiet machine.
_EXPORT_SECONDS = 240


@pytest.fixture(scope="session")
def zoo() -> Path:
    """A folder with the SavedModel of each specimen and of each broken version, by name."""
    return exported("tests.zoo.models_main", _EXPORT_SECONDS)


@pytest.fixture(scope="session")
def zoo_server(zoo: Path) -> Iterator[Server]:
    """The one server of the zoo: its zygote is started once."""
    with Server(zoo) as server:
        yield server


@pytest.fixture
def server(zoo_server: Server) -> Iterator[Server]:
    """The zoo's server without any model; what a test has added is removed after it."""
    yield zoo_server
    zoo_server.clear()
