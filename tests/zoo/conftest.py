"""Fixtures of the zoo: all of its models, exported once in a session, and servers for them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Server

# It takes 15 seconds of a quiet machine.
_EXPORT_SECONDS = 240
# For versions that hang: long enough for a busy machine, short enough for a test.


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the SavedModel of each specimen and of each broken version, by name."""
    folder = tmp_path_factory.mktemp("zoo")
    done = subprocess.run(
        [sys.executable, "-m", "tests.zoo.models_main", str(folder)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_EXPORT_SECONDS,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return folder


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
