"""One live server and one process with TensorFlow for all of the client's tests."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import workbench as wb
from tests.client.trainer import Trainer
from tests.own_registry import own_registry


@pytest.fixture(scope="package", autouse=True)
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A registry of our own; when all tests are done nothing may be left in it."""
    with own_registry(tmp_path_factory.mktemp("runtime")) as folder:
        yield folder


@pytest.fixture(scope="package")
def trainer(runtime: Path) -> Iterator[Trainer]:
    trainer = Trainer()
    yield trainer
    trainer.close()


@pytest.fixture(scope="package")
def live(runtime: Path, models: Path) -> Iterator[wb.Server]:
    """A server of a SavedModel (x/2 + 2), started as a script would; its process is ours."""
    with wb.serve(models / "half_plus_two", "half") as server:
        yield server


@pytest.fixture
def put(models: Path) -> Callable[[Path, int, str], Path]:
    """Puts a test model into a folder as a version: copied beside, then renamed."""

    def put(base: Path, version: int, export: str) -> Path:
        base.mkdir(exist_ok=True, parents=True)
        shutil.copytree(models / export, base / f"{version}.tmp")
        return (base / f"{version}.tmp").rename(base / str(version))

    return put


_numbers = itertools.count(1)


@pytest.fixture
def server(
    live: wb.Server, put: Callable[[Path, int, str], Path], tmp_path: Path
) -> Iterator[wb.Server]:
    """A model of this test's own on the live server, with version 1 (x/2 + 2)."""
    name = f"m{next(_numbers)}"
    base = tmp_path / "base"
    put(base, 1, "half_plus_two")
    server = wb.Server(live.name, name)
    server.control.put_model(name, {"base_path": str(base)})
    server.control.poll(name, [1])
    server.wait_for(1)
    yield server
    server.control.delete_model(name)
