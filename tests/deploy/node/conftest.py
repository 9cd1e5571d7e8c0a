"""Servers as a node owns them, and a folder of versions for them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workbench.deploy.node.fleet_secret import FleetTokens
from workbench.deploy.node.owned_server import OwnedServer

TOKENS = FleetTokens("data-token", "control-token")


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Jupyter's folders for one test."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture
def half(models: Path, tmp_path: Path) -> Path:
    """Three versions of one model: x/2 + 2, x/2 + 3, and one that cannot be loaded."""
    folder = tmp_path / "half"
    for version, model in ((1, "half_plus_two"), (2, "half_plus_three"), (3, "corrupt")):
        shutil.copytree(models / model, folder / str(version))
    return folder


@pytest.fixture
def own(runtime: Path) -> Iterator[Callable[..., OwnedServer]]:
    """Starts servers that this process owns; they end with the test."""
    started: list[OwnedServer] = []

    def start(name: str = "shop-1", **options: object) -> OwnedServer:
        started.append(OwnedServer(name, "127.0.0.1", TOKENS, options))
        return started[-1]

    yield start
    for server in started:
        server.stop()
